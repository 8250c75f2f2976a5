"""A machine's address: claimed before its VM is made, and given up when another has it."""

from moorage.bootstrap import StaticAddress
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
    pools = []
    for name in machine.spec.failure_domain.pools():
        pool = await env.store.find(IPPool, "", name)
        if pool is None:
            return wait("PoolNotFound", f"IP pool {name} is not at this gateway")
        pools.append(pool)
    if not pools:
        return DONE
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
    user = await vm_with(env, held.spec.address, machine.spec.account, target, uid)
    if user is not None:
        await release(env.store, uid, now=env.clock.now())
        return wait(
            "AddressConflict",
            f"{held.spec.address} is used by {user.used_by}: another address is taken",
            after=_LOOK_AGAIN_S,
        )
    return DONE


async def static_address(machine: Machine, env: Env) -> StaticAddress | None:
    """Return the address that a machine holds, with what a node needs beside it."""
    held = await env.store.list(IPAddress, owner=machine.metadata.uid)
    if not held:
        return None
    pool = await env.store.get(IPPool, "", held[0].spec.pool)
    return StaticAddress(
        address=str(held[0].spec.address),
        prefix=pool.spec.prefix_length,
        router=str(pool.spec.router),
        name_servers=tuple(str(server) for server in pool.spec.name_servers),
        search=tuple(pool.spec.search),
    )


def _is_begun(machine: Machine, env: Env) -> bool:
    """Tell whether there is, or may be, a VM that bears the machine's address."""
    status, vcenter = machine.status, env.accounts.get(machine.spec.account)
    if status.vm or status.clone_task or status.node_name or vcenter is None:
        return True
    return not isinstance(vcenter.find(machine.metadata.uid), Absent)
