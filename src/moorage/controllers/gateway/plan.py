"""Plan: say what would become of a cluster's machines, by what would make and delete them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from moorage.controllers.gateway.choosing import Survey, choose_now, survey
from moorage.controllers.gateway.endpoint import vip_of
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.fence import assigned
from moorage.controllers.gateway.place import ensure_placement
from moorage.controllers.gateway.placing import vcenter_of
from moorage.controllers.gateway.plan_actions import actions_of
from moorage.controllers.gateway.plan_checks import checks_of
from moorage.engine import DONE, Outcome, StepReconciler, Wait, step, wait
from moorage.kit.errors import ForbiddenError, TerminalError
from moorage.planning import Choice, PoolAddresses, how_many_fit
from moorage.planning.solver import Domain
from moorage.resources import Cluster, IPAddress, IPPool, Machine, Metadata, NodePool, Plan
from moorage.resources.nodepool import pool_of_document
from moorage.resources.plan import AddressRoom, Fit, PlanCheck, PlanState
from moorage.vsphere import Found

_MOST_FITTING = 200
_FINAL = (PlanState.OUTDATED, PlanState.APPLIED)


@dataclass(slots=True)
class Subject:
    """What a plan is about: the cluster as it would be, and the machines that it has now."""

    cluster: Cluster
    pools: list[NodePool]
    machines: list[Machine]
    lost: list[Machine]
    """Those on the host that is supposed to fail; not among ``machines``."""


@step("Planned")
async def ensure_planned(plan: Plan, env: Env) -> Outcome:
    """Plan once; then only say what has become of it."""
    status, spec = plan.status, plan.spec
    if status.state in _FINAL:
        return DONE
    cluster = await env.store.find(Cluster, plan.metadata.project, spec.cluster)
    if spec.applied is not None:
        return _follow(plan, cluster)
    if spec.expires_at is not None and env.hub_now() > spec.expires_at:
        return _outdate(plan, ["it has expired: plan again"])
    if (moved := await _moved(plan, cluster, env)) is not None:
        return moved
    if status.planned_at is not None:
        return DONE
    status.state = PlanState.PENDING
    return await _plan(plan, cluster, env)


async def _plan(plan: Plan, before: Cluster | None, env: Env) -> Outcome:
    try:
        subject = await _subject(plan, before, env)
        if isinstance(waits := await ensure_placement(subject.cluster, env), Wait):
            return waits
        seen = await _see(plan, subject, env)
        choice, addresses = await choose_now(subject.cluster, seen, env)
    except (TerminalError, ForbiddenError) as error:
        reason = error.reason if isinstance(error, TerminalError) else "Forbidden"
        return _refuse(plan, [PlanCheck(name=reason, ok=False, message=str(error))], env)
    status = plan.status
    status.actions = await actions_of(subject, seen, choice, env)
    status.endpoint = choice.endpoint.address if choice.endpoint else None
    status.endpoint_pool = choice.endpoint.pool if choice.endpoint else None
    status.addresses = _address_room(choice, addresses)
    staying = len(choice.keep) + len(choice.delete) + len(choice.leaving)
    status.surge_peak = staying + len(choice.create)
    status.bytes_to_copy = sum(one.bytes_to_copy for one in status.actions)
    status.facts = _digest(plan, seen, addresses)
    if plan.spec.how_many:
        snapshot = replace(seen.snapshot, ip_pools=addresses)
        found = how_many_fit(snapshot, _MOST_FITTING)
        status.fit = Fit(
            clusters=found.clusters,
            at_least=not found.limited_by,
            limited_by=found.limited_by,
            by_memory=found.by_memory,
        )
    checks = await checks_of(subject, seen, choice, addresses, env)
    status.checks = checks
    if any(one.blocking and not one.ok for one in checks):
        return _refuse(plan, checks, env)
    status.state, status.planned_at = PlanState.READY, env.clock.now()
    status.message = _summary(choice)
    return DONE


async def _subject(plan: Plan, before: Cluster | None, env: Env) -> Subject:
    spec, project = plan.spec, plan.metadata.project
    if spec.how_many or before is None:
        cluster = Cluster(
            metadata=Metadata(name=spec.cluster, project=project, route=env.gateway),
            spec=spec.proposed,
        )
        machines: list[Machine] = []
    else:
        cluster = before.copy_deep()
        cluster.spec = spec.proposed
        machines = await env.store.list(Machine, owner=before.metadata.uid)
    pools = [pool_of_document(one, spec.cluster, project) for one in spec.node_pools]
    lost = _on_host(spec.host_lost, cluster, machines, env) if spec.host_lost else []
    gone = {machine.metadata.uid for machine in lost}
    return Subject(cluster, pools, [one for one in machines if one.metadata.uid not in gone], lost)


async def _see(plan: Plan, subject: Subject, env: Env) -> Survey:
    """Survey, with the host that is supposed to fail out of service."""
    cluster = subject.cluster
    vip = None
    if cluster.status.endpoint is None:
        uid = cluster.metadata.uid
        held = await env.store.list(IPAddress, owner=uid) if uid else []
        known = {pool.metadata.name: pool for pool in await env.store.list(IPPool)}
        vip = None if held else vip_of(cluster, known)
    seen = await survey(cluster, subject.pools, subject.machines, env, vip)
    if plan.spec.host_lost is None or seen.sites is None:
        return seen
    domains = tuple(_without(domain, plan.spec.host_lost) for domain in seen.sites.domains)
    return replace(
        seen,
        snapshot=replace(seen.snapshot, domains=domains),
        sites=replace(seen.sites, domains=domains),
    )


def _without(domain: Domain, host: str) -> Domain:
    hosts = tuple(
        replace(one, out_of_service="supposed to have failed")
        if host in (one.ref, one.name)
        else one
        for one in domain.hosts
    )
    return replace(domain, hosts=hosts)


def _on_host(host: str, cluster: Cluster, machines: Sequence[Machine], env: Env) -> list[Machine]:
    """Return the machines whose VM runs on a host; raises ``TerminalError`` for no such host."""
    vcenter = vcenter_of(cluster.spec.account, env)
    ref = vcenter.estate.host_called(host)
    if ref is None:
        raise TerminalError("HostNotFound", f"no host is called {host}, by name or by moref")
    found = []
    for machine in machines:
        seen = vcenter.find(machine.metadata.uid, moref=machine.status.vm)
        if isinstance(seen, Found) and seen.vm.host == ref:
            found.append(machine)
    return found


def _follow(plan: Plan, cluster: Cluster | None) -> Outcome:
    """Say what the cluster's pass has made of a plan that was applied."""
    applied, status = plan.spec.applied, plan.status
    done = cluster.status.plan if cluster is not None else None
    if applied is not None and applied.withdrawn:
        return _outdate(plan, ["the same documents were applied again without it"])
    if (
        applied is not None
        and done is not None
        and (done.uid, done.applied_at) == (plan.metadata.uid, applied.at)
    ):
        if done.is_outdated:
            return _outdate(plan, done.differences)
        status.state, status.message = PlanState.APPLIED, "all that it names is stored"
        return DONE
    status.state = PlanState.APPLYING
    return wait("Applying", "the pass of the cluster has not stored its machines yet", after=5)


