"""Views: always what a full reading would give, whatever happened since the last look."""

import random

import anyio
import pytest

from moorage.resources import Cluster, Machine, Project
from moorage.store import SqlStore
from moorage.store.codec import Stored, decode
from moorage.store.view import View
from tests.builders import a_cluster, a_machine


class Seen(View):
    """Remembers account and endpoint of each cluster."""

    kinds = frozenset({"Cluster"})

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, tuple[str, str | None]] = {}
        self.decoded = 0

    def put(self, row: Stored) -> None:
        cluster = decode(Cluster, row)
        self.found[row.uid] = (cluster.spec.account, cluster.status.endpoint)
        self.decoded += 1

    def put_status(self, row: Stored) -> None:
        account, _ = self.found[row.uid]
        self.found[row.uid] = (account, decode(Cluster, row).status.endpoint)

    def drop(self, kind: str, uid: str) -> None:
        assert kind == "Cluster"
        self.found.pop(uid, None)


async def whole(store: SqlStore) -> dict[str, tuple[str, str | None]]:
    return {
        one.metadata.uid: (one.spec.account, one.status.endpoint)
        for one in await store.list(Cluster)
    }


async def change_something(store: SqlStore, chance: random.Random) -> None:
    """Create, change, tell of or delete a cluster; now and then something else."""
    there = await store.list(Cluster)
    match chance.randrange(5):
        case 0 | 1:
            await store.create(a_cluster(f"c{chance.randrange(10**9)}"))
        case 2 if there:
            one = chance.choice(there)
            one.spec.account = f"a{chance.randrange(10**6)}"
            await store.put_spec(one)
        case 3 if there:
            one = chance.choice(there)
            one.status.endpoint = f"10.0.0.{chance.randrange(255)}:6443"
            await store.put_status(one)
        case 4 if there and chance.random() < 0.5:
            gone = chance.choice(there)
            await store.delete(gone)
            if chance.random() < 0.3:  # a mirror may bring the same UID back
                await store.put_mirror(gone)
        case _:
            await store.create(a_machine(f"m{chance.randrange(10**9)}"))


@pytest.mark.parametrize("seed", range(3))
async def test_a_view_equals_a_full_reading_after_any_changes(store: SqlStore, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - keeps no secret
    for _ in range(130):  # more than it reads at once
        await store.create(a_cluster(f"c{chance.randrange(10**9)}"))

    for _ in range(25):
        for _ in range(chance.randrange(6)):
            await change_something(store, chance)

        assert (await store.view(Seen)).found == await whole(store)


async def test_a_view_reads_only_what_changed(store: SqlStore) -> None:
    made = [await store.create(a_cluster(f"c{number}")) for number in range(5)]
    await store.create(a_machine("m"))
    view = await store.view(Seen)
    assert view.decoded == 5

    made[0].spec.account = "other"
    await store.put_spec(made[0])
    made[1].status.endpoint = "10.0.0.1:6443"
    await store.put_status(made[1])

    assert await store.view(Seen) is view
    assert view.decoded == 6
    assert view.found == await whole(store)


async def test_what_is_rolled_back_never_was_in_a_view(store: SqlStore) -> None:
    kept = await store.create(a_cluster("kept"))
    before: dict[str, tuple[str, str | None]] = {}

    async def refused() -> None:
        async with store.transaction() as inside:
            before.update((await inside.view(Seen)).found)
            await inside.create(a_cluster("never"))
            await inside.view(Seen)

    with pytest.raises(RuntimeError, match="before its transaction writes"):
        await refused()

    assert before == (await store.view(Seen)).found == {kept.metadata.uid: ("lab", None)}

    # The next one gets the versions of what was rolled back.
    await store.create(a_cluster("next"))
    assert (await store.view(Seen)).found == await whole(store)


async def test_a_view_is_exact_in_a_transaction_while_others_write_and_look(
    store: SqlStore,
) -> None:
    async def write(number: int) -> None:
        for turn in range(8):
            await store.create(a_cluster(f"c{number}-{turn}"))
            await store.view(Seen)

    async def judge() -> None:
        for _ in range(10):
            async with store.transaction() as inside:
                assert (await inside.view(Seen)).found == await whole(store)

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(write, number)
        tasks.start_soon(judge)

    assert len((await store.view(Seen)).found) == 24


async def test_other_kinds_do_not_come_into_a_view(store: SqlStore) -> None:
    machine = await store.create(a_machine("m"))
    await store.delete(machine)

    view = await store.view(Seen)

    assert view.found == {}
    assert view.position == await store.version()
    assert await store.list(Machine) == await store.list(Project) == []
