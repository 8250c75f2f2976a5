"""Clusters and node pools: one document, one transaction, and a way out."""

from typing import Any

import pytest

from moorage.engine import Manager
from moorage.hub.app import hub_controllers
from moorage.resources import Assignment, Cluster, NodePool, Operation
from moorage.resources.meta import GATEWAY_FINALIZER
from tests.api.world import Json, World, a_cluster, an_ip_pool, spec_of

CLUSTERS = "/v1/projects/default/clusters"
POOLS = "/v1/projects/default/nodepools"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str | None:
    """Run each test on SQLite and, with ``--postgres``, on PostgreSQL."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres_url")
    return url


async def apply(world: World, document: Json, **kwargs: Any) -> Json:
    name = document["metadata"]["name"]
    return await world.ok("PUT", f"{CLUSTERS}/{name}", document, **kwargs)


async def faults_of(world: World, document: Json) -> dict[str, str]:
    return await world.faults("PUT", f"{CLUSTERS}/{document['metadata']['name']}", document)


async def names(world: World, path: str) -> list[str]:
    return [item["metadata"]["name"] for item in (await world.ok("GET", path))["items"]]


async def test_a_cluster_is_made_with_all_that_belongs_to_it(world: World) -> None:
    await world.site()

    made = await apply(world, a_cluster())

    meta = made["metadata"]
    assert meta["route"] == "site-1"
    assert meta["epoch"] == 1
    assert meta["finalizers"] == [GATEWAY_FINALIZER]
    (pool,) = made["nodePools"]
    assert pool["metadata"]["name"] == "one-workers"
    assert pool["metadata"]["owner"] == {"kind": "Cluster", "name": "one", "uid": meta["uid"]}
    assert pool["metadata"]["route"] == "site-1"
    assert pool["metadata"]["finalizers"] == [GATEWAY_FINALIZER]
    assignment = await world.ok("GET", f"/v1/assignments/cluster-{meta['uid']}")
    assert assignment["spec"]["gateway"] == "site-1"
    assert assignment["spec"]["epoch"] == 1
    assert assignment["metadata"]["route"] == "site-1"


async def test_applying_the_same_again_changes_nothing(world: World) -> None:
    await world.site()
    first = await world.ask("PUT", f"{CLUSTERS}/one", a_cluster())
    assert first.status_code == 201
    version = await world.hub.store.version()

    second = await world.ask("PUT", f"{CLUSTERS}/one", a_cluster())

    assert second.status_code == 200
    assert second.json() == first.json()
    assert second.headers["etag"] == first.headers["etag"]
    assert await world.hub.store.version() == version


async def test_a_pool_that_is_left_out_stays(world: World) -> None:
    await world.site()
    await apply(world, a_cluster())

    made = await apply(world, a_cluster(pools=[{"name": "more", "replicas": 2}]))

    assert [p["metadata"]["name"] for p in made["nodePools"]] == ["one-more", "one-workers"]
    assert [p["spec"]["replicas"] for p in made["nodePools"]] == [2, 1]


async def test_scaling_moves_only_the_pool(world: World) -> None:
    await world.site()
    before = await apply(world, a_cluster())

    after = await apply(world, a_cluster(pools=[{"name": "workers", "replicas": 3}]))

    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["nodePools"][0]["metadata"]["generation"] == 2


async def test_a_dry_run_answers_like_the_write_and_leaves_nothing(world: World) -> None:
    await world.site()
    version = await world.hub.store.version()
    trail = (await world.ok("GET", "/v1/audit"))["items"]

    made = await apply(world, a_cluster(), dryRun=True)

    assert made["nodePools"][0]["metadata"]["owner"]["name"] == "one"
    assert await world.hub.store.version() == version
    assert await names(world, CLUSTERS) == []
    assert (await world.ok("GET", "/v1/audit"))["items"] == trail
    faults = await world.faults("PUT", f"{CLUSTERS}/one", a_cluster(account="no"), dryRun=True)
    assert "spec.account" in faults


async def test_a_fault_in_one_pool_leaves_the_cluster_unmade(world: World) -> None:
    await world.site()
    pools = [{"name": "good"}, {"name": "bad", "failureDomains": ["nowhere"]}, {"name": "cp"}]

    faults = await faults_of(world, a_cluster(pools=pools))

    assert "no failure domain nowhere" in faults["nodePools[1].failureDomains[0]"]
    assert "stands for the control plane" in faults["nodePools[2].name"]
    assert await names(world, CLUSTERS) == []
    assert await names(world, POOLS) == []


async def test_two_pools_of_one_name_are_refused(world: World) -> None:
    await world.site()

    faults = await faults_of(world, a_cluster(pools=[{"name": "x"}, {"name": "x"}]))

    assert "two pools" in faults["nodePools[0].name"]


async def test_pools_of_two_clusters_may_not_share_a_name(world: World) -> None:
    await world.site()
    await apply(world, a_cluster("a", pools=[{"name": "b-c"}]))

    faults = await faults_of(world, a_cluster("a-b", pools=[{"name": "c"}]))

    assert "of cluster a" in faults["nodePools[0].name"]


async def test_create_refuses_what_is_there(world: World) -> None:
    await world.site()
    made = await world.ask("POST", CLUSTERS, a_cluster())
    assert made.status_code == 201

    problem = await world.refused(409, "POST", CLUSTERS, a_cluster())

    assert problem["type"] == "/problems/conflict"
    assert "Cluster default/one exists already" in problem["detail"]


async def test_the_path_and_the_document_must_agree(world: World) -> None:
    await world.site()
    faults = await world.faults("PUT", f"{CLUSTERS}/two", a_cluster("one"))
    assert "metadata.name" in faults
    document = a_cluster("one")
    document["metadata"]["project"] = "other"
    faults = await faults_of(world, document)
    assert "metadata.project" in faults


async def test_an_old_version_is_refused(world: World) -> None:
    await world.site()
    made = await apply(world, a_cluster())
    spec = spec_of(made, cloneMode="full")
    etag = f'"{made["metadata"]["resourceVersion"]}"'
    await world.ok("PUT", f"{CLUSTERS}/one/spec", spec, headers={"If-Match": etag})

    problem = await world.refused(
        412, "PUT", f"{CLUSTERS}/one/spec", made["spec"], headers={"If-Match": etag}
    )

    assert problem["type"] == "/problems/precondition-failed"
    for method, path in (("DELETE", f"{CLUSTERS}/one"), ("PUT", f"{CLUSTERS}/one/labels")):
        body = {} if method == "PUT" else None
        await world.refused(412, method, path, body, headers={"If-Match": etag})


@pytest.mark.parametrize(
    ("path", "change", "why"),
    [
        ("spec.account", {"account": "second"}, "is fixed"),
        ("spec.kubernetesVersion", {"kubernetesVersion": "v1.33.1"}, "no downgrade"),
        ("spec.kubernetesVersion", {"kubernetesVersion": "v1.35.0"}, "not in this release"),
        ("spec.keyType", {"keyType": "RSA2048"}, "is fixed"),
        ("spec.network", {"network": {"pods": "10.200.0.0/16"}}, "is fixed"),
        ("spec.endpoint", {"endpoint": {"port": 443}}, "is fixed"),
        ("spec.controlPlane.cpus", {"controlPlane": {"replicas": 3, "cpus": 4}}, "cannot change"),
        ("spec.controlPlane.replicas", {"controlPlane": {"replicas": 1}}, "cannot shrink"),
    ],
)
async def test_what_is_fixed_cannot_change(world: World, path: str, change: Json, why: str) -> None:
    await world.site()
    await world.ok(
        "POST",
        "/v1/accounts",
        {
            "metadata": {"name": "second"},
            "spec": {
                "gateway": "site-1",
                "server": "b.example.com",
                "username": "u",
                "secret": "vcenter",
            },
        },
    )
    made = await apply(world, a_cluster(controlPlane={"replicas": 3}))

    faults = await world.faults("PUT", f"{CLUSTERS}/one/spec", spec_of(made, **change))

    assert why in faults[path]
    assert (await world.ok("GET", f"{CLUSTERS}/one"))["metadata"]["generation"] == 1


async def test_a_version_that_skips_a_minor_release_is_refused(world: World) -> None:
    await world.site()
    made = await apply(world, a_cluster(kubernetesVersion="v1.32.1"))

    faults = await world.faults(
        "PUT", f"{CLUSTERS}/one/spec", spec_of(made, kubernetesVersion="v1.34.4")
    )

    assert "the next one is v1.33" in faults["spec.kubernetesVersion"]


async def test_the_control_plane_may_grow(world: World) -> None:
    await world.site()
    made = await apply(world, a_cluster())

    grown = await world.ok(
        "PUT", f"{CLUSTERS}/one/spec", spec_of(made, controlPlane={"replicas": 3})
    )

    assert grown["spec"]["controlPlane"]["replicas"] == 3
    assert grown["metadata"]["generation"] == 2


async def test_the_shape_of_a_pool_changes_only_while_it_is_empty(world: World) -> None:
    await world.site()
    made = await apply(world, a_cluster())
    spec = made["nodePools"][0]["spec"]

    faults = await world.faults("PUT", f"{POOLS}/one-workers/spec", {**spec, "cpus": 8})
    assert "scale this one to 0 first" in faults["spec.cpus"]

    await world.ok("PUT", f"{POOLS}/one-workers/spec", {**spec, "replicas": 0})
    await world.ok("PUT", f"{POOLS}/one-workers/spec", {**spec, "replicas": 0, "cpus": 8})


async def test_a_node_pool_is_named_after_its_cluster(world: World) -> None:
    await world.site()
    await apply(world, a_cluster())
    pool = {"metadata": {"name": "x"}, "spec": {"cluster": "one", "pool": "gpu", "replicas": 1}}

    faults = await world.faults("POST", POOLS, pool)
    assert "must be one-gpu" in faults["metadata.name"]

    pool["metadata"] = {"name": "one-gpu"}
    made = await world.ok("POST", POOLS, pool)
    assert made["metadata"]["owner"]["name"] == "one"
    pool = {"metadata": {"name": "two-gpu"}, "spec": {"cluster": "two", "pool": "gpu"}}
    faults = await world.faults("POST", POOLS, pool)
    assert "no cluster two" in faults["spec.cluster"]


async def test_deleting_a_cluster_waits_for_the_gateway_and_then_takes_all(world: World) -> None:
    await world.site()
    await apply(world, a_cluster())
    store = world.hub.store
    manager = Manager(store, hub_controllers(), clock=world.clock)

    response = await world.ask("DELETE", f"{CLUSTERS}/one")
    assert response.status_code == 202
    assert response.json()["metadata"]["deletionRequestedAt"]
    await manager.settle()
    pool = await store.get(NodePool, "default", "one-workers")
    assert pool.is_deleting
    assert len(await store.list(Assignment)) == 2

    await world.refused(409, "PUT", f"{CLUSTERS}/one", a_cluster())
    for resource in (pool, await store.get(Cluster, "default", "one")):
        await store.remove_finalizer(resource, GATEWAY_FINALIZER)
    await manager.settle()

    assert await names(world, CLUSTERS) == []
    assert await names(world, POOLS) == []
    assert [a.spec.subject_kind for a in await store.list(Assignment)] == ["IPPool"]
    await manager.close()


async def test_what_a_gateway_never_saw_goes_at_once(world: World) -> None:
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-2"}})
    await world.ok("POST", "/v1/ippools", an_ip_pool("p", "site-2"))

    response = await world.ask("DELETE", "/v1/ippools/p")

    assert response.status_code == 204
    await world.refused(404, "GET", "/v1/ippools/p")


async def test_a_gateway_counts_its_clusters(world: World) -> None:
    await world.site()
    manager = Manager(world.hub.store, hub_controllers(), clock=world.clock)
    await manager.settle()
    for name in ("one", "two"):
        await apply(world, a_cluster(name))
    await manager.settle()

    assert (await world.ok("GET", "/v1/gateways/site-1"))["status"]["clusters"] == 2
    await world.hub.store.delete(await world.hub.store.get(Cluster, "default", "one"))
    await manager.settle()
    assert (await world.ok("GET", "/v1/gateways/site-1"))["status"]["clusters"] == 1
    await manager.close()


async def test_an_orphaned_node_pool_is_asked_to_go(world: World) -> None:
    await world.site()
    await apply(world, a_cluster())
    store = world.hub.store
    await store.delete(await store.get(Cluster, "default", "one"))
    manager = Manager(store, hub_controllers(), clock=world.clock)

    await manager.settle()

    assert (await store.get(NodePool, "default", "one-workers")).is_deleting
    await manager.close()


async def test_an_operation_names_its_subject_and_goes_after_a_day(world: World) -> None:
    await world.site()
    made = await apply(world, a_cluster())
    body = {
        "metadata": {},
        "spec": {
            "verb": "kubeconfig",
            "subjectKind": "Cluster",
            "subjectName": "one",
            "arguments": {"csr": "no", "ttlSeconds": 1, "colour": "red"},
        },
    }
    operations = "/v1/projects/default/operations"
    faults = await world.faults("POST", operations, body)
    assert sorted(faults) == [
        "spec.arguments.colour",
        "spec.arguments.csr",
        "spec.arguments.ttlSeconds",
    ]
    body["spec"]["arguments"] = {"csr": world.certificate_request()}

    asked = await world.ok("POST", operations, body)

    assert asked["spec"]["subjectUid"] == made["metadata"]["uid"]
    assert asked["metadata"]["route"] == "site-1"
    assert asked["metadata"]["name"].startswith("kubeconfig-")
    assert asked["metadata"]["labels"] == {"moorage.dev/requested-by": "admin"}
    store = world.hub.store
    manager = Manager(store, hub_controllers(), clock=world.clock)
    world.forward(hours=24)
    await manager.settle()
    assert len(await store.list(Operation)) == 1
    world.forward(minutes=11)
    await manager.settle()
    assert await store.list(Operation) == []
    await manager.close()


async def test_a_check_of_an_account_names_its_places(world: World) -> None:
    await world.site()
    operations = "/v1/projects/default/operations"
    target = {
        "datacenter": "dc1",
        "folder": "clusters",
        "template": "templates/ubuntu",
        "computeCluster": "cc1",
        "datastore": "ds1",
    }
    spec = {"verb": "check", "subjectKind": "CloudAccount", "subjectName": "vcenter"}
    body = {"metadata": {}, "spec": {**spec, "arguments": {"targets": [target]}}}
    assert await world.faults("POST", operations, body) == {
        "spec.arguments.targets[0].network": "is required"
    }
    assert "spec.arguments.targets" in await world.faults(
        "POST", operations, {**body, "spec": spec}
    )
    assert "spec.subjectKind" in await world.faults(
        "POST", operations, {**body, "spec": {**spec, "subjectKind": "Cluster"}}
    )
    target["network"] = "nodes"

    asked = await world.ok("POST", operations, body)

    account = await world.ok("GET", "/v1/accounts/vcenter")
    assert asked["spec"]["subjectUid"] == account["metadata"]["uid"]
    assert asked["metadata"]["route"] == "site-1"


async def test_an_operation_on_nothing_is_refused(world: World) -> None:
    body = {
        "metadata": {},
        "spec": {"verb": "logs", "subjectKind": "Machine", "subjectName": "no-such"},
    }
    faults = await world.faults("POST", "/v1/projects/default/operations", body)
    assert faults == {"spec.subjectName": "there is no Machine no-such in this project"}
