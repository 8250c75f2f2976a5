"""A machine's address: claimed before its VM is made, and given up when another has it."""

from moorage.bootstrap import Card, StaticAddress
from moorage.controllers.gateway.conflicts import user_of, vm_with
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.place import target_of_machine
from moorage.engine import DONE, Outcome, step, wait
from moorage.ipam import PoolExhaustedError, claim, release
from moorage.resources import IPAddress, IPPool, Machine
from moorage.vsphere import Absent

_LOOK_AGAIN_S = 2.0


@step("AddressClaimed")
async def ensure_address(machine: Machine, env: Env) -> Outcome:
    """Claim one address of each family that the failure domain has pools of."""
    families: dict[int, list[IPPool]] = {}
    for name in machine.spec.failure_domain.pools():
        pool = await env.store.find(IPPool, "", name)
        if pool is None:
            return wait("PoolNotFound", f"IP pool {name} is not at this gateway")
        families.setdefault(pool.spec.version, []).append(pool)
    for pools in families.values():
        outcome = await _claim_one(machine, pools, env)
        if outcome is not DONE:
            return outcome
    return DONE


async def _claim_one(machine: Machine, pools: list[IPPool], env: Env) -> Outcome:
    uid, target = machine.metadata.uid, target_of_machine(machine.spec)
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


async def card_of(machine: Machine, env: Env) -> Card:
    """Return the machine's card, with the addresses that it holds and what it needs beside them."""
    made = []
    for held in await env.store.list(IPAddress, owner=machine.metadata.uid):
        pool = await env.store.get(IPPool, "", held.spec.pool)
        made.append(
            StaticAddress(
                address=str(held.spec.address),
                prefix=pool.spec.prefix_length,
                router=str(pool.spec.router),
                name_servers=tuple(str(server) for server in pool.spec.name_servers),
                search=tuple(pool.spec.search),
            )
        )
    return Card(tuple(sorted(made, key=lambda one: ":" in one.address)))


def _is_begun(machine: Machine, env: Env) -> bool:
    """Tell whether there is, or may be, a VM that bears the machine's address."""
    status, vcenter = machine.status, env.accounts.get(machine.spec.account)
    if status.vm or status.clone_task or status.node_name or vcenter is None:
        return True
    return not isinstance(vcenter.find(machine.metadata.uid), Absent)
