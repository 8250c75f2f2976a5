"""From login to a cluster: the main road over REST."""

from tests.api.world import World, a_cluster

CLUSTERS = "/v1/projects/default/clusters"


async def test_a_cluster_is_made_with_all_that_belongs_to_it(world: World) -> None:
    await world.site()

    made = await world.ok("PUT", f"{CLUSTERS}/one", a_cluster())

    meta = made["metadata"]
    assert meta["route"] == "site-1"
    assert meta["finalizers"] == ["moorage.dev/gateway"]
    (pool,) = made["nodePools"]
    assert pool["metadata"]["name"] == "one-workers"
    assert pool["metadata"]["owner"] == {"kind": "Cluster", "name": "one", "uid": meta["uid"]}
    assert pool["metadata"]["route"] == "site-1"
    (assignment,) = [
        item
        for item in (await world.ok("GET", "/v1/assignments"))["items"]
        if item["spec"]["subjectKind"] == "Cluster"
    ]
    assert assignment["metadata"]["name"] == f"cluster-{meta['uid']}"
    assert assignment["spec"]["epoch"] == 1
