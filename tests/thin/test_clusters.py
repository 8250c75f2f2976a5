"""Whole clusters on thin guests: the product is what it is, only the nodes are light."""

from typing import Any

from moorage.resources import (
    CloudAccount,
    Cluster,
    ClusterKeys,
    IPAddress,
    IPPool,
    Machine,
    Metadata,
    NodePool,
)
from tests.builders import a_cluster, a_failure_domain, a_node_pool, an_ip_pool
from tests.reconcile.conftest import World
from tests.thin.conftest import ThinWorld


async def ask_site(world: World) -> None:
    await world.ask_account()
    await world.ask(an_ip_pool(**world.vcenter.guests.pool()))
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")


async def ask_cluster(
    world: World, *, workers: int, name: str = "demo", **changes: Any
) -> tuple[Cluster, NodePool]:
    cluster: Cluster = await world.ask_cluster(a_cluster(name, **changes))
    pool = a_node_pool(name, replicas=workers)
    pool.metadata.owner = cluster.owner()
    return cluster, await world.ask(pool)


def all_ready(nodes: int) -> Any:
    return lambda clusters: (
        bool(clusters)
        and all(c.status.is_true("Ready") and c.status.nodes_ready == nodes for c in clusters)
    )


def gone(clusters: list[Cluster]) -> bool:
    return not any(cluster.metadata.finalizers for cluster in clusters)


async def scale(world: World, pool: NodePool, replicas: int) -> None:
    found = await world.store.get(NodePool, *pool.key)
    found.spec.replicas = replicas
    await world.ask(found)


async def test_a_cluster_of_both_families_has_nodes_of_both(world: ThinWorld) -> None:
    await ask_site(world)
    six = {"subnet": "fd00:77::/64", "router": "fe80::1"}
    await world.ask(IPPool(metadata=Metadata(name="six"), spec={"gateway": "site-a", **six}))
    asked = a_cluster(
        network={
            "pods": ["10.244.0.0/16", "fd00:10:244::/56"],
            "services": ["10.96.0.0/16", "fd00:10:96::/112"],
        }
    )
    asked.spec.placement.failure_domains = [
        a_failure_domain("a", ip_pool=None, ip_pools=["nodes", "six"])
    ]
    cluster = await world.ask_cluster(asked)

    await world.until(Cluster, all_ready(1), "its node is Ready")

    (machine,) = await world.store.list(Machine)
    client = await world.work.env.access.client(await world.store.get(Cluster, *cluster.key))
    node = await client.get("v1", "Node", machine.metadata.name)
    said = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
    claims = await world.store.list(IPAddress, owner=machine.metadata.uid)
    assert sorted(said) == sorted(str(one.spec.address) for one in claims)
    assert said[1] == "fd00:77::1", "the first of the pool, after the routers' own"
    assert set(said) <= set(machine.status.addresses)


async def test_nodes_may_have_several_network_cards(world: ThinWorld) -> None:
    await ask_site(world)
    storage = {"subnet": "10.88.0.0/24", "router": "10.88.0.1", "hold_off_s": 0}
    await world.ask(
        IPPool(metadata=Metadata(name="storage"), spec={"gateway": "site-a", **storage})
    )
    asked = a_cluster(control_plane={"replicas": 1})
    asked.spec.placement.failure_domains = [
        a_failure_domain(
            "a",
            more_networks=[
                {
                    "network": "VM Network",
                    "ip_pools": ["storage"],
                    "routes": [{"to": "10.99.0.0/16", "via": "10.88.0.1"}],
                },
                {"network": "nodes"},
            ],
        )
    ]
    await world.ask_cluster(asked)

    await world.until(Cluster, all_ready(1), "its node is Ready")

    (machine,) = await world.store.list(Machine)
    claims = await world.store.list(IPAddress, owner=machine.metadata.uid)
    assert {claim.spec.pool for claim in claims} == {"nodes", "storage"}
    seen = await world.until(
        Machine,
        lambda found: {str(c.spec.address) for c in claims} <= set(found[0].status.addresses),
        "both addresses are seen",
    )
    assert seen[0].status.timeline["NetworkDescribed"] <= seen[0].status.timeline["PoweredOn"]
    await world.delete(await world.store.get(Cluster, "default", "demo"))
    await world.until(Cluster, gone, "the cluster is torn down")
    assert await world.store.list(IPAddress) == []


async def test_a_cluster_lives_its_whole_life(world: World) -> None:
    await ask_site(world)
    before = world.vcenter.control.inventory()
    cluster, pool = await ask_cluster(world, workers=2, control_plane={"replicas": 3})

    (found,) = await world.until(Cluster, all_ready(5), "five nodes are Ready")

    assert found.status.kubernetes_version == "v1.34.4"
    assert found.status.control_plane_ready == 3
    for replicas in (3, 1):
        await scale(world, pool, replicas)
        await world.until(Cluster, all_ready(3 + replicas), f"{replicas} workers are Ready")
        machines = await world.until(
            Machine, lambda m, n=3 + replicas: len(m) == n, "those scaled away are gone"
        )
        names = {machine.metadata.name for machine in machines}
        assert {guest.node for guest in world.vcenter.guests.guests()} == names
    await world.delete(await world.store.get(NodePool, *pool.key))
    await world.delete(cluster)
    await world.until(Cluster, gone, "the cluster is torn down")
    assert world.vcenter.control.inventory() == before
    assert world.vcenter.guests.guests() == []
    assert world.vcenter.guests.counters()["clusters"] == 0
    for kind in (Machine, IPAddress, ClusterKeys):
        assert await world.store.list(kind) == []
