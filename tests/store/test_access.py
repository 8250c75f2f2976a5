"""Passwords, sessions, API keys, enrolment tokens: each holds for as long as it should."""

from datetime import timedelta

import anyio
import pytest

from moorage.kit.clock import FakeClock
from moorage.kit.errors import ConflictError, NotFoundError
from moorage.store import SqlStore, access

HOUR = timedelta(hours=1)


async def test_a_password_is_replaced(store: SqlStore) -> None:
    assert not await access.has_passwords(store)
    await access.set_password_hash(store, "alice", "one")
    await access.set_password_hash(store, "alice", "two")

    assert await access.find_password_hash(store, "alice") == "two"
    assert await access.find_password_hash(store, "bob") is None
    assert await access.has_passwords(store)


async def test_a_session_ends_at_its_time_and_not_before(store: SqlStore, clock: FakeClock) -> None:
    made = await access.add_session(store, id_hash="s", user="alice", expires_at=clock.now() + HOUR)
    assert await access.find_session(store, "s") == made
    clock.advance(HOUR - timedelta(microseconds=1))
    assert await access.find_session(store, "s") is not None
    clock.advance(timedelta(microseconds=1))

    assert await access.find_session(store, "s") is None


async def test_a_used_session_can_be_prolonged(store: SqlStore, clock: FakeClock) -> None:
    await access.add_session(store, id_hash="s", user="alice", expires_at=clock.now() + HOUR)
    clock.advance(HOUR / 2)
    await access.touch_session(store, "s", expires_at=clock.now() + HOUR)
    clock.advance(HOUR * 0.75)

    found = await access.find_session(store, "s")

    assert found is not None
    assert found.last_seen_at == clock.now() - HOUR * 0.75


async def test_all_sessions_but_one_can_be_ended(store: SqlStore, clock: FakeClock) -> None:
    for id_hash, user in (("a", "alice"), ("b", "alice"), ("c", "bob")):
        await access.add_session(store, id_hash=id_hash, user=user, expires_at=clock.now() + HOUR)

    assert await access.end_sessions(store, "alice", but="b") == 1
    await access.end_session(store, "c")

    assert [await access.find_session(store, s) is not None for s in "abc"] == [False, True, False]


async def test_api_keys_are_found_until_they_expire(store: SqlStore, clock: FakeClock) -> None:
    await access.add_api_key(store, id_="1", name="ci", user="alice", hash_="h1")
    await access.add_api_key(
        store, id_="2", name="short", user="alice", hash_="h2", expires_at=clock.now() + HOUR
    )
    clock.advance(HOUR)
    await access.touch_api_key(store, "1")

    found = await access.find_api_key(store, "h1")
    assert found is not None
    assert found.last_used_at == clock.now()
    assert await access.find_api_key(store, "h2") is None
    assert [key.id for key in await access.list_api_keys(store, "alice")] == ["1", "2"]


async def test_a_user_has_one_api_key_of_a_name(store: SqlStore) -> None:
    await access.add_api_key(store, id_="1", name="ci", user="alice", hash_="h1")
    await access.add_api_key(store, id_="2", name="ci", user="bob", hash_="h2")

    with pytest.raises(ConflictError, match="alice has an API key named ci"):
        await access.add_api_key(store, id_="3", name="ci", user="alice", hash_="h3")


async def test_an_api_key_is_deleted_by_its_user_only(store: SqlStore) -> None:
    await access.add_api_key(store, id_="1", name="ci", user="alice", hash_="h1")

    with pytest.raises(NotFoundError):
        await access.delete_api_key(store, "1", user="bob")
    await access.delete_api_key(store, "1", user="alice")

    assert await access.list_api_keys(store) == []


async def test_a_deleted_user_leaves_no_way_in(store: SqlStore, clock: FakeClock) -> None:
    for user in ("alice", "bob"):
        await access.set_password_hash(store, user, "h")
        await access.add_session(store, id_hash=user, user=user, expires_at=clock.now() + HOUR)
        await access.add_api_key(store, id_=user, name="ci", user=user, hash_=f"h-{user}")

    await access.forget_user(store, "alice")

    assert await access.find_password_hash(store, "alice") is None
    assert await access.find_session(store, "alice") is None
    assert await access.find_api_key(store, "h-alice") is None
    assert await access.find_session(store, "bob") is not None


