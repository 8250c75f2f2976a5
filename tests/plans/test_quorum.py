"""When a control plane may leave etcd, and when its replacing may begin."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.planning import Member, why_member_stays, why_not_replaced


def members(word: str) -> list[Member]:
    """Read ``a B c! d?``: capitals are leaving, ``!`` is ill, ``?`` a learner."""
    return [
        Member(
            name=one[0].lower(),
            votes="?" not in one,
            healthy="!" not in one and "?" not in one,
            stays=one[0].islower() and "!" not in one,
        )
        for one in word.split()
    ]


@pytest.mark.parametrize(
    ("etcd", "replicas", "reason"),
    [
        ("b c d", 3, ""),  # it is not in etcd, or no longer
        ("A b c d", 3, ""),  # its replacement is in
        ("A b c", 3, "WaitingForReplacement"),
        ("A b c d?", 3, "WaitingForReplacement"),  # the replacement has no vote yet
        ("A b c d!", 3, "QuorumAtRisk"),  # the replacement has died
        ("A? b c", 3, ""),  # it never had a vote
        ("A! b c", 3, ""),  # ill: nobody could join while it is there
        ("A! b c!", 3, "QuorumAtRisk"),  # one of two would be no majority
        ("A! b! c d e", 5, ""),  # three of the four that stay
        ("A! b! c! d e", 5, "QuorumAtRisk"),
        ("A B c d", 3, "WaitingForReplacement"),  # two leave: not on each other's account
        ("A B c d e", 3, ""),
        ("A", 1, "WaitingForReplacement"),
        ("A b", 1, ""),
        ("A!", 1, "QuorumAtRisk"),
        ("A! b", 1, ""),
    ],
)
def test_a_member_stays_as_long_as_it_is_needed(etcd: str, replicas: int, reason: str) -> None:
    stay = why_member_stays("a", members(etcd), replicas)

    assert (stay.reason if stay else "") == reason


@pytest.mark.parametrize(
    ("etcd", "leaving", "words"),
    [
        ("a b c", [], None),
        ("a", [], None),  # another joins first
        ("b c", [], None),
        ("a b c", ["c"], "c is being replaced: one at a time"),
        ("a b! c", [], "not healthy: b"),
        ("a! b c", [], None),
        ("a! b! c", [], "without a etcd has 2 members, needs 2, and 1 are healthy"),
        ("a!", [], "a is etcd's only member"),
    ],
)
def test_replacing_does_not_begin_while_something_else_is_wrong(
    etcd: str, leaving: Sequence[str], words: str | None
) -> None:
    why = why_not_replaced("a", members(etcd), leaving)

    assert words in why if words and why else why is words


flags = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=9)


@given(flags, st.sampled_from([1, 3, 5]))
def test_what_may_leave_never_costs_the_quorum(
    shape: list[tuple[bool, bool]], replicas: int
) -> None:
    etcd = [Member(str(n), healthy=ok, stays=stays) for n, (ok, stays) in enumerate(shape)]
    for one in etcd:
        if why_member_stays(one.name, etcd, replicas) is None:
            left = [other for other in etcd if other is not one]
            assert 2 * sum(other.healthy for other in left) > len(left)
