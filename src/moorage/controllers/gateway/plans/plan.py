"""Plan: say what would become of a cluster's machines, by what would make and delete them."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from moorage.controllers.gateway.clusters.choosing import Survey
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.fence import assigned
from moorage.controllers.gateway.placement.folder import planned_folder
from moorage.controllers.gateway.placement.place import account_not_ready
from moorage.controllers.gateway.plans.actions import actions_of, claims_of, replicas_of
from moorage.controllers.gateway.plans.checks import (
    account_checks,
    look,
    privileges_of,
    room_checks,
)
from moorage.controllers.gateway.plans.subject import subject_of
from moorage.engine import DONE, Outcome, StepReconciler, step, wait
from moorage.kit.errors import TerminalError
from moorage.planning import Choice, PoolAddresses, how_many_fit
from moorage.resources import Cluster, Metadata, NodePool, Plan
from moorage.resources.check import Check
from moorage.resources.plan import AddressRoom, Fit, PlanState

_MOST_FITTING = 200


@step("Planned")
async def ensure_planned(plan: Plan, env: Env) -> Outcome:
    """Plan once; then only say what has become of it."""
    status, spec = plan.status, plan.spec
    if status.state is PlanState.OUTDATED:
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
    spec, status = plan.spec, plan.status
    vcenter = env.accounts.get(spec.proposed.account)
    if vcenter is None:
        return account_not_ready(spec.proposed.account)
    uid = "" if spec.how_many else spec.cluster_uid
    new = Metadata(name=spec.cluster, project=plan.metadata.project, uid=uid, route=env.gateway)
    try:
        subject = await subject_of(
            None if spec.how_many else before,
            spec.proposed,
            spec.node_pools,
            new,
            env,
            spec.host_lost,
        )
    except TerminalError as error:
        return _refuse(plan, [Check(name=error.reason, ok=False, message=str(error))], env)
    looked, checks = await look(subject, env)
    checks += [
        *await account_checks(spec.proposed.account, env),
        await privileges_of(subject, env),
    ]
    if looked is None:
        return _refuse(plan, checks, env)
    seen, choice, addresses = looked.seen, looked.choice, looked.addresses
    claims = await claims_of(subject, env)
    status.actions, homeless = await actions_of(subject, seen, choice, claims, env)
    status.endpoint = choice.endpoint.address if choice.endpoint else None
    status.endpoint_pool = choice.endpoint.pool if choice.endpoint else None
    status.addresses = _address_room(choice, addresses, claims)
    status.replicas = replicas_of(seen, choice)
    status.template_digest = seen.copies(choice).template
    status.folder = planned_folder(subject.cluster, vcenter)
    staying = len(choice.keep) + len(choice.delete) + len(choice.leaving)
    status.surge_peak = staying + len(choice.create)
    status.bytes_to_copy = sum(one.bytes_to_copy for one in status.actions)
    status.bytes_to_copy += sum(one.bytes_to_copy for one in status.replicas)
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
    status.checks = checks = [*checks, *room_checks(subject, looked, homeless)]
    if any(one.blocking and not one.ok for one in checks):
        return _refuse(plan, checks, env)
    status.state, status.planned_at = PlanState.READY, env.clock.now()
    status.message = _summary(choice)
    return DONE


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
    if status.state is PlanState.APPLIED:  # and the cluster has followed another one since
        return DONE
    status.state = PlanState.APPLYING
    said = cluster.status.condition("MachinesExist") if cluster is not None else None
    why = f": {said.message}" if said is not None and said.status != "True" else ""
    return wait("Applying", f"the pass of the cluster has not stored its machines{why}", after=5)


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


def _refuse(plan: Plan, checks: list[Check], env: Env) -> Outcome:
    plan.status.state, plan.status.checks = PlanState.REFUSED, checks
    plan.status.planned_at = env.clock.now()
    failed = [one for one in checks if one.blocking and not one.ok]
    plan.status.message = "; ".join(f"{one.name}: {one.message}" for one in failed)
    return DONE


def _summary(choice: Choice) -> str:
    return f"{len(choice.create)} to make, {len(choice.delete)} to delete, {len(choice.keep)} stay"


def _address_room(
    choice: Choice, pools: Sequence[PoolAddresses], claims: Mapping[str, Sequence[str]]
) -> list[AddressRoom]:
    given = [one for new in choice.create for one in new.place.addresses]
    given += [choice.endpoint] if choice.endpoint is not None else []
    needed = Counter(one.pool for one in given)
    held = Counter(one.rpartition("/")[0] for several in claims.values() for one in several)
    return [
        AddressRoom(
            pool=pool.name,
            free=pool.spec.usable()
            - len(pool.spec.of_these(pool.taken))
            + len(pool.spec.of_these(pool.held_back)),
            needed=needed[pool.name],
            held=held[pool.name],
            peak=held[pool.name] + needed[pool.name],
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