async def _moved(plan: Plan, cluster: Cluster | None, env: Env) -> Outcome | None:
    """Compare the documents here with those that the plan rests on."""
    if plan.spec.how_many:
        return None
    if cluster is None:
        here: dict[str, int] = {}
    else:
        pools = await env.store.list(NodePool, owner=cluster.metadata.uid)
        here = {
            one.metadata.uid: one.metadata.generation
            for one in (cluster, *pools)
            if not one.is_deleting
        }
    wanted = {one.uid: one.generation for one in plan.spec.rests_on}
    if any(here.get(uid, 0) < generation for uid, generation in wanted.items()):
        return wait(
            "DocumentsArriving", "documents that it rests on are not here, or gone", after=5
        )
    if here == wanted:
        return None
    return _outdate(plan, ["cluster or pools were changed since: plan again"])


def _outdate(plan: Plan, differences: Sequence[str]) -> Outcome:
    plan.status.state = PlanState.OUTDATED
    plan.status.differences = [*differences]
    plan.status.message = "; ".join(differences)
    return DONE


def _refuse(plan: Plan, checks: list[PlanCheck], env: Env) -> Outcome:
    plan.status.state, plan.status.checks = PlanState.REFUSED, checks
    plan.status.planned_at = env.clock.now()
    failed = [one for one in checks if one.blocking and not one.ok]
    plan.status.message = "; ".join(f"{one.name}: {one.message}" for one in failed)
    return DONE


def _summary(choice: Choice) -> str:
    return f"{len(choice.create)} to make, {len(choice.delete)} to delete, {len(choice.keep)} stay"


def _address_room(choice: Choice, pools: Sequence[PoolAddresses]) -> list[AddressRoom]:
    given = [one for new in choice.create for one in new.place.addresses]
    given += [choice.endpoint] if choice.endpoint is not None else []
    return [
        AddressRoom(
            pool=pool.name,
            free=pool.spec.usable()
            - len(pool.spec.of_these(pool.taken))
            + len(pool.spec.of_these(pool.held_back)),
            needed=sum(1 for one in given if one.pool == pool.name),
        )
        for pool in pools
    ]


def _digest(plan: Plan, seen: Survey, pools: Sequence[PoolAddresses]) -> str:
    """Return a digest of what was seen; memory used and space free are left out: they move."""
    facts = {
        "spec": plan.spec.document(),
        "machines": [
            [one.metadata.uid, one.spec.failure_domain.name, one.spec.host, one.is_deleting]
            for one in seen.snapshot.machines
        ],
        "domains": [
            [
                domain.name,
                [[host.ref, host.out_of_service] for host in domain.hosts],
                [[store.ref, store.out_of_service] for store in domain.datastores],
                domain.network,
                domain.pins_host,
            ]
            for domain in seen.snapshot.domains
        ],
        "addresses": [[pool.name, sorted(map(str, pool.taken))] for pool in pools],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


PLAN = StepReconciler(kind=Plan, steps=(assigned(), ensure_planned))
