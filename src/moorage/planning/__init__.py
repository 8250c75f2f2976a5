"""What to do, given what is wanted and what is seen. Pure: no clock, no I/O."""

from moorage.planning.address_choice import AddressChoice, GivenAddress, PoolAddresses
from moorage.planning.addresses import free_addresses
from moorage.planning.apart import Apart, choose_apart, is_rule_name, is_rule_of, rule_name
from moorage.planning.choosing import (
    ELSEWHERE,
    NO_ROOM,
    Choice,
    Fault,
    Group,
    NewMachine,
    Removal,
    Shortage,
    Snapshot,
    Vip,
    changes_of,
    choose,
    group_name,
    in_order,
    resident_of,
    slot_of,
)
from moorage.planning.estate import Disk, Load, Place, Refusal, Resident, Slot, loads
from moorage.planning.fitting import Fitting, how_many_fit
from moorage.planning.placement import choose_failure_domains
from moorage.planning.promise import Copies, Promise, differences
from moorage.planning.quorum import Member, Stay, is_ill, why_member_stays, why_not_replaced
from moorage.planning.rollout import PoolPlan, founds, plan_control_plane, plan_pool
from moorage.planning.solver import solve

__all__ = [
    "ELSEWHERE",
    "NO_ROOM",
    "AddressChoice",
    "Apart",
    "Choice",
    "Copies",
    "Disk",
    "Fault",
    "Fitting",
    "GivenAddress",
    "Group",
    "Load",
    "Member",
    "NewMachine",
    "Place",
    "PoolAddresses",
    "PoolPlan",
    "Promise",
    "Refusal",
    "Removal",
    "Resident",
    "Shortage",
    "Slot",
    "Snapshot",
    "Stay",
    "Vip",
    "changes_of",
    "choose",
    "choose_apart",
    "choose_failure_domains",
    "differences",
    "founds",
    "free_addresses",
    "group_name",
    "how_many_fit",
    "in_order",
    "is_ill",
    "is_rule_name",
    "is_rule_of",
    "loads",
    "plan_control_plane",
    "plan_pool",
    "resident_of",
    "rule_name",
    "slot_of",
    "solve",
    "why_member_stays",
    "why_not_replaced",
]
