"""Addresses that were released are held back for a while, given last, and forgotten in the end."""

from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Any

import anyio
import pytest

from moorage.controllers.gateway.build import Work, wire
from moorage.engine import Tombstone
from moorage.gateway.vault import Vault
from moorage.hub.rules.base import assign
from moorage.ipam import PoolExhaustedError, claim, claims_of, held_back_of, nobody, release
from moorage.kit.clock import FakeClock
from moorage.kit.errors import ConflictError
from moorage.kit.ids import new_uid
from moorage.kit.seal import PrivateSealingKey
from moorage.kit.skew import PeerClock
from moorage.resources import IPAddress, IPPool, Owner
from moorage.resources.ippool import IPAddressSpec
from moorage.resources.meta import GATEWAY_FINALIZER
from moorage.store import SqlStore
from tests.builders import an_ip_pool

pytestmark = pytest.mark.anyio

HOLD_OFF = timedelta(minutes=5)


async def _all_acknowledged() -> int:
    return 1 << 60


async def _no_recovery_key() -> None:
    return None


@pytest.fixture
async def work(store: SqlStore, clock: FakeClock) -> AsyncIterator[Work]:
    """A gateway's controllers; nothing here needs a vCenter."""
    made = wire(
        store,
        clock=clock,
        vault=Vault(PrivateSealingKey.generate(), new_uid(), _no_recovery_key),
        installation=new_uid(),
        gateway="site-a",
        acknowledged=_all_acknowledged,
        hub_clock=PeerClock(clock),
    )
    yield made
    await made.manager.close()
    await made.close()


async def make_pool(store: SqlStore, **changes: Any) -> IPPool:
    pool = an_ip_pool(end="10.77.1.12", hold_off_s=int(HOLD_OFF.total_seconds()), **changes)
    pool.metadata.finalizers = [GATEWAY_FINALIZER]
    return await store.create(pool)


def a_holder(name: str = "m") -> Owner:
    return Owner(kind="Machine", name=name, uid=new_uid())


async def take(store: SqlStore, pool: IPPool, owner: Owner | None = None, *others: IPPool) -> str:
    pools, owner = [pool, *others], owner or a_holder()
    held = await claim(store, pools, owner, cluster="default/demo", used_by=nobody)
    return str(held.spec.address)


async def test_a_released_address_is_given_last_the_oldest_first(
    store: SqlStore, clock: FakeClock
) -> None:
    pool = await make_pool(store)
    first, second = a_holder(), a_holder()
    assert await take(store, pool, first) == "10.77.1.10"
    assert await take(store, pool, second) == "10.77.1.11"
    for owner in (second, first):
        assert await release(store, owner.uid, now=clock.now()) == 1
        clock.advance(timedelta(seconds=1))
    assert await claims_of(store, pool.metadata.name) == []

    given = [await take(store, pool) for _ in range(3)]

    assert given == ["10.77.1.12", "10.77.1.11", "10.77.1.10"]
    assert await held_back_of(store, pool.metadata.name) == []
    with pytest.raises(PoolExhaustedError, match="all 3 addresses"):
        await take(store, pool)


async def test_pools_are_asked_in_order_and_what_is_held_back_comes_last(
    store: SqlStore, clock: FakeClock
) -> None:
    first = await make_pool(store)
    second = await store.create(an_ip_pool("more", start="10.77.2.1", end="10.77.2.2"))
    early = a_holder()
    await take(store, first, early)
    await release(store, early.uid, now=clock.now())
    last = a_holder()

    given = [await take(store, first, owner, second) for owner in (*map(a_holder, "abcd"), last)]

    assert given == ["10.77.1.11", "10.77.1.12", "10.77.2.1", "10.77.2.2", "10.77.1.10"]
    assert await take(store, second, last, first) == "10.77.1.10", "it holds one already"
    with pytest.raises(PoolExhaustedError, match=r"all 3 .* nodes .*; all 2 .* more "):
        await take(store, first, a_holder(), second)


async def test_one_address_held_back_is_given_to_one_of_many(
    store: SqlStore, clock: FakeClock
) -> None:
    pool = await make_pool(store, start="10.77.1.12")
    owner = a_holder()
    await take(store, pool, owner)
    await release(store, owner.uid, now=clock.now())
    got: list[str] = []

    async def ask() -> None:
        try:
            got.append(await take(store, pool))
        except PoolExhaustedError:
            got.append("none")

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(ask)

    assert sorted(got) == ["10.77.1.12", *["none"] * 7]


