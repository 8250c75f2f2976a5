"""Say how full each IP pool is."""

from datetime import datetime, timedelta

from moorage.controllers.gateway.addresses.users import still_used
from moorage.controllers.gateway.env import Env
from moorage.controllers.tally import tally_of
from moorage.engine import DONE, Outcome, StepReconciler, step, wait
from moorage.ipam import claims_of, forget, held_back_of
from moorage.resources import IPPool
from moorage.resources.ippool import MOST_COUNTED
from moorage.resources.meta import GATEWAY_FINALIZER

_SHOWN = 5
_LOOK_AGAIN_S = 30.0


@step("Counted")
async def ensure_counted(pool: IPPool, env: Env) -> Outcome:
    """Count, and let go of what was held back for long enough."""
    pool.status.held_back = await _let_go(pool, env)
    name = pool.metadata.name
    pools = {one.metadata.name: one for one in await env.store.list(IPPool)}
    tally = await tally_of(env.store)
    claims = tally.claims(name)
    pool.status.total = min(pool.spec.usable(), MOST_COUNTED)
    pool.status.claimed = len(claims)
    pool.status.reserved = tally.reserved(name, pools)
    pool.status.free = max(0, pool.status.total - pool.status.claimed)
    pool.status.clusters = sorted({claim.cluster for claim in claims})
    return DONE


@step("ConflictFree")
async def ensure_conflict_free(pool: IPPool, env: Env) -> Outcome:
    """Say which addresses others use, until they no longer do or the pool no longer has them."""
    known = {one.address: one for one in pool.status.conflicts}
    for found in env.conflicts.take(pool.metadata.name):
        known[found.address] = known.get(found.address, found)
    if not known:
        return DONE
    claimed = {one.address for one in (await tally_of(env.store)).claims(pool.metadata.name)}
    left = []
    for address, conflict in sorted(known.items()):
        if address in claimed or not pool.spec.may_give(address):
            continue
        if (now := await still_used(env, conflict)) is not None:
            left.append(now)
    pool.status.conflicts = left
    if not left:
        return DONE
    shown = "; ".join(f"{one.address} is used by {one.used_by}" for one in left[:_SHOWN])
    more = f"; and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    return wait(
        "AddressConflict",
        f"{shown}{more}: they are not given until they are free; exclude them from the pool, or "
        "change these machines",
        after=_LOOK_AGAIN_S,
    )


@step("Unused")
async def ensure_unused(pool: IPPool, env: Env) -> Outcome:
    for held in await held_back_of(env.store, pool.metadata.name):
        await forget(env.store, held)
    claims = await claims_of(env.store, pool.metadata.name)
    if claims:
        users = sorted({claim.spec.cluster for claim in claims})
        return wait(
            "AddressesInUse",
            f"{len(claims)} addresses are held by {', '.join(users)}; delete these clusters first",
        )
    return DONE


async def _let_go(pool: IPPool, env: Env) -> int:
    """Delete the records of addresses whose hold-off is over; return how many are left."""
    now, hold_off_s = env.clock.now(), pool.spec.hold_off_s
    left: list[datetime] = []
    for held in await held_back_of(env.store, pool.metadata.name):
        since = held.spec.released_at
        if since is not None and held.spec.is_held_back(hold_off_s, now):
            left.append(since)
        else:
            await forget(env.store, held)
    if left:
        again = min(left) + timedelta(seconds=hold_off_s)
        await env.store.enqueue("ippool", f"/{pool.metadata.name}", again)
    return len(left)


IPPOOL = StepReconciler(
    kind=IPPool,
    steps=(ensure_counted, ensure_conflict_free),
    teardown=(ensure_unused,),
    finalizer=GATEWAY_FINALIZER,
)
