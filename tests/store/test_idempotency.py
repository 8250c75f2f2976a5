"""Keys of requests, on both databases: taken once, given back, noted with what they did."""

from datetime import timedelta

import pytest
from anyio import create_task_group

from moorage.kit.clock import FakeClock
from moorage.store import SqlStore, idempotency
from moorage.store.idempotency import ABANDONED, KEPT, LOST, Claim

CLAIM = Claim("alice", "0123")


async def test_of_many_at_once_one_takes_the_key(store: SqlStore) -> None:
    new: list[bool] = []

    async def take() -> None:
        new.append(await idempotency.begin(store, CLAIM, "digest") is None)

    async with create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(take)

    assert sorted(new) == [False] * 4 + [True]
    assert await idempotency.begin(store, Claim("bob", CLAIM.key), "digest") is None


async def test_an_answer_is_kept_for_a_day(store: SqlStore, clock: FakeClock) -> None:
    await idempotency.begin(store, CLAIM, "digest")
    await idempotency.keep(store, CLAIM, 201, '"7"', "{}")

    kept = await idempotency.begin(store, CLAIM, "another")

    assert kept == idempotency.Kept("digest", False, 201, '"7"', "{}")
    clock.advance(KEPT - timedelta(seconds=1))
    await idempotency.sweep(store)
    assert await idempotency.begin(store, CLAIM, "another") == kept
    clock.advance(timedelta(seconds=1))
    await idempotency.sweep(store)
    assert await idempotency.begin(store, CLAIM, "another") is None


async def test_what_is_noted_stands_or_falls_with_the_transaction(
    store: SqlStore, clock: FakeClock
) -> None:
    await idempotency.begin(store, CLAIM, "digest")

    async def fail() -> None:
        async with store.transaction() as unit:
            await idempotency.note_done(unit, CLAIM)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await idempotency.forget(store, CLAIM)
    assert await idempotency.begin(store, CLAIM, "digest") is None

    async with store.transaction() as unit:
        await idempotency.note_done(unit, CLAIM)
    await idempotency.forget(store, CLAIM)
    clock.advance(LOST)
    kept = await idempotency.begin(store, CLAIM, "digest")
    assert kept is not None
    assert kept.is_lost
    clock.advance(ABANDONED)
    assert await idempotency.begin(store, CLAIM, "digest") == kept


async def test_the_key_of_a_replica_that_died_is_free_again(
    store: SqlStore, clock: FakeClock
) -> None:
    await idempotency.begin(store, CLAIM, "digest")
    clock.advance(ABANDONED)
    assert await idempotency.begin(store, CLAIM, "digest") is None
