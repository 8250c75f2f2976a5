"""Extra disks that say themselves where they lie."""

from dataclasses import replace

from moorage.planning import Disk, Place, Refusal, Slot, solve
from tests.plans.test_solver import GIB, a_domain, a_host, a_slot, a_store, why


def a_slot_with(*disks: Disk) -> Slot:
    """Return a machine that copies nothing, with 4 GiB of swap and these disks."""
    return replace(a_slot(disk_gib=0), disks=disks)


def disks_of(answer: Place | Refusal) -> tuple[str, ...]:
    """Return where the disks of a machine go that was placed."""
    assert isinstance(answer, Place), answer
    return answer.disks


FAST = a_store("fast", free_gib=100)
SLOW = a_store("slow", free_gib=900)
EVERYWHERE = frozenset({"ds1", "fast", "slow"})


def test_a_disk_goes_to_its_datastore_and_counts_there_for_all_failure_domains() -> None:
    domains = [
        a_domain(name, a_host(f"{name}1", datastores=EVERYWHERE), disk_datastores=(FAST,))
        for name in ("a", "b")
    ]
    slot = replace(a_slot_with(Disk(8 * GIB), Disk(40 * GIB, ("fast",))), domains=("a", "b"))

    first, second, third = solve([slot] * 3, domains)

    assert disks_of(first) == disks_of(second) == ("ds1", "fast")
    assert isinstance(first, Place)
    assert isinstance(second, Place)
    assert (first.domain, second.domain) == ("a", "b")
    lacking = "extra disk 2: datastore fast has 20.0 GiB free of 40.0 GiB needed"
    assert why(third) == f"a: {lacking} / b: {lacking}"


def test_of_several_the_machines_own_is_taken_and_else_the_emptiest() -> None:
    host = a_host("a1", datastores=EVERYWHERE)
    own = a_store("ds1", free_gib=50)
    domain = a_domain("a", host, datastores=(own,), disk_datastores=(own, FAST, SLOW))
    disk = Disk(30 * GIB, ("ds1", "fast", "slow"))

    (answer,) = solve([a_slot_with(disk, disk)], [domain])

    assert disks_of(answer) == ("ds1", "slow"), "after the first, ds1 has 16 GiB left"


def test_a_host_has_to_reach_all_datastores_of_a_machine() -> None:
    far = a_host("near", memory_used_mib=0, datastores=frozenset({"ds1"}))
    both = a_host("both", memory_used_mib=9000, datastores=EVERYWHERE)
    wanted = a_slot_with(Disk(GIB, ("fast",)))

    (answer,) = solve([wanted], [a_domain("a", far, both, disk_datastores=(FAST,))])
    (refused,) = solve([wanted], [a_domain("a", far, disk_datastores=(FAST,))])

    assert isinstance(answer, Place)
    assert answer.host == "both"
    assert "no host that the machine may run on reaches datastore fast" in why(refused)


def test_two_disks_that_no_one_host_reaches_have_no_place() -> None:
    hosts = [a_host(name, datastores=frozenset({"ds1", name})) for name in ("fast", "slow")]
    domain = a_domain("a", *hosts, disk_datastores=(FAST, SLOW))

    (apart,) = solve([a_slot_with(Disk(GIB, ("fast",)), Disk(GIB, ("slow",)))], [domain])
    (free,) = solve([a_slot_with(Disk(GIB, ("fast", "slow")), Disk(GIB, ("slow",)))], [domain])

    assert "extra disk 2: no host" in why(apart)
    assert disks_of(free) == ("slow", "slow")


def test_a_promised_place_holds_for_disks_too() -> None:
    host = a_host("a1", datastores=EVERYWHERE)
    domain = a_domain("a", host, disk_datastores=(FAST, SLOW))
    slot = a_slot_with(Disk(GIB, ("fast", "slow")))
    promised = Place("a", "ds1", disks=("fast",))

    (kept,) = solve([replace(slot, given=promised)], [domain])
    changed = replace(slot, given=promised, disks=(Disk(GIB, ("slow",)),))
    (gone,) = solve([changed], [domain])
    (more,) = solve([replace(slot, given=Place("a", "ds1"))], [domain])

    assert disks_of(kept) == ("fast",), "though slow has more space"
    assert "extra disk 1: its datastore is not one of those allowed any more" in why(gone)
    assert why(more) == "a: it has other extra disks now"


def test_a_datastore_that_rests_takes_no_disk() -> None:
    host = a_host("a1", datastores=EVERYWHERE)
    resting = replace(FAST, out_of_service="in maintenance")

    (refused,) = solve(
        [a_slot_with(Disk(GIB, ("fast",)))], [a_domain("a", host, disk_datastores=(resting,))]
    )

    assert why(refused) == "a: extra disk 1: datastore fast is in maintenance"
