"""A machine's address: claimed before its VM is made, and given up when another has it."""

from collections.abc import Sequence
from dataclasses import replace

from moorage.bootstrap import Card, StaticAddress, render_network
from moorage.controllers.gateway.addresses.users import user_of, vm_with
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.machines.controlplane import why_kept
from moorage.controllers.gateway.placement.place import target_of_machine
from moorage.engine import DONE, Outcome, step, wait
from moorage.ipam import PoolExhaustedError, claim, release
from moorage.resources import Cluster, IPAddress, IPPool, Machine
from moorage.resources.kubernetes import Role
from moorage.vsphere import VM, Absent, Found, Target

_LOOK_AGAIN_S = 2.0
_CARDS_AGAIN_S = 60.0
_LEASE_AGAIN_S = 60.0
"""A change of the VM's addresses is pushed."""


@step("AddressClaimed")
async def ensure_address(machine: Machine, env: Env) -> Outcome:
    """Claim, for each card, one address of each family that it has pools of."""
    if machine.status.is_true("AddressClaimed") and _is_begun(machine, env):
        return DONE  # the VM has them: nothing could change them, and each pass would read them
    target = target_of_machine(machine.spec)
    for network, names in machine.spec.failure_domain.cards():
        families: dict[int, list[IPPool]] = {}
        for name in names:
            pool = await env.store.find(IPPool, "", name)
            if pool is None:
                return wait("PoolNotFound", f"IP pool {name} is not at this gateway")
            families.setdefault(pool.spec.version, []).append(pool)
        for pools in families.values():
            outcome = await _claim_one(machine, pools, replace(target, network=network), env)
            if outcome is not DONE:
                return outcome
    return DONE


async def _claim_one(machine: Machine, pools: list[IPPool], target: Target, env: Env) -> Outcome:
    uid = machine.metadata.uid
    used_by = user_of(env, pools, machine.spec.account, target, uid)
    try:
        held = await claim(
            env.store,
            pools,
            machine.owner(),
            cluster=f"{machine.metadata.project}/{machine.spec.cluster}",
            used_by=used_by,
        )
    except PoolExhaustedError as error:
        return wait("PoolExhausted", str(error), after=30)
    if _is_begun(machine, env):
        return DONE
    # It may have been claimed while vCenter could not be asked.
    address = held.spec.address
    user = await vm_with(env, address, machine.spec.account, target, uid)
    if user is not None:
        await release(env.store, uid, now=env.clock.now(), only=address)
        return wait(
            "AddressConflict",
            f"{address} is used by {user.used_by}: another address is taken",
            after=_LOOK_AGAIN_S,
        )
    return DONE


@step("AddressKept")
async def ensure_address_kept(machine: Machine, env: Env) -> Outcome:
    """Replace a control plane whose lease gave it another address: it cannot go on like that.

    Its etcd and API server are bound to the address that they began with, and the other members
    know no other. Where these cannot do without it, it is told only. A worker follows by itself:
    its kubelet looks for the address of the default route.
    """
    spec, status = machine.spec, machine.status
    if spec.role is not Role.CONTROL_PLANE or spec.failure_domain.pools():
        return DONE
    if not status.joined_with or not status.addresses:
        return DONE
    if set(status.joined_with) & set(status.addresses):
        return DONE
    vcenter = env.accounts.get(spec.account)
    seen = vcenter.find(machine.metadata.uid, moref=status.vm) if vcenter else None
    macs = seen.vm.macs if isinstance(seen, Found) else ()
    said = (
        f"its address has changed from {', '.join(status.joined_with)} to "
        f"{', '.join(status.addresses)}, and etcd and API server know only the first"
    )
    kept = await why_kept(machine, env, only_ill=True)
    if kept is None:
        await env.store.request_deletion(Machine, *machine.key)
        return wait("LeaseChanged", f"{said}: this machine is replaced by another one")
    return wait(
        "LeaseChanged",
        f"{said}: let the DHCP server give it to MAC {' or '.join(macs) or 'of its first card'} "
        f"for ever, and restart the machine. It is not replaced: {kept}",
        after=_LEASE_AGAIN_S,
    )


async def cards_of(machine: Machine, env: Env, macs: Sequence[str] = ()) -> tuple[Card, ...]:
    """Return the machine's cards, with the addresses that it holds and what it needs beside them.

    ``macs`` are in the order of the cards; none as long as there is no VM.
    """
    domain = machine.spec.failure_domain
    held: dict[str, StaticAddress] = {}
    for claimed in await env.store.list(IPAddress, owner=machine.metadata.uid):
        pool = await env.store.get(IPPool, "", claimed.spec.pool)
        held[claimed.spec.pool] = StaticAddress(
            address=str(claimed.spec.address),
            prefix=pool.spec.prefix_length,
            router=str(pool.spec.router),
            name_servers=tuple(str(server) for server in pool.spec.name_servers),
            search=tuple(pool.spec.search),
        )
    made = []
    for number, (_, pools) in enumerate(domain.cards()):
        addresses = (held[name] for name in pools if name in held)
        routes = domain.more_networks[number - 1].routes if number else ()
        made.append(
            Card(
                addresses=tuple(sorted(addresses, key=lambda one: ":" in one.address)),
                mac=macs[number] if number < len(macs) else None,
                routes=tuple((str(route.to), str(route.via)) for route in routes),
            )
        )
    return tuple(made)


async def describe_network(machine: Machine, vm: VM, env: Env) -> Outcome:
    """Tell a VM with several cards which of them is which, before it first boots.

    vCenter chooses MAC addresses when it clones. Repeatable: what stands there is read first.
    """
    vcenter = env.accounts.get(machine.spec.account)
    if len(machine.spec.failure_domain.cards()) == 1 or vcenter is None:
        return DONE
    if "NetworkDescribed" in machine.status.timeline:
        return DONE
    cluster = await env.store.get(Cluster, machine.metadata.project, machine.spec.cluster)
    macs = await vcenter.macs(vm)
    cards = await cards_of(machine, env, macs)
    if len(macs) != len(cards):
        return wait(
            "CardsDiffer",
            f"VM {vm.name} has {len(macs)} network cards, and {len(cards)} are asked for: delete "
            "this machine, and another is made",
            after=_CARDS_AGAIN_S,
        )
    wanted = render_network(cards, machine, cluster)
    if await vcenter.read_extra_config(vm, wanted) != wanted:
        task = await vcenter.set_guestinfo(vm, wanted)
        return wait("DescribingNetwork", f"waits for {task}", after=_LOOK_AGAIN_S)
    env.stamp(machine.status.timeline, "NetworkDescribed")
    return DONE


def _is_begun(machine: Machine, env: Env) -> bool:
    """Tell whether there is, or may be, a VM that bears the machine's address."""
    status, vcenter = machine.status, env.accounts.get(machine.spec.account)
    if status.vm or status.clone_task or status.node_name or vcenter is None:
        return True
    return not isinstance(vcenter.find(machine.metadata.uid), Absent)
