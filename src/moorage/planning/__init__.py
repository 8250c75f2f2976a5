"""What to do, given what is wanted and what is seen. Pure: no clock, no I/O."""

from moorage.planning.addresses import choose_address
from moorage.planning.apart import Apart, choose_apart, is_rule_name, is_rule_of, rule_name
from moorage.planning.placement import choose_failure_domains
from moorage.planning.rollout import PoolPlan, founds, plan_control_plane, plan_pool
from moorage.planning.solver import Place, Refusal, Resident, Slot, solve

__all__ = [
    "Apart",
    "Place",
    "PoolPlan",
    "Refusal",
    "Resident",
    "Slot",
    "choose_address",
    "choose_apart",
    "choose_failure_domains",
    "founds",
    "is_rule_name",
    "is_rule_of",
    "plan_control_plane",
    "plan_pool",
    "rule_name",
    "solve",
]
