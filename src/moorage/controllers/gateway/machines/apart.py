"""Machines of one role run on hosts of their own: by a rule of DRS, joined before they boot."""

from collections.abc import Callable, Iterable
from typing import Literal

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.machines.records import machine_stem
from moorage.engine import DONE, Outcome, step, wait
from moorage.kit.errors import ForbiddenError, MoorageError, TerminalError
from moorage.kit.ids import uid_suffix
from moorage.planning import Apart, choose_apart, is_rule_of, rule_name
from moorage.resources import Cluster, Machine, NodePool
from moorage.vsphere import VM, Found, Power, VCenter

KEPT_APART = "KeptApart"
"""Condition of a cluster (its control plane) and of a pool. Nothing waits for it."""
_GATHER_S = 1.0
_LOOK_AGAIN_S = 0.3
_JOINING_S = 2.0
_REMOVING_S = 0.5


@step("RuleJoined")
async def ensure_rule_joined(machine: Machine, env: Env) -> Outcome:
    """Wait for the rule before the first boot: DRS looks at it when it chooses the host.

    Rules that cannot be had keep no machine back; cluster or pool say so.
    """
    vcenter = env.accounts.get(machine.spec.account)
    seen = vcenter.find(machine.metadata.uid, moref=machine.status.vm) if vcenter else None
    if vcenter is None or not isinstance(seen, Found) or seen.vm.power is Power.ON:
        return DONE  # the next step says what there is to say
    place = vcenter.rules.compute_cluster(seen.vm)
    if machine.spec.host or place is None or machine.metadata.owner is None:
        return DONE
    try:
        return await _join(machine, seen.vm, place.moref, machine.metadata.owner.uid, env, vcenter)
    except (ForbiddenError, TerminalError):
        return DONE


async def _join(
    machine: Machine, vm: VM, moref: str, cluster: str, env: Env, vcenter: VCenter
) -> Outcome:
    """Join the rule, unless there is none to join."""
    if not await vcenter.rules.keeps(moref):
        return DONE
    name = rule_name(machine.spec.cluster, machine.spec.pool, uid_suffix(cluster))
    stem = machine_stem(machine.spec.cluster, machine.spec.pool)
    vms = [one for one in role_vms(cluster, stem, env, vcenter) if vcenter.rules.is_in(one, moref)]
    apart = await _choose(vms, moref, name, vcenter)
    uid = machine.metadata.uid
    if vm.moref not in apart.members or _boots_first(vm, vms, name, env):
        return DONE
    if vcenter.is_cloning(cluster) and _may_gather(uid, env):
        return wait("GatheringForRule", _explain(name), after=_LOOK_AGAIN_S)
    if await vcenter.rules.ensure(moref, {name: apart.members}, uid):
        env.gathering.pop(uid, None)
        return DONE
    return wait("JoiningRule", _explain(name), after=_JOINING_S)


@step("RulesRemoved")
async def ensure_no_rules(cluster: Cluster, env: Env) -> Outcome:
    """Remove what is left of the cluster's rules, after asking vCenter itself."""
    suffix = uid_suffix(cluster.metadata.uid)
    return await _remove(cluster, env, lambda name: is_rule_of(name, suffix))


@step("RulesRemoved")
async def ensure_no_rule_of_pool(pool: NodePool, env: Env) -> Outcome:
    """The same for a pool of a cluster that stays: the rules of one that goes are the cluster's."""
    cluster = await env.store.find(Cluster, pool.metadata.project, pool.spec.cluster)
    if cluster is None or cluster.is_deleting:
        return DONE
    own = rule_name(pool.spec.cluster, pool.spec.pool, uid_suffix(cluster.metadata.uid))
    return await _remove(cluster, env, lambda name: name == own)


async def keep_apart(
    cluster: Cluster, owner: Cluster | NodePool, machines: Iterable[Machine], env: Env
) -> None:
    """Mend the rules of one role, and say in a condition what they cannot keep apart.

    Nothing waits for this: a rule that is to be changed is looked at again in the next pass.

    Args:
        cluster: Whose machines they are.
        owner: Gets the condition: the pool, or the cluster for its control plane.
        machines: All of the role.
        env: As for steps.
    """
    vcenter = env.accounts.get(cluster.spec.account)
    if vcenter is None:
        return
    pool = owner.spec.pool if isinstance(owner, NodePool) else None
    name = rule_name(cluster.metadata.name, pool, uid_suffix(cluster.metadata.uid))
    by_place: dict[str, list[VM]] = {}
    for machine in machines:
        seen = vcenter.find(machine.metadata.uid, moref=machine.status.vm)
        place = vcenter.rules.compute_cluster(seen.vm) if isinstance(seen, Found) else None
        if isinstance(seen, Found) and place is not None and not machine.is_deleting:
            by_place.setdefault(place.moref, []).append(seen.vm)
    try:
        said = [
            one
            for moref, vms in by_place.items()
            if (one := await _keep_apart_in(moref, vms, name, owner, vcenter))
        ]
    except MoorageError as error:
        text = f"the rule {name} is not as it should be: {error}"
        _say(owner, env, "Unknown", "RuleRefused", text)
        return
    if said:
        _say(owner, env, "False", "TooFewHosts", "; ".join(said))
    elif by_place:
        _say(owner, env, "True", "Done", "")


