"""When a control-plane machine may leave etcd: never at the cost of the quorum."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A member of etcd, and what is known of its machine."""

    name: str
    """Of its machine."""
    votes: bool = True
    """``False`` for a learner, which is just joining."""
    healthy: bool = True
    stays: bool = True
    """Its machine is one of ours, nobody asked for its deletion, and its node is Ready."""


@dataclass(frozen=True, slots=True)
class Stay:
    """Why a member has to stay for now."""

    reason: str
    """One UpperCamel word that a user can search for."""
    message: str


AT_RISK = "QuorumAtRisk"
WAITS = "WaitingForReplacement"


def why_member_stays(name: str, members: Sequence[Member], replicas: int) -> Stay | None:
    """Tell why a machine that is being deleted may not leave etcd yet; ``None``: it may.

    A healthy member leaves when others in its place are there, so etcd never has fewer than are
    asked for. An ill one leaves before: as long as it is there, etcd lets nobody join.

    Args:
        name: The machine's.
        members: All of etcd, as it is now.
        replicas: How many control-plane machines are asked for.
    """
    mine = _voter(name, members)
    if mine is None:
        return None
    others = [one for one in members if one.votes and one is not mine]
    if not mine.healthy:
        return _risk(name, others)
    if ill := _ill(others):
        return Stay(AT_RISK, f"etcd members that are not healthy: {ill}; it stays as long as that")
    ready = sum(1 for one in others if one.stays)
    if ready < replicas:
        return Stay(
            WAITS,
            f"it serves until others do: {ready} of {replicas} control planes that stay are in "
            "etcd with a Ready node",
        )
    return None


def why_not_replaced(name: str, members: Sequence[Member], leaving: Sequence[str]) -> str | None:
    """Tell why the replacing of a machine must not even begin; ``None``: it may.

    Args:
        name: The machine's.
        members: All of etcd, as it is now.
        leaving: Other control-plane machines that are being deleted.
    """
    mine = _voter(name, members)
    if mine is None:
        return None
    if leaving:
        return f"{', '.join(sorted(leaving))} is being replaced: one at a time"
    others = [one for one in members if one.votes and one is not mine]
    if mine.healthy:
        ill = _ill(others)
        return f"etcd members that are not healthy: {ill}" if ill else None
    risk = _risk(name, others)
    return risk.message if risk is not None else None


def is_ill(name: str, members: Sequence[Member]) -> bool:
    """Tell whether a machine is in etcd with a vote, and does not answer there."""
    mine = _voter(name, members)
    return mine is not None and not mine.healthy


def _voter(name: str, members: Sequence[Member]) -> Member | None:
    return next((one for one in members if one.name == name and one.votes), None)


def _ill(members: Sequence[Member]) -> str:
    return ", ".join(one.name for one in members if not one.healthy)


def _risk(name: str, others: Sequence[Member]) -> Stay | None:
    """Tell whether the others could go on without an ill member."""
    if not others:
        return Stay(AT_RISK, f"{name} is etcd's only member: what the cluster knows is there only")
    healthy, needed = sum(1 for one in others if one.healthy), len(others) // 2 + 1
    if healthy >= needed:
        return None
    return Stay(
        AT_RISK,
        f"without {name} etcd has {len(others)} members, needs {needed}, and {healthy} are "
        f"healthy; not healthy: {_ill(others)}",
    )
