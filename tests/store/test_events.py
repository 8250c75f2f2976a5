"""Events: counted when they repeat, bounded for each resource, forgotten when old."""

from datetime import timedelta

from moorage.kit.clock import FakeClock
from moorage.store import SqlStore, events
from tests.builders import a_cluster, a_machine


async def test_equal_events_are_counted(store: SqlStore, clock: FakeClock) -> None:
    cluster, began = a_cluster(), clock.now()
    for _ in range(3):
        await events.record(store, events.News(cluster, "Cloning", "machine a", "Warning"))
        clock.advance(timedelta(seconds=10))
    await events.record(store, events.News(cluster, "Cloning", "machine b", "Warning"))

    other, counted = await events.list_events(store, uid=cluster.metadata.uid)

    assert (other.message, other.times) == ("machine b", 1)
    assert (counted.message, counted.times, counted.type) == ("machine a", 3, "Warning")
    assert (counted.first_at, counted.last_at) == (began, began + timedelta(seconds=20))


async def test_order_is_kept_when_the_clock_is_set_back(store: SqlStore, clock: FakeClock) -> None:
    cluster = a_cluster()
    for reason in ("First", "Second", "First", "Third"):
        await events.record(store, events.News(cluster, reason, ""))
        clock.set(-timedelta(hours=2))

    for asked in ({"uid": cluster.metadata.uid}, {"kind": "Cluster", "name": "demo"}, {}):
        found = await events.list_events(store, **asked)
        assert [event.reason for event in found] == ["Third", "First", "Second"]


async def test_namesakes_have_events_of_their_own(store: SqlStore) -> None:
    one, other = a_cluster(), a_cluster()
    await events.record(store, events.News(one, "Created", ""))
    await events.record(store, events.News(other, "Created", ""))

    assert [e.times for e in await events.list_events(store, uid=one.metadata.uid)] == [1]
    named = await events.list_events(store, kind="Cluster", project="default", name="demo")
    assert len(named) == 2


async def test_a_noisy_resource_keeps_its_newest_hundred(store: SqlStore, clock: FakeClock) -> None:
    quiet, noisy = a_cluster(), a_machine()
    await events.record(store, events.News(quiet, "Created", ""))
    for number in range(105):
        clock.advance(timedelta(seconds=1))
        await events.record(store, events.News(noisy, "Failed", f"attempt {number}"))

    kept = await events.list_events(store, uid=noisy.metadata.uid, limit=500)

    assert len(kept) == 100
    assert kept[-1].message == "attempt 5"
    assert len(await events.list_events(store, uid=quiet.metadata.uid)) == 1


async def test_old_events_are_forgotten(store: SqlStore, clock: FakeClock) -> None:
    cluster = a_cluster()
    await events.record(store, events.News(cluster, "Old", ""))
    clock.advance(timedelta(days=5))
    await events.record(store, events.News(cluster, "New", ""))
    clock.advance(timedelta(days=5))

    assert await events.prune(store) == 1

    assert [event.reason for event in await events.list_events(store)] == ["New"]


async def test_secrets_do_not_get_into_events(store: SqlStore) -> None:
    await events.record(
        store, events.News(a_cluster(), "Failed", "login with password=hunter2 refused")
    )

    (event,) = await events.list_events(store)

    assert "hunter2" not in event.message


async def test_a_long_message_is_cut(store: SqlStore) -> None:
    await events.record(store, events.News(a_cluster(), "Failed", "€" * 5000))

    (event,) = await events.list_events(store)

    assert len(event.message) == 1024


async def test_equal_events_of_one_burst_are_counted(store: SqlStore) -> None:
    cluster = a_cluster()
    await events.record(
        store,
        events.News(cluster, "First", ""),
        events.News(cluster, "Second", ""),
        events.News(cluster, "First", ""),
    )
    await events.record(store)
    found = [(event.reason, event.times) for event in await events.list_events(store)]
    assert sorted(found) == [("First", 2), ("Second", 1)]