async def test_an_enrolment_token_lets_one_gateway_in(store: SqlStore, clock: FakeClock) -> None:
    await access.add_enrolment_token(
        store, gateway="site-a", hash_="t", expires_at=clock.now() + HOUR
    )
    answers: list[str | None] = []

    async def enrol(key: str) -> None:
        answers.append(await access.use_enrolment_token(store, "t", by=key))

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(enrol, f"key-{number}")

    assert sorted(answers, key=str) == [None, None, None, None, "site-a"]


async def test_an_enrolment_whose_answer_was_lost_can_be_repeated(
    store: SqlStore, clock: FakeClock
) -> None:
    await access.add_enrolment_token(
        store, gateway="site-a", hash_="t", expires_at=clock.now() + HOUR
    )

    assert await access.use_enrolment_token(store, "t", by="mine") == "site-a"
    assert await access.use_enrolment_token(store, "t", by="mine") == "site-a"
    assert await access.use_enrolment_token(store, "t", by="theirs") is None
    clock.advance(HOUR)
    assert await access.use_enrolment_token(store, "t", by="mine") is None


async def test_a_new_enrolment_token_replaces_the_one_before(
    store: SqlStore, clock: FakeClock
) -> None:
    for hash_ in ("first", "second"):
        await access.add_enrolment_token(
            store, gateway="site-a", hash_=hash_, expires_at=clock.now() + HOUR
        )

    assert await access.use_enrolment_token(store, "first", by="mine") is None
    await access.revoke_enrolment_tokens(store, "site-a")
    assert await access.use_enrolment_token(store, "second", by="mine") is None


async def test_what_has_expired_is_swept_away(store: SqlStore, clock: FakeClock) -> None:
    await access.add_session(store, id_hash="s", user="alice", expires_at=clock.now() + HOUR)
    await access.add_enrolment_token(store, gateway="g", hash_="t", expires_at=clock.now() + HOUR)
    await access.sweep(store)
    assert await access.find_session(store, "s") is not None
    clock.advance(25 * HOUR)

    await access.sweep(store)

    clock.advance(-25 * HOUR)
    assert await access.find_session(store, "s") is None
    assert await access.use_enrolment_token(store, "t", by="g") is None


@pytest.mark.parametrize("ahead", [2 * HOUR, 20_000 * HOUR])
async def test_nothing_holds_longer_because_the_clock_was_ahead(
    store: SqlStore, clock: FakeClock, ahead: timedelta
) -> None:
    """What was made then begins when that is noticed: nobody is sent away, nothing is for ever."""
    clock.set(ahead)
    ends = clock.now() + HOUR
    await access.add_session(store, id_hash="s", user="alice", expires_at=ends)
    await access.add_api_key(store, id_="1", name="ci", user="alice", hash_="k", expires_at=ends)
    await access.add_enrolment_token(store, gateway="site-a", hash_="t", expires_at=ends)
    clock.set(-ahead)

    async def hold() -> list[bool]:
        return [
            await access.find_session(store, "s") is not None,
            await access.find_api_key(store, "k") is not None,
            await access.use_enrolment_token(store, "t", by="me") is not None,
        ]

    assert await hold() == [True, True, True]
    clock.advance(HOUR - timedelta(seconds=1))
    assert await hold() == [True, True, True]
    clock.advance(timedelta(seconds=1))
    assert await hold() == [False, False, False]


async def test_what_nobody_uses_does_not_hold_longer_either(
    store: SqlStore, clock: FakeClock
) -> None:
    clock.set(20_000 * HOUR)
    await access.add_session(store, id_hash="s", user="alice", expires_at=clock.now() + HOUR)
    await access.add_api_key(store, id_="1", name="ci", user="alice", hash_="k")
    clock.set(-20_000 * HOUR)
    await access.sweep(store)
    clock.advance(HOUR)
    assert await access.find_session(store, "s") is None
    assert await access.find_api_key(store, "k") is not None, "this one was made without an end"


async def test_a_clock_that_is_set_back_sends_nobody_away(
    store: SqlStore, clock: FakeClock
) -> None:
    await access.add_session(store, id_hash="s", user="alice", expires_at=clock.now() + 12 * HOUR)
    clock.advance(HOUR)
    clock.set(-2 * HOUR)
    found = await access.find_session(store, "s")
    assert found is not None
    assert found.expires_at == clock.now() + 12 * HOUR
    clock.set(2 * HOUR)
    assert await access.find_session(store, "s") is not None
