"""Two replicas of one gateway: they share the work, and either goes on when the other dies."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moorage.vsphere.types import OWNER_KEY
from tests.replicas.site import PATIENCE_S, Replica, ReplicaSite
from tests.replicas.stops import COMMIT

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(420)]

EFFECTS = ("CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task", "ReconfigVM_Task")
CHANCES = 4
"""Clusters until a replica that may do any part of the work has done one."""
Told = Callable[[str], None]


@pytest.fixture
def site(postgres_url: str, tmp_path: Path) -> Iterator[ReplicaSite]:
    with ReplicaSite.on(postgres_url, tmp_path) as site:
        site.wait(site.a.holds_link, "the first replica holds the link")
        site.b.start()
        site.wait(lambda: is_standing_by(site.b), "the second replica stands by")
        yield site


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    def tell(what: str) -> None:
        with capsys.disabled():
            print(f"\n  {what}")  # noqa: T201 - measured, and meant for people

    return tell


def is_standing_by(replica: Replica) -> bool:
    try:
        return str(replica.health()["link"]["state"]) == "Standby"
    except OSError:
        return False


def effects(site: ReplicaSite) -> dict[str, int]:
    calls = site.vcenter.control.counters()["calls"]
    return {method: calls.get(method, 0) for method in EFFECTS}


def assert_nothing_is_doubled_or_lost(site: ReplicaSite) -> None:
    ledger = site.vcenter.control.ledger()
    assert ledger.duplicates(OWNER_KEY) == []
    assert ledger.orphans(OWNER_KEY, set(site.machines().values())) == []
    assert set(site.vms()) == set(site.machines().values())


def delete(site: ReplicaSite, *names: str) -> None:
    for name in names:
        site.ask("clusters", "delete", name, "--yes")
    site.wait(lambda: not site.machines() and not site.vms(), "all machines are gone")
    assert site.vcenter.control.ledger().stray_files() == []
    assert list(site.vcenter.guests.guests()) == []
    claims = "SELECT name FROM resource WHERE kind = 'IPAddress'"
    site.wait(lambda: site.query(claims) == [], "all addresses are released")


def open_sessions(site: ReplicaSite) -> int:
    ledger = site.vcenter.control.ledger()
    ours = [one for one in ledger.of_kind("Session", alive=True) if one.by == site.vcenter.user]
    return len(ours)


def test_two_replicas_share_the_clusters_with_one_session_each(
    site: ReplicaSite, told: Told
) -> None:
    names = [f"shared-{number}" for number in range(4)]
    for name in names:
        site.apply(name, 1)

    took = site.wait(lambda: all(site.is_ready(name, 2) for name in names), "four clusters")

    first, second = site.a.passes(), site.b.passes()
    told(f"4 clusters of 1 + 1 Ready after {took:.1f} s; passes: {first} and {second}")
    assert first["machine"] > 0
    assert second["machine"] > 0
    assert_nothing_is_doubled_or_lost(site)
    assert open_sessions(site) == 2
    assert [replica.holds_link() for replica in (site.a, site.b)] == [True, False]
    delete(site, *names)
    assert site.a.stop(30)
    took = site.wait(site.b.holds_link, "the other replica holds the link")
    told(f"after SIGTERM the other replica holds the link in {took:.1f} s")
    assert site.b.stop(30)
    assert open_sessions(site) == 0


def test_a_killed_replicas_work_and_link_go_on(site: ReplicaSite, told: Told) -> None:
    site.a.stops.at("CloneVM_Task")
    for name in ("one", "two"):
        site.apply(name, 2)
    site.wait(lambda: site.a.stops.is_reached or site.is_ready("two", 3), "a clone is asked for")

    site.a.kill()

    link = site.wait(site.b.holds_link, "the other replica holds the link")
    took = site.wait(
        lambda: site.is_ready("one", 3) and site.is_ready("two", 3), "both clusters are Ready"
    )
    told(f"after kill -9: link held in {link:.1f} s, all clusters Ready in {link + took:.1f} s")
    assert_nothing_is_doubled_or_lost(site)
    delete(site, "one", "two")
    assert site.b.stop(30)


@pytest.mark.parametrize("point", ["CloneVM_Task", "PATCH", COMMIT])
def test_a_replica_stopped_past_its_leases_does_nothing_when_it_goes_on(
    site: ReplicaSite, told: Told, point: str
) -> None:
    site.b.stops.at(point)
    names: list[str] = []
    while not site.b.stops.is_reached:
        # Which replica does what is chance: the first one may make a whole cluster by itself.
        assert len(names) < CHANCES, f"the second replica never came to {point}"
        names.append(f"paused-{len(names)}")
        site.apply(names[-1], 2)
        site.wait(
            lambda: site.b.stops.is_reached or site.is_ready(names[-1], 3), f"{point} is reached"
        )
    began = time.monotonic()

    site.wait(lambda: site.is_ready(names[-1], 3), "the other replica finishes")

    told(f"stopped before {point}: Ready {time.monotonic() - began:.1f} s later")
    quiet(site)
    before, stored = effects(site), resources(site)
    ledger = site.vcenter.control.ledger()
    site.b.signal(signal.SIGCONT)
    site.wait(lambda: is_standing_by(site.b), "the stopped one answers again")
    site.wait(lambda: site.b.leases_lost() > 0 or point == COMMIT, "it notices")
    time.sleep(3)  # whatever it had begun would be done by now
    assert effects(site) == before
    after = site.vcenter.control.ledger()
    assert after.of_kind("VirtualMachine") == ledger.of_kind("VirtualMachine")
    assert resources(site) == stored
    assert_nothing_is_doubled_or_lost(site)
    delete(site, *names)


def test_a_stopped_link_holder_gives_way_and_stands_by_afterwards(
    site: ReplicaSite, told: Told
) -> None:
    site.a.signal(signal.SIGSTOP)

    took = site.wait(site.b.holds_link, "the other replica holds the link")

    told(f"after SIGSTOP of its holder the link is held in {took:.1f} s")
    site.a.signal(signal.SIGCONT)
    site.wait(lambda: is_standing_by(site.a), "the first one stands by")
    assert site.b.holds_link()
    site.apply("after", 1)
    site.wait(lambda: site.is_ready("after", 2), "work goes on")
    delete(site, "after")


def resources(site: ReplicaSite) -> dict[str, int]:
    """Return the generation of everything that is stored."""
    return dict(site.query("SELECT kind || ' ' || name, generation FROM resource"))


def quiet(site: ReplicaSite) -> None:
    """Wait until nothing more is asked of vCenter."""
    deadline = time.monotonic() + PATIENCE_S
    before = effects(site)
    while time.monotonic() < deadline:
        time.sleep(2)
        if (now := effects(site)) == before:
            return
        before = now
    pytest.fail("effects go on and on")
