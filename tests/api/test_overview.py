"""Clusters at a glance: counts of all, a page of those that are wanted, kept up to date."""

from moorage.resources import Cluster
from moorage.resources.phase import DELETION_HELD
from tests.api.world import World, a_cluster

PATH = "/v1/projects/default/overview/clusters"


async def test_counts_are_of_all_and_pages_of_what_is_wanted(world: World) -> None:
    await world.site()
    for name, version in (("a1", "v1.34.4"), ("a2", "v1.33.1"), ("b1", "v1.34.4")):
        await world.ok(
            "POST", "/v1/projects/default/clusters", a_cluster(name, kubernetesVersion=version)
        )
    first = await world.ok("GET", PATH, limit=1, search="a")
    assert (first["total"], first["matching"]) == (3, 2)
    assert first["versions"] == {"v1.34.4": 2, "v1.33.1": 1}
    assert first["states"] == {"Pending": 3}
    second = await world.ok("GET", PATH, limit=1, search="a", **{"continue": first["continue"]})
    assert [one["name"] for one in first["items"] + second["items"]] == ["a1", "a2"]
    assert "continue" not in second


async def test_a_look_sees_what_has_changed_since_the_last_one(world: World) -> None:
    await world.site()
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "other"}})
    await world.ok("POST", "/v1/projects/default/clusters", a_cluster("one"))
    await world.ok("GET", PATH)
    cluster = await world.hub.store.get(Cluster, "default", "one")
    now = world.clock.now()
    cluster.status.set_condition("Ready", "False", "WaitingForNodes", "two are missing", now=now)
    cluster.status.nodes, cluster.status.nodes_ready = 3, 1
    await world.hub.store.put_status(cluster)

    (seen,) = (await world.ok("GET", PATH, state="WaitingForNodes"))["items"]
    assert (seen["message"], seen["nodesReady"], seen["nodes"]) == ("two are missing", 1, 3)
    assert (seen["held"], (await world.ok("GET", PATH, held=True))["items"]) == (False, [])
    cluster.status.set_condition("VMsGone", "False", DELETION_HELD, "too many", now=now)
    await world.hub.store.put_status(cluster)
    held = await world.ok("GET", PATH, held=True, gateway="site-1")
    assert (held["held"], [one["name"] for one in held["items"]]) == (1, ["one"])
    assert (await world.ok("GET", PATH, gateway="site-2"))["items"] == []
    elsewhere = await world.ok("GET", "/v1/projects/other/overview/clusters")
    assert (elsewhere["total"], elsewhere["items"]) == (0, [])

    await world.ok("DELETE", "/v1/projects/default/clusters/one")
    assert (await world.ok("GET", PATH))["states"] == {"Deleting": 1}


async def test_a_filter_that_cannot_be_read_is_refused(world: World) -> None:
    problem = await world.refused(422, "GET", PATH, labelSelector="((")
    assert "cannot read" in problem["detail"]
    await world.refused(422, "GET", PATH, **{"continue": "nonsense"})
