"""Say how full each IP pool is."""

from moorage.controllers.gateway.env import Env
from moorage.engine import DONE, Outcome, StepReconciler, step, wait
from moorage.ipam import claims_of
from moorage.resources import IPPool
from moorage.resources.meta import GATEWAY_FINALIZER


@step("Counted")
async def ensure_counted(pool: IPPool, env: Env) -> Outcome:
    claims = await claims_of(env.store, pool.metadata.name)
    claimed = {claim.spec.address for claim in claims}
    pool.status.total = pool.spec.usable()
    pool.status.claimed = len(claimed)
    pool.status.free = pool.status.total - sum(1 for one in claimed if pool.spec.may_give(one))
    pool.status.clusters = sorted({claim.spec.cluster for claim in claims})
    return DONE


@step("Unused")
async def ensure_unused(pool: IPPool, env: Env) -> Outcome:
    claims = await claims_of(env.store, pool.metadata.name)
    if claims:
        users = sorted({claim.spec.cluster for claim in claims})
        return wait(
            "AddressesInUse",
            f"{len(claims)} addresses are held by {', '.join(users)}; delete these clusters first",
        )
    return DONE


IPPOOL = StepReconciler(
    kind=IPPool, steps=(ensure_counted,), teardown=(ensure_unused,), finalizer=GATEWAY_FINALIZER
)
