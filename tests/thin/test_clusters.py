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


async def test_a_control_plane_whose_lease_changes_is_told_with_both_addresses(
    world: ThinWorld,
) -> None:
    await ask_site(world)
    endpoint = str(world.vcenter.guests.network.network_address + 20000)
    asked = a_cluster(
        endpoint={"host": endpoint},
        placement={
            **a_cluster().spec.placement.model_dump(),
            "failure_domains": [a_failure_domain("a", ip_pool=None)],
        },
    )
    cluster = await world.ask_cluster(asked)
    pool = a_node_pool(replicas=1)
    pool.metadata.owner = cluster.owner()
    await world.ask(pool)
    await world.until(Cluster, all_ready(2), "both nodes are Ready")
    founder, worker = sorted(
        await world.store.list(Machine), key=lambda one: one.spec.role, reverse=False
    )
    (old,) = founder.status.joined_with

    for machine in (founder, worker):
        world.vcenter.guests.change_lease(machine.metadata.name)

    def is_told(machines: list[Machine]) -> bool:
        (one,) = (m for m in machines if m.metadata.uid == founder.metadata.uid)
        said = one.status.condition("AddressKept")
        return said is not None and said.reason == "LeaseChanged"

    machines = await world.until(Machine, is_told, "the control plane is told")
    told = next(m for m in machines if m.metadata.uid == founder.metadata.uid)
    said = told.status.condition("AddressKept")
    (new,) = (guest.address for guest in world.vcenter.guests.guests() if "cp" in guest.name)
    assert said is not None
    assert f"from {old} to {new}" in said.message
    assert "MAC 00:" in said.message
    assert "It is not replaced: the other members of etcd still reach it" in said.message
    other = next(m for m in machines if m.metadata.uid == worker.metadata.uid)
    assert other.status.is_true("AddressKept"), "a worker follows"
    (found,) = await world.until(
        Cluster, lambda c: not c[0].status.is_true("Ready"), "the cluster says so too"
    )
    ready = found.status.condition("NodesReady")
    assert ready is not None
    assert "LeaseChanged" in ready.message


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
