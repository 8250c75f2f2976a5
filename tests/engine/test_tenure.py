"""What one process at a time may do, such as holding a gateway's link."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from moorage.engine import LeaseLostError, Tenure
from moorage.engine import tenure as tenures
from moorage.store import SqlStore
from tests.engine.world import fake

TTL = timedelta(seconds=60)
PATIENCE_S = 30.0


class Worker:
    """One process: notes when it may work."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.tenure = Tenure(store, store.clock, "link", "hub", ttl=TTL)
        self.began, self.ended = anyio.Event(), anyio.Event()
        self.refused = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.tenure.run, self._work, self.ended.set)
            yield
            tasks.cancel_scope.cancel()

    async def write(self) -> None:
        """Try to write what is written under the lease."""
        await self.store.set_value("writer", str(id(self)))

    async def _work(self) -> None:
        self.began.set()
        try:
            await anyio.sleep_forever()
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await self.write()
            except LeaseLostError:
                self.refused = True


@pytest.fixture(autouse=True)
def _ask_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenures, "_ASK_S", 0.01)


async def test_only_one_works_and_the_next_follows_when_it_ends(store: SqlStore) -> None:
    first, second = Worker(store), Worker(store)
    with anyio.fail_after(PATIENCE_S):
        async with second.running():
            await second.began.wait()
            async with first.running():
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
                assert first.tenure.held is None
        third = Worker(store)
        async with third.running():
            await third.began.wait()  # the second gave its lease back

    assert not first.began.is_set()


async def test_who_was_stopped_past_its_lease_ends_and_writes_nothing(store: SqlStore) -> None:
    first, second = Worker(store), Worker(store)
    with anyio.fail_after(PATIENCE_S):
        async with first.running():
            await first.began.wait()
            held = first.tenure.held
            assert held is not None
            fake(store).advance(TTL)
            async with second.running():
                await second.began.wait()
                with pytest.raises(LeaseLostError):
                    await held.extend(TTL)
                await first.ended.wait()
                assert first.refused
                assert await store.get_value("writer") is None