async def test_an_address_that_is_asked_for_by_name_is_not_held_back(
    store: SqlStore, clock: FakeClock
) -> None:
    pool = await make_pool(store)
    owner, wanted = a_holder(), IPv4Address("10.77.1.11")
    await claim(store, [pool], owner, cluster="default/demo", used_by=nobody, wanted=wanted)
    await release(store, owner.uid, now=clock.now())

    again = await claim(
        store, [pool], a_holder(), cluster="default/demo", used_by=nobody, wanted=wanted
    )

    assert again.spec.address == wanted
    assert again.spec.released_at is None
    with pytest.raises(ConflictError, match="claimed by Machine m"):
        await claim(
            store, [pool], a_holder(), cluster="default/demo", used_by=nobody, wanted=wanted
        )


async def test_another_cluster_may_follow_in_a_pool_for_one_cluster(
    store: SqlStore, clock: FakeClock
) -> None:
    pool = await make_pool(store, restrict_to_single_cluster=True)
    owner = a_holder()
    await claim(store, [pool], owner, cluster="default/one", used_by=nobody)
    await release(store, owner.uid, now=clock.now())

    assert await claim(store, [pool], a_holder(), cluster="default/two", used_by=nobody)


async def test_without_hold_off_nothing_is_kept(store: SqlStore, clock: FakeClock) -> None:
    pool = await store.create(an_ip_pool(hold_off_s=0))
    owner = a_holder()
    await take(store, pool, owner)

    await release(store, owner.uid, now=clock.now())

    assert await store.list(IPAddress) == []


async def test_what_is_held_back_is_counted_and_forgotten(
    store: SqlStore, clock: FakeClock, work: Work
) -> None:
    pool = await make_pool(store)
    owner = a_holder()
    await take(store, pool, owner)
    await release(store, owner.uid, now=clock.now())

    await work.manager.settle()

    status = (await store.get(IPPool, *pool.key)).status
    assert (status.claimed, status.held_back, status.free) == (0, 1, 3)
    clock.advance(HOLD_OFF / 2)
    await work.manager.settle()
    assert len(await store.list(IPAddress)) == 1
    clock.advance(HOLD_OFF)
    await work.manager.settle()
    assert await store.list(IPAddress) == []
    assert (await store.get(IPPool, *pool.key)).status.held_back == 0


def test_a_clock_that_is_set_back_ends_the_hold_off(clock: FakeClock) -> None:
    spec = IPAddressSpec(
        pool="nodes",
        address=IPv4Address("10.77.1.10"),
        cluster="default/demo",
        claimed_by=a_holder(),
        released_at=clock.now(),
    )

    assert spec.is_held_back(300, clock.now())
    assert spec.is_held_back(300, clock.now() + timedelta(seconds=299))
    assert not spec.is_held_back(300, clock.now() + timedelta(seconds=300))
    assert not spec.is_held_back(300, clock.now() - timedelta(hours=2))


async def test_a_pool_that_is_deleted_waits_for_nothing_that_is_held_back(
    store: SqlStore, clock: FakeClock, work: Work
) -> None:
    pool = await make_pool(store)
    owner = a_holder()
    await take(store, pool, owner)
    await release(store, owner.uid, now=clock.now())
    await store.request_deletion(IPPool, *pool.key)

    await work.manager.settle()

    assert await store.list(IPAddress) == []
    assert await store.find(IPPool, *pool.key) is None


async def test_a_pool_that_moved_away_takes_what_is_held_back_along(
    store: SqlStore, clock: FakeClock, work: Work
) -> None:
    pool = await make_pool(store)
    owner = a_holder()
    await take(store, pool, owner)
    await release(store, owner.uid, now=clock.now())
    assignment = await assign(store, pool)
    assignment.status.dropped_epoch = 2
    await store.put_status(assignment)

    await work.manager.settle()

    assert await store.list(IPPool) == []
    assert await store.list(IPAddress) == []
    left = await store.changed_since(0)
    assert not any(isinstance(row, Tombstone) for row in left), "they live on elsewhere, or nowhere"
