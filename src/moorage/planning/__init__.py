"""What to do, given what is wanted and what is seen. Pure: no clock, no I/O."""

from moorage.planning.addresses import choose_address, missing_addresses
from moorage.planning.placement import choose_failure_domains
from moorage.planning.rollout import PoolPlan, plan_control_plane, plan_pool

__all__ = [
    "PoolPlan",
    "choose_address",
    "choose_failure_domains",
    "missing_addresses",
    "plan_control_plane",
    "plan_pool",
]
