"""Which machines of a role a DRS rule keeps apart, and what the rule is called."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

FEWEST = 2
"""VMs of a rule: vCenter refuses one with fewer, and there is nothing to keep apart."""
_PREFIX = "moorage."
_PARTS = 4


@dataclass(frozen=True, slots=True)
class Apart:
    """What becomes of the machines of one role in one compute cluster."""

    members: frozenset[str]
    """VMs of the rule; none where no rule is needed."""
    sharing: int
    """Machines for which no host of their own is left: they run beside another one."""


def choose_apart(vms: Sequence[str], hosts: int, members: Collection[str] = ()) -> Apart:
    """Choose the VMs of a rule: never more than there are hosts to run them on.

    A rule with more could not be kept, and DRS would refuse to power a VM on. Those that are in
    the rule stay in it as long as there is room, so that it changes as seldom as can be; then the
    order of ``vms`` counts.

    Args:
        vms: All of one role in one compute cluster.
        hosts: Usable ones in that compute cluster.
        members: VMs of the rule as it is now.
    """
    order = sorted(vms, key=lambda vm: vm not in members)  # stable: ties keep their order
    chosen = order[: max(0, hosts)]
    sharing = len(vms) - len(chosen) if hosts > 0 else 0
    return Apart(frozenset(chosen if len(chosen) >= FEWEST else ()), sharing)


def rule_name(cluster: str, pool: str | None, uid_suffix: str) -> str:
    """Return the name of the rule of one role; no other role, of no other cluster, has the same.

    Args:
        cluster: Name of the cluster.
        pool: Name of the pool; ``None`` is the control plane.
        uid_suffix: Part of the cluster's UID, as names of machines have one.
    """
    # No name of a pool has a space: none is taken for the control plane.
    return f"{_PREFIX}{cluster}.{uid_suffix}.{pool or 'control plane'}"


def is_rule_of(name: str, uid_suffix: str) -> bool:
    """Tell whether a rule's name says that it is of the cluster with that part of its UID."""
    return is_rule_name(name) and name.split(".")[2] == uid_suffix


def is_rule_name(name: str) -> bool:
    """Tell whether a name is one that ``rule_name`` makes, for whatever cluster."""
    return name.startswith(_PREFIX) and len(name.split(".")) == _PARTS
