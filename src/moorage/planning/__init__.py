"""What to do, given what is wanted and what is seen. Pure: no clock, no I/O."""

from moorage.planning.addresses import choose_address, missing_addresses
from moorage.planning.placement import choose_failure_domains
from moorage.planning.rollout import PoolPlan, founds, plan_control_plane, plan_pool
from moorage.planning.solver import Place, Refusal, Resident, Slot, solve

__all__ = [
    "Place",
    "PoolPlan",
    "Refusal",
    "Resident",
    "Slot",
    "choose_address",
    "choose_failure_domains",
    "founds",
    "missing_addresses",
    "plan_control_plane",
    "plan_pool",
    "solve",
]
