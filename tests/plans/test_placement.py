"""Machines spread evenly, and the same question has the same answer."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from moorage.planning import choose_failure_domains

names = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True)


@given(allowed=names, occupied=st.lists(st.sampled_from("abcdefgh")), count=st.integers(0, 40))
def test_the_fullest_and_the_emptiest_domain_differ_by_one_at_most_where_it_was_possible(
    allowed: list[str], occupied: list[str], count: int
) -> None:
    chosen = choose_failure_domains(allowed, occupied, count)

    assert len(chosen) == count
    before = Counter(name for name in occupied if name in allowed)
    after = before + Counter(chosen)
    for name in set(chosen):
        assert after[name] - 1 <= min(after[other] for other in allowed)


def test_ties_go_to_the_earlier_domain() -> None:
    assert choose_failure_domains(["a", "b", "c"], [], 4) == ["a", "b", "c", "a"]


def test_machines_in_other_domains_do_not_count() -> None:
    assert choose_failure_domains(["a", "b"], ["z", "z", "a"], 1) == ["b"]
