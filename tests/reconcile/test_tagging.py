"""The operation that shows region and zone tags, and makes them on request."""

from typing import Any

import pytest

from moorage.resources import CloudAccount, Metadata, Operation
from moorage.resources.operation import OperationSpec, Verb
from moorage.resources.zones import ZonesArguments, ZonesResult
from tests.reconcile.conftest import World
from tests.tags import Tagger

WISH = {"regions": {"dc1": "eu-1"}, "zones": {"cc1": "eu-1a", "/dc1/host/cc2": "eu-1b"}}
MADE = {
    "k8s-region": {"cardinality": "SINGLE", "types": ["Datacenter"]},
    "k8s-zone": {"cardinality": "SINGLE", "types": ["ClusterComputeResource", "HostSystem"]},
}


async def operate(world: World, **arguments: Any) -> Operation:
    if not await world.store.list(CloudAccount):
        await world.ask_account()
        await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    name = f"zones-{len(await world.store.list(Operation))}"
    spec = OperationSpec(
        verb=Verb.ZONES,
        subject_kind="CloudAccount",
        subject_name="lab",
        arguments=ZonesArguments.model_validate(arguments).document(),
    )
    await world.ask(Operation(metadata=Metadata(name=name, project="default"), spec=spec))
    items = await world.until(
        Operation, lambda o: all(one.status.completed_at for one in o), "the operation ends"
    )
    return next(one for one in items if one.metadata.name == name)


async def zones(world: World, **arguments: Any) -> ZonesResult:
    done = await operate(world, **arguments)
    assert not done.status.failed, done.status.message
    return ZonesResult.model_validate(done.status.result)


def state(world: World) -> dict[str, Any]:
    with Tagger(world.vcenter) as tagger:
        found: dict[str, Any] = tagger.state()
        return found


def shown(result: ZonesResult) -> dict[str, tuple[str, str]]:
    return {one.object: (one.region, one.zone) for one in result.objects}


async def test_nothing_is_changed_without_apply_and_all_of_it_with(world: World) -> None:
    planned = await zones(world, **WISH)

    assert state(world) == {}
    assert not planned.applied
    assert [f"{c.action} {c.tag or c.category} {c.object}".strip() for c in planned.changes] == [
        "create category k8s-region",
        "create category k8s-zone",
        "create tag eu-1",
        "create tag eu-1a",
        "create tag eu-1b",
        "attach tag eu-1 /dc1",
        "attach tag eu-1a /dc1/host/cc1",
        "attach tag eu-1b /dc1/host/cc2",
    ]
    done = await zones(world, **WISH, apply=True)
    assert done.changes == planned.changes
    assert shown(done) == {
        "/dc1": ("eu-1", ""),
        "/dc1/host/cc1": ("eu-1", "eu-1a"),
        "/dc1/host/cc2": ("eu-1", "eu-1b"),
    }
    made = state(world)
    assert {name: {**one, "tags": None} for name, one in made.items()} == {
        name: {**one, "tags": None} for name, one in MADE.items()
    }
    assert all(len(objects) == 1 for one in made.values() for objects in one["tags"].values())

    again = await zones(world, **WISH, apply=True)

    assert again.changes == []
    assert state(world) == made
    assert world.vcenter.control.counters()["restSessions"]["open"] == 0


async def test_what_others_made_is_used_and_stays(world: World) -> None:
    with Tagger(world.vcenter) as tagger:
        tagger.category("k8s-zone", "MULTIPLE")
        tagger.put("k8s-zone", "eu-1a", "/dc1/host/cc1")
        tagger.put("backup", "nightly", "/dc1/host/cc1")

    result = await zones(world, zones=WISH["zones"], apply=True)

    assert [c.action.value for c in result.changes] == ["create tag", "attach tag"]
    made = state(world)
    assert made["k8s-zone"]["cardinality"] == "MULTIPLE"
    assert {"eu-1a", "eu-1b"} == set(made["k8s-zone"]["tags"])
    assert len(made["backup"]["tags"]["nightly"]) == 1


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"zones": {"cc1": "z", "no-such": "z"}}, "there is no 'no-such'"),
        ({"zones": {"cc1": "z", "/dc1/host/cc1": "y"}}, "named twice, with z and y"),
        ({"zones": {"cc1": "z", "cc2": "z"}}, "has the tag other of category k8s-zone"),
        ({"regions": {"dc1": "r"}}, "cannot be attached to a Datacenter"),
    ],
)
async def test_one_thing_in_the_way_and_nothing_is_touched(
    world: World, wish: dict[str, Any], said: str
) -> None:
    with Tagger(world.vcenter) as tagger:
        tagger.put("k8s-zone", "other", "/dc1/host/cc2")
        tagger.category("k8s-region", "SINGLE", ["HostSystem"])
    before = state(world)

    done = await operate(world, **wish, apply=True)

    assert done.status.failed
    assert said in (done.status.message or "")
    assert "nothing was changed" in (done.status.message or "")
    assert state(world) == before