async def _keep_apart_in(
    moref: str, vms: list[VM], name: str, owner: Cluster | NodePool, vcenter: VCenter
) -> str:
    """Mend the rule in one compute cluster; returns what it cannot keep apart."""
    apart = await _choose(vms, moref, name, vcenter)
    # Machines that have not booted join by their own step.
    if all(vm.power is Power.ON for vm in vms) and await vcenter.rules.keeps(moref):
        await vcenter.rules.ensure(moref, {name: apart.members}, owner.metadata.uid)
    return _shared(apart, vms, moref, vcenter) if apart.sharing else ""


def role_vms(cluster: str, stem: str, env: Env, vcenter: VCenter) -> list[VM]:
    """Return the VMs of the machines of one role, from memory; those that run first.

    Args:
        cluster: UID.
        stem: Beginning of the machines' names.
        env: As for steps.
        vcenter: Of the cluster.
    """
    found = []
    for vm in vcenter.marks.of_cluster(cluster):
        uid = vm.owner.uid if vm.owner is not None else ""
        key = env.index.machines.get(uid, ("", ""))[0]
        if key.partition("/")[2].rpartition("-")[0] != stem:
            continue
        seen = vcenter.find(uid)  # a copy bears the mark of its original
        if isinstance(seen, Found) and seen.vm.moref == vm.moref:
            found.append(vm)
    return sorted(found, key=lambda vm: (vm.power is not Power.ON, vm.name))


async def _choose(vms: list[VM], moref: str, name: str, vcenter: VCenter) -> Apart:
    now = await vcenter.rules.members(moref, name)
    return choose_apart([vm.moref for vm in vms], vcenter.rules.usable_hosts(moref), now)


def _boots_first(vm: VM, vms: list[VM], name: str, env: Env) -> bool:
    """Tell the first of its role to boot, for which there is nothing yet to keep apart from."""
    if any(one.power is Power.ON for one in vms):
        return False
    if env.first_to_boot.get(name) not in {one.moref for one in vms}:
        env.first_to_boot[name] = vm.moref
    return env.first_to_boot[name] == vm.moref


def _may_gather(uid: str, env: Env) -> bool:
    """Tell whether to wait for more machines, so that many join by one change of the rule."""
    now = env.clock.steady()
    return now - env.gathering.setdefault(uid, now) < _GATHER_S


async def _remove(cluster: Cluster, env: Env, is_wanted: Callable[[str], bool]) -> Outcome:
    vcenter = env.accounts.get(cluster.spec.account)
    if vcenter is None:
        return wait(
            "AccountNotReady", f"cloud account {cluster.spec.account} is not connected", after=30
        )
    for name in [name for name in env.first_to_boot if is_wanted(name)]:
        del env.first_to_boot[name]
    left = await vcenter.rules.find(is_wanted)
    for moref in {moref for moref, _ in left}:
        gone: dict[str, frozenset[str]] = {name: frozenset() for at, name in left if at == moref}
        await vcenter.rules.ensure(moref, gone, cluster.metadata.uid)
    if left:
        names = ", ".join(name for _, name in left)
        return wait("RemovingRules", f"DRS rules that remain: {names}", after=_REMOVING_S)
    return DONE


def _explain(name: str) -> str:
    return f"boots once it is in the DRS rule {name}, which keeps it apart from its kind"


def _shared(apart: Apart, vms: list[VM], moref: str, vcenter: VCenter) -> str:
    place = vcenter.rules.compute_cluster(vms[0])
    hosts = vcenter.rules.usable_hosts(moref)
    return (
        f"{apart.sharing} of {len(vms)} machines share a host with another: compute cluster "
        f"{place.name if place is not None else moref} has {hosts} usable hosts"
    )


def _say(
    owner: Cluster | NodePool,
    env: Env,
    status: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
) -> None:
    owner.status.set_condition(
        KEPT_APART,
        status,
        reason,
        message,
        now=env.clock.now(),
        generation=owner.metadata.generation,
    )
