"""What each end may do to the other's store, frame by frame, without a connection."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moorage.kit.clock import SystemClock
from moorage.link.frames import Delete, Frame, Put, Reject, Restore, StatusOf
from moorage.link.gateway_side import HubView, apply_down
from moorage.link.held import load_held
from moorage.link.hub_side import apply_up
from moorage.resources import Gateway, IPPool, Machine, Metadata, Project, Resource
from moorage.store import SqlStore

from .world import a_machine, a_pool, open_stores

Stores = tuple[SqlStore, SqlStore]


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    async with open_stores(tmp_path) as both:
        yield both


def put(resource: Resource, sequence: int = 1) -> Put:
    return Put(sequence=sequence, resource=resource.document())


def status(resource: Resource, *, released: bool = False) -> StatusOf:
    meta = resource.metadata
    return StatusOf(
        sequence=1,
        kind=resource.kind,
        project=meta.project,
        name=meta.name,
        uid=meta.uid,
        status=resource.status.document(),
        released=released,
    )


def delete(resource: Resource) -> Delete:
    meta = resource.metadata
    return Delete(
        sequence=1, kind=resource.kind, project=meta.project, name=meta.name, uid=meta.uid
    )


def with_uid(resource: Machine, uid: str, route: str = "") -> Machine:
    resource.metadata.uid, resource.metadata.route = uid, route
    return resource


async def reasons_up(hub: SqlStore, *frames: Frame, gateway: str = "gw1") -> list[str]:
    async with hub.transaction() as store:
        answers = await apply_up(store, gateway, frames, store.clock.now())
    return [answer.reason if isinstance(answer, Reject) else answer.type for answer in answers]


async def reasons_down(gateway: SqlStore, *frames: Frame) -> list[str]:
    async with gateway.transaction() as store:
        answers = await apply_down(store, frames, HubView(), SystemClock())
    return [answer.reason if isinstance(answer, Reject) else answer.type for answer in answers]


async def test_a_gateway_cannot_write_intents_or_the_hubs_own_kinds(stores: Stores) -> None:
    hub, _ = stores
    pool = await hub.create(a_pool())
    other = Gateway(metadata=Metadata(name="gw2", uid="u"))
    project = Project(metadata=Metadata(name="p", uid="u"))

    changed = pool.copy_deep()
    changed.metadata.labels, changed.metadata.generation = {"by": "gateway"}, 7
    found = await reasons_up(hub, put(changed), put(other), put(project), status(other))

    # A copy of an intent is kept beside, for an administrator to look at.
    assert found == ["NotDerived", "NotDerived", "NotIntent"]
    assert (await hub.get(IPPool, "", pool.metadata.name)).metadata.labels == {}
    assert list(await load_held(hub, "gw1")) == [pool.metadata.uid]
    assert await reasons_up(hub, delete(pool)) == ["NotDerived"]
    assert await hub.find(Gateway, "", "gw2") is None
    assert await hub.find_uid(IPPool, pool.metadata.uid) is not None


async def test_a_gateway_cannot_touch_what_belongs_to_another(stores: Stores) -> None:
    hub, _ = stores
    pool = await hub.create(a_pool(gateway="gw2"))
    theirs = with_uid(a_machine(), "u-theirs", "gw2")
    await hub.put_mirror(theirs)
    claimed = theirs.copy_deep()
    claimed.status.vm = "vm-evil"

    assert await reasons_up(hub, put(claimed)) == ["NotRouted"]
    assert await reasons_up(hub, put(with_uid(a_machine(), "u-mine"))) == ["NotRouted"]
    assert await reasons_up(hub, delete(theirs)) == ["NotRouted"]
    renamed = with_uid(a_machine("renamed"), "u-theirs")
    assert await reasons_up(hub, put(renamed)) == ["NotRouted"]
    pool.status.total = 99
    assert await reasons_up(hub, status(pool, released=True)) == ["NotRouted"]

    kept = await hub.get(Machine, "default", "m-1")
    assert (kept.metadata.uid, kept.metadata.route, kept.status.vm) == ("u-theirs", "gw2", None)
    assert (await hub.get(IPPool, "", "pool-1")).status.total == 0


async def test_a_new_mirror_stands_among_the_gateways_own_only(stores: Stores) -> None:
    hub, _ = stores
    theirs = await hub.create(a_pool("theirs", gateway="gw2"))
    mine = await hub.create(a_pool("mine"))
    foreign, own, lost = (with_uid(a_machine(name), f"u-{name}") for name in ("f", "o", "l"))
    foreign.metadata.owner = theirs.owner()
    own.metadata.owner = mine.owner()
    lost.metadata.project = "../evil"

    assert await reasons_up(hub, put(foreign)) == ["NotRouted"]
    assert await reasons_up(hub, put(own)) == []
    assert await reasons_up(hub, put(lost)) == ["Invalid"]
    assert await hub.count(Machine) == 1


async def test_a_release_ends_only_a_deletion_that_was_asked_for(stores: Stores) -> None:
    hub, _ = stores
    pool = await hub.create(a_pool())

    assert await reasons_up(hub, status(pool, released=True)) == []
    assert (await hub.get(IPPool, "", "pool-1")).metadata.finalizers == pool.metadata.finalizers

    await hub.request_deletion(IPPool, "", "pool-1")
    assert await reasons_up(hub, status(pool, released=False)) == []
    assert await hub.find(IPPool, "", "pool-1") is not None
    assert await reasons_up(hub, status(pool, released=True)) == []
    assert await hub.find(IPPool, "", "pool-1") is None


async def test_a_release_of_what_is_gone_is_answered_with_its_delete(stores: Stores) -> None:
    hub, _ = stores
    pool = a_pool()
    pool.metadata.uid = "u-gone"

    assert await reasons_up(hub, status(pool, released=True)) == ["delete"]
    assert await reasons_up(hub, status(pool)) == ["Unknown"]


async def test_one_bad_frame_does_not_hold_the_others_up(stores: Stores) -> None:
    hub, _ = stores
    bad = put(with_uid(a_machine("bad"), "u-bad"))
    bad.resource["spec"]["cpus"] = "many"
    unknown = Put(sequence=2, resource={"kind": "Dragon", "metadata": {"name": "d"}})
    good = put(with_uid(a_machine("good"), "u-good"), 3)

    assert await reasons_up(hub, bad, unknown, good) == ["Invalid", "Invalid"]
    assert (await hub.get(Machine, "default", "good")).metadata.route == "gw1"


async def test_a_hub_cannot_write_what_the_gateway_owns(stores: Stores) -> None:
    _, gateway = stores
    machine = await gateway.create(a_machine())
    claimed = machine.copy_deep()
    claimed.status.vm = "vm-evil"

    assert await reasons_down(gateway, put(claimed)) == ["NotIntent"]
    assert await reasons_down(gateway, delete(machine)) == ["NotIntent"]
    assert await reasons_down(gateway, Restore(resource=claimed.document())) == []
    pool = a_pool()
    pool.metadata.uid = "u-pool"
    assert await reasons_down(gateway, Restore(resource=pool.document())) == ["NotDerived"]
    assert (await gateway.get(Machine, "default", "m-1")).status.vm is None


async def test_every_frame_may_come_twice(stores: Stores) -> None:
    hub, gateway = stores
    pool = await hub.create(a_pool())
    machine = await gateway.create(a_machine())
    down, up = put(pool), put(machine)
    await reasons_down(gateway, down)
    await reasons_up(hub, up, status(pool))
    versions = (await hub.version(), await gateway.version())

    await reasons_down(gateway, down, down)
    await reasons_up(hub, up, status(pool), up)

    assert (await hub.version(), await gateway.version()) == versions


async def test_a_late_delete_does_not_hit_a_namesake(stores: Stores) -> None:
    hub, gateway = stores
    old, new = a_pool(), a_pool()
    old.metadata.uid, new.metadata.uid = "u-old", "u-new"
    await reasons_down(gateway, put(new), delete(old))
    assert await gateway.find_uid(IPPool, "u-new") is not None

    first, second = with_uid(a_machine(), "m-old"), with_uid(a_machine(), "m-new")
    await reasons_up(hub, put(second), delete(first))
    assert await hub.find_uid(Machine, "m-new") is not None


async def test_an_old_put_does_not_bring_a_released_finalizer_back(stores: Stores) -> None:
    hub, gateway = stores
    await hub.create(a_pool())
    deleting = await hub.request_deletion(IPPool, "", "pool-1")
    assert deleting is not None
    await reasons_down(gateway, put(deleting))
    copy = await gateway.get(IPPool, "", "pool-1")
    await gateway.remove_finalizer(copy, copy.metadata.finalizers[0])
    deleting.metadata.labels = {"changed": "since"}

    await reasons_down(gateway, put(deleting))

    copy = await gateway.get(IPPool, "", "pool-1")
    assert copy.metadata.finalizers == []
    assert copy.metadata.labels == {"changed": "since"}


async def test_another_resource_of_that_name_waits_for_the_teardown_of_the_first(
    stores: Stores,
) -> None:
    _, gateway = stores
    first, second = a_pool(), a_pool()
    first.metadata.uid, second.metadata.uid = "u-1", "u-2"
    await reasons_down(gateway, put(first))

    await reasons_down(gateway, put(second))

    kept = await gateway.get(IPPool, "", "pool-1")
    assert kept.metadata.uid == "u-1"
    claim = kept.status.condition("IntentConflict")
    assert claim is not None
    assert "u-2" in claim.message
