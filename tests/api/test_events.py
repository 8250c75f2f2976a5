"""Events: what changes in conditions is told once, in plain order, also after a restart."""

from moorage.engine import Change
from moorage.engine.store import RESYNC
from moorage.hub.chronicle import Chronicle
from moorage.resources import Cluster, NodePool
from moorage.resources.meta import Resource
from tests.api.world import Json, World, a_cluster

EVENTS = "/v1/projects/default/events"


async def told(world: World, **params: str) -> list[Json]:
    return list((await world.ok("GET", EVENTS, **params))["items"])


async def condition(
    world: World, kind: type[Resource], name: str, type_: str, reason: str, message: str = ""
) -> Change:
    """Write a condition as the link does when a gateway's status comes up."""
    resource = await world.hub.store.get(kind, "default", name)
    state = "True" if reason == "Done" else "False"
    resource.status.set_condition(type_, state, reason, message, now=world.clock.now())
    version = await world.hub.store.put_status(resource)
    uid = resource.metadata.uid
    return Change(kind.kind_name(), *resource.key, uid, version, False, "", False, "")


async def test_each_change_of_a_condition_is_told_once(world: World) -> None:
    await world.site()
    await world.ok("PUT", "/v1/projects/default/clusters/one", a_cluster())
    chronicle = Chronicle(world.hub)
    await chronicle.catch_up()

    for reason, message in (
        ("PlacementInvalid", "no datastore ds9"),
        ("PlacementInvalid", "no datastore ds9"),
        ("Done", ""),
    ):
        world.forward(seconds=1)
        change = await condition(world, Cluster, "one", "PlacementResolved", reason, message)
        await chronicle.tell([change])

    newest, oldest = await told(world)
    assert (newest["reason"], newest["type"]) == ("PlacementResolved", "Normal")
    assert (oldest["reason"], oldest["type"]) == ("PlacementInvalid", "Warning")
    assert oldest["message"] == "no datastore ds9"
    assert oldest["count"] == 1


async def test_a_restart_repeats_nothing_and_misses_nothing(world: World) -> None:
    await world.site()
    await world.ok("PUT", "/v1/projects/default/clusters/one", a_cluster())
    first = Chronicle(world.hub)
    await first.tell([await condition(world, Cluster, "one", "Assigned", "Done")])
    world.forward(seconds=1)
    await condition(world, Cluster, "one", "KeysStored", "KeysNotMirrored", "link down?")

    await Chronicle(world.hub).catch_up()
    await Chronicle(world.hub).tell([RESYNC])

    assert [(e["reason"], e["count"]) for e in await told(world)] == [
        ("KeysNotMirrored", 1),
        ("Assigned", 1),
    ]


async def test_ready_is_told_but_what_it_repeats_is_not(world: World) -> None:
    await world.site()
    await world.ok("PUT", "/v1/projects/default/clusters/one", a_cluster())
    chronicle = Chronicle(world.hub)
    for type_, reason in (
        ("Ready", "NodesMissing"),
        ("Later", "WaitingForEarlierStep"),
        ("Ready", "Done"),
    ):
        await chronicle.tell([await condition(world, Cluster, "one", type_, reason)])

    assert [e["reason"] for e in await told(world)] == ["Ready"]


async def test_events_are_asked_for_by_cluster_and_by_object(world: World) -> None:
    await world.site()
    for name in ("a", "a-b"):
        document = a_cluster(name, pools=[{"name": "w", "replicas": 0}])
        await world.ok("PUT", f"/v1/projects/default/clusters/{name}", document)
    chronicle = Chronicle(world.hub)
    for kind, name in ((Cluster, "a"), (NodePool, "a-w"), (Cluster, "a-b"), (NodePool, "a-b-w")):
        await chronicle.tell([await condition(world, kind, name, "Ready", "Done")])

    async def names(**params: str) -> list[str]:
        return sorted(event["name"] for event in await told(world, **params))

    assert await names(cluster="a") == ["a", "a-w"]
    assert await names(cluster="a-b") == ["a-b", "a-b-w"]
    assert await names(object="NodePool/a-w") == ["a-w"]
    assert await names() == ["a", "a-b", "a-b-w", "a-w"]
    assert await names(cluster="no-such") == []


async def test_hub_wide_events_have_a_list_of_their_own(world: World) -> None:
    await world.site()
    await Chronicle(world.hub).catch_up()

    assert await told(world) == []
    items = (await world.ok("GET", "/v1/events"))["items"]
    assert [(e["kind"], e["reason"]) for e in items] == [("Gateway", "Enrolled")]
