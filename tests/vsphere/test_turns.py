"""Who is cloned next: shares of clusters, ranks, limits, and places that nobody uses."""

from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from moorage.vsphere import BusyError, Limits, Rank
from moorage.vsphere.turns import PLACE_KEPT_S, Claim, Turns

_numbers = count()


def a_claim(cluster: str, rank: Rank = Rank.WORKER, ds: str = "", *hosts: str) -> Claim:
    return Claim(f"{cluster}-{next(_numbers)}", cluster, rank, ds, frozenset(hosts))


@dataclass
class Place:
    """One vCenter whose clones end when the test says so."""

    limits: Limits
    now: float = 0.0
    called: list[str] = field(default_factory=list)
    """Clusters of those who were called after they waited, in order."""
    turns: Turns = field(init=False)
    claims: dict[str, Claim] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turns = Turns(self.limits, self._on_turn, now=lambda: self.now)

    def _on_turn(self, uids: frozenset[str]) -> None:
        for uid in sorted(uids):
            self.called.append(uid)

    def ask(self, *claims: Claim) -> list[bool]:
        """Ask as passes do: who gets a place takes it at once."""
        return [self._ask(claim) for claim in claims]

    def _ask(self, claim: Claim) -> bool:
        self.claims[claim.uid] = claim
        if self.turns.ask(claim) is not None:
            return False
        self.turns.take(claim)
        self.running.append(claim.uid)
        return True

    def end_one(self) -> list[str]:
        """The clone that has run longest ends; returns the UIDs that began instead."""
        before = len(self.called)
        self.turns.end(self.running.pop(0))
        begun = self.called[before:]
        assert self.ask(*(self.claims[uid] for uid in begun)) == [True] * len(begun)
        return begun


def test_a_small_cluster_does_not_wait_for_a_large_one() -> None:
    place = Place(Limits(clones=4, clones_per_host=99, clones_per_datastore=99))
    assert place.ask(*(a_claim("a") for _ in range(104))) == [True] * 4 + [False] * 100
    small = [a_claim("b") for _ in range(3)]
    assert place.ask(*small) == [False] * 3

    begun = [uid for _ in range(5) for uid in place.end_one()]

    assert [one.uid for one in small] == [uid for uid in begun if uid.startswith("b")]
    assert begun[0] == small[0].uid, "the next free place is the small cluster's"
    assert len(begun) == 5, "and no place stays empty"


def test_ten_clusters_have_equal_shares() -> None:
    place = Place(Limits(clones=10, clones_per_host=99, clones_per_datastore=99))
    for name in "abcdefghij":
        place.ask(*(a_claim(name) for _ in range(50)))

    for _ in range(60):
        place.end_one()

    shares = {name: sum(uid.startswith(name) for uid in place.running) for name in "abcdefghij"}
    assert shares == dict.fromkeys("abcdefghij", 1)


def test_equals_are_served_in_turn() -> None:
    place = Place(Limits(clones=1, clones_per_host=99, clones_per_datastore=99))
    for name in "abc":
        place.ask(*(a_claim(name) for _ in range(4)))

    order = [uid[0] for _ in range(9) for uid in place.end_one()]

    assert order == list("bcabcabca")


def test_control_planes_come_before_workers_and_the_first_before_all() -> None:
    place = Place(Limits(clones=1))
    place.ask(a_claim("other"))
    workers = [a_claim("a") for _ in range(3)]
    others = [a_claim("a", Rank.CONTROL_PLANE) for _ in range(2)]
    first = a_claim("a", Rank.FIRST_CONTROL_PLANE)
    place.ask(*workers, *others, first)

    order = [uid for _ in range(6) for uid in place.end_one()]

    assert order == [one.uid for one in (first, *others, *workers)]


def test_a_full_datastore_holds_up_only_those_who_go_there() -> None:
    place = Place(Limits(clones=16, clones_per_datastore=2))
    assert place.ask(*(a_claim("a", Rank.WORKER, "ds1") for _ in range(3))) == [True, True, False]

    elsewhere, waits = a_claim("b", Rank.WORKER, "ds2"), a_claim("b", Rank.WORKER, "ds1")
    assert place.ask(elsewhere, waits) == [True, False]

    assert "to this datastore, and no more than 2" in str(place.turns.why_wait(waits.uid))
    assert [uid[0] for uid in place.end_one()] == ["a"], "both have one in flight: a waited longer"
    assert place.end_one() == [waits.uid]


def test_a_host_counts_as_source_and_as_target() -> None:
    place = Place(Limits(clones=16, clones_per_host=2))
    reads = a_claim("a", Rank.WORKER, "ds1", "source", "h1")
    assert place.ask(reads, a_claim("a", Rank.WORKER, "ds2", "source", "h2")) == [True, True]

    third = a_claim("a", Rank.WORKER, "ds3", "h1", "source")
    assert place.ask(third, a_claim("a", Rank.WORKER, "ds3", "h1", "other")) == [False, True]

    assert "on this host, and no more than 2" in str(place.turns.why_wait(third.uid))


def test_nobody_overtakes_a_machine_that_was_called() -> None:
    place = Place(Limits(clones=1))
    first, second, late = a_claim("a"), a_claim("b"), a_claim("c")
    place.ask(first, second)

    place.turns.end(first.uid)

    assert place.called == [second.uid]
    assert place.ask(late) == [False], "the place is kept for the one that was called"
    with pytest.raises(BusyError, match="no more than 1"):
        place.turns.take(late)
    assert place.ask(second) == [True]


def test_a_machine_that_does_not_come_loses_its_place() -> None:
    place = Place(Limits(clones=1))
    first, gone, third = a_claim("a"), a_claim("b"), a_claim("c")
    place.ask(first, gone, third)
    place.turns.end(first.uid)
    assert place.called == [gone.uid]

    place.now += PLACE_KEPT_S + 1
    assert place.ask(a_claim("d")) == [False]

    assert place.called == [gone.uid, third.uid]
    assert place.ask(third) == [True]


def test_a_machine_that_leaves_gives_its_place_to_the_next() -> None:
    place = Place(Limits(clones=1))
    first, second, third = a_claim("a"), a_claim("a"), a_claim("a")
    place.ask(first, second, third)

    place.turns.leave(first.uid)
    assert place.called == [], "its clone runs: it counts until it has ended"
    place.turns.end(first.uid)
    place.turns.leave(second.uid)

    assert place.called == [second.uid, third.uid]
    assert place.ask(third) == [True]


def test_a_clone_of_an_earlier_process_counts() -> None:
    place = Place(Limits(clones=1))
    place.turns.note_running(Claim("made-before-the-restart"))

    assert place.ask(a_claim("a")) == [False]

    place.turns.end("made-before-the-restart")
    assert len(place.called) == 1


def test_accounts_of_one_vcenter_share_its_places_and_give_up_their_own() -> None:
    place = Place(Limits(clones=2))
    mine = [replace(a_claim("a"), session=1) for _ in range(3)]
    other = replace(a_claim("b"), session=2)
    assert place.ask(*mine, other) == [True, True, False, False]

    place.turns.close(1)

    assert place.called == [other.uid]
    assert place.turns.why_wait(mine[2].uid) is None, "it does not wait any more"
    assert place.ask(other, a_claim("b"), a_claim("b")) == [True, True, False]
