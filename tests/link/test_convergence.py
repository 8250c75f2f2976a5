"""Whatever happens in whatever order, and whatever is lost: in the end both stores agree."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from moorage.kit.clock import SystemClock
from moorage.link.frames import Frame
from moorage.link.gateway_side import HubView, apply_down, read_released, read_up
from moorage.link.hub_side import apply_up, read_down
from moorage.resources import IPPool, Machine
from moorage.resources.meta import GATEWAY_FINALIZER
from moorage.store import SqlStore, open_store

from .world import a_machine, a_pool, open_stores

KINDS = frozenset({"IPPool"})
NAMES = st.sampled_from(["a", "a", "b"])
NUMBERS = st.integers(11, 99)
SOME = st.integers(0, 3)
OPERATIONS = st.one_of(
    st.tuples(st.just("create"), NAMES, NUMBERS),
    st.tuples(st.just("change"), NAMES, NUMBERS),
    st.tuples(st.just("delete"), NAMES, SOME),
    st.tuples(st.just("delete_by_force"), NAMES, SOME),
    st.tuples(st.just("report"), NAMES, NUMBERS),
    st.tuples(st.just("release"), NAMES, SOME),
    st.tuples(st.just("make_machine"), NAMES, NUMBERS),
    st.tuples(st.just("delete_machine"), NAMES, SOME),
    st.tuples(st.just("down"), NAMES, SOME),
    st.tuples(st.just("down"), NAMES, st.just(99)),
    st.tuples(st.just("down_again"), NAMES, SOME),
    st.tuples(st.just("up"), NAMES, SOME),
    st.tuples(st.just("up"), NAMES, st.just(99)),
    st.tuples(st.just("up_again"), NAMES, SOME),
)


@dataclass
class Wire:
    """Moves frames between the stores as the sessions do, and loses what it is told to."""

    hub: SqlStore
    gateway: SqlStore
    down_position: int = 0
    up_position: int = 0
    up_cursor: int = 0
    view: HubView = field(default_factory=HubView)

    async def down(self, passed: int) -> bool:
        """Let ``passed`` frames through, then lose the connection if there were more."""
        found = await read_down(self.hub, "gw1", self.down_position, KINDS)
        frames = found.frames[:passed]
        await self.to_gateway(frames)
        if len(frames) < len(found.frames):
            self.down_position = max([self.down_position, *(one.sequence for one in frames)])
            await self.reconnect(answered=False)
        else:
            self.down_position = found.cursor
        return bool(frames)

    async def up(self, passed: int) -> bool:
        """The same towards the hub; what it answers is lost with the connection."""
        found = await read_up(self.gateway, self.up_cursor, self.view)
        frames = found.frames[:passed]
        answers = await self.to_hub(frames)
        self.up_position = max([self.up_position, *(one.sequence for one in frames)])
        if len(frames) < len(found.frames):
            await self.reconnect(answered=False)
        else:
            self.up_cursor = found.cursor
            await self.to_gateway(answers)
        return bool(frames)

    async def reconnect(self, *, answered: bool) -> None:
        self.view = HubView()
        self.up_cursor = self.up_position
        answers = await self.to_hub(await read_released(self.gateway))
        if answered:
            await self.to_gateway(answers)

    async def to_gateway(self, frames: Sequence[Frame]) -> None:
        async with self.gateway.transaction() as store:
            await apply_down(store, frames, self.view, SystemClock())

    async def to_hub(self, frames: Sequence[Frame]) -> list[Frame]:
        async with self.hub.transaction() as store:
            return await apply_up(store, "gw1", frames, store.clock.now())

    async def settle(self) -> None:
        await self.reconnect(answered=True)
        for _ in range(10):
            moved = [await self.down(99), await self.up(99)]
            if not any(moved):
                return
        pytest.fail("frames go to and fro without end")


async def act(wire: Wire, verb: str, name: str, number: int) -> None:  # noqa: C901, PLR0912
    hub, gateway = wire.hub, wire.gateway
    at_hub = await hub.find(IPPool, "", name)
    at_gateway = await gateway.find(IPPool, "", name)
    machine = await gateway.find(Machine, "default", name)
    match verb:
        case "create" if at_hub is None:
            await hub.create(a_pool(name, end=f"10.0.0.{number}"))
        case "change" if at_hub is not None:
            at_hub.spec.end = a_pool(end=f"10.0.0.{number}").spec.end
            await hub.put_spec(at_hub)
        case "delete" if at_hub is not None:
            await hub.request_deletion(IPPool, "", name)
        case "delete_by_force" if at_hub is not None:
            await hub.delete(at_hub)
        case "report" if at_gateway is not None:
            at_gateway.status.total = number
            await gateway.put_status(at_gateway)
        case "release" if at_gateway is not None and at_gateway.is_deleting:
            await gateway.remove_finalizer(at_gateway, GATEWAY_FINALIZER)
        case "make_machine" if machine is None:
            await gateway.create(a_machine(name))
        case "make_machine" if machine is not None:
            machine.status.vm = f"vm-{number}"
            await gateway.put_status(machine)
        case "delete_machine" if machine is not None:
            await gateway.delete(machine)
        case "down":
            await wire.down(number)
        case "down_again":
            wire.down_position = 0
            await wire.down(number)
        case "up":
            await wire.up(number)
        case "up_again":
            wire.up_position = 0
            await wire.reconnect(answered=number > 1)


async def check(wire: Wire) -> None:
    """Everything agrees but what still waits for somebody to let go."""
    pools = {one.metadata.uid: one for one in await wire.hub.list(IPPool)}
    copies = {one.metadata.uid: one for one in await wire.gateway.list(IPPool)}
    for uid, copy in copies.items():
        held = GATEWAY_FINALIZER in copy.metadata.finalizers
        if uid not in pools:
            assert copy.is_deleting, "the hub no longer has it"
            assert held, "let go, and yet not gone"
            continue
        assert copy.spec == pools[uid].spec
        assert copy.is_deleting == pools[uid].is_deleting
        assert held == (GATEWAY_FINALIZER in pools[uid].metadata.finalizers)
        # A conflict is told to the hub as well.
        assert copy.status == pools[uid].status
    for uid, pool in pools.items():
        if uid not in copies:
            namesake = await wire.gateway.find(IPPool, *pool.key)
            assert namesake is not None, "the gateway lacks it though its name is free"
            assert namesake.is_deleting

    def told(machine: Machine) -> dict[str, Any]:
        return machine.document() | {"metadata": (machine.metadata.uid, machine.metadata.name)}

    machines = [told(one) for one in await wire.gateway.list(Machine)]
    assert machines == [told(one) for one in await wire.hub.list(Machine)]


async def finish(wire: Wire) -> None:
    """Let go of everything that is being deleted: then nothing may be left over."""
    for _ in range(3):
        for copy in await wire.gateway.list(IPPool):
            if copy.is_deleting:
                await wire.gateway.remove_finalizer(copy, GATEWAY_FINALIZER)
        await wire.settle()
    uids = {one.metadata.uid for one in await wire.hub.list(IPPool)}
    assert {one.metadata.uid for one in await wire.gateway.list(IPPool)} == uids


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two migrated databases: making them anew for each example would take most of the time."""
    folder = tmp_path_factory.mktemp("empty")

    async def make() -> None:
        async with open_stores(folder):
            pass

    anyio.run(make)
    return folder


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(
    operations=[
        ("create", "a", 11),
        ("down", "a", 99),
        ("delete_by_force", "a", 0),
        ("create", "a", 12),
        ("down", "a", 99),
        ("up", "a", 99),
    ]
)
@given(operations=st.lists(OPERATIONS, max_size=40))
def test_both_stores_converge(
    empty: Path, tmp_path: Path, operations: list[tuple[str, str, int]]
) -> None:
    for name in ("hub.db", "gateway.db"):
        shutil.copy(empty / name, tmp_path / name)

    async def live() -> None:
        hub = await open_store(f"sqlite:///{tmp_path}/hub.db")
        gateway = await open_store(f"sqlite:///{tmp_path}/gateway.db", mirror=True)
        try:
            wire = Wire(hub, gateway)
            for verb, name, number in operations:
                await act(wire, verb, name, number)
            await wire.settle()
            await check(wire)
            await finish(wire)
        finally:
            await gateway.close()
            await hub.close()

    anyio.run(live)
    for file in tmp_path.iterdir():
        file.unlink()
