"""A cluster in an estate as no one would plan it, from nothing to nothing."""

from collections.abc import Iterator

import pytest

from moorage.resources import Cluster, IPAddress, Machine, NodePool
from moorage_lab.api import VCenterProcess
from moorage_lab.places import lab_dir
from tests.builders import a_cluster, a_failure_domain
from tests.reconcile.conftest import World
from tests.thin.test_clusters import all_ready, ask_cluster, ask_site, gone

DOMAINS = [
    a_failure_domain(
        "a",
        compute_cluster="Gebäude 1/Etage %2f links/Kubernetes",
        resource_pool="Küche %2f 50%",
        datastore="San/Schnell/Speicher ä 100%",
        network="Knoten%2fNetz 1",
    ),
    a_failure_domain(
        "b", compute_cluster="Gebäude 2/Kubernetes", datastore="slow", network="West/LAN"
    ),
    a_failure_domain(
        "c", compute_cluster="allein.lab", datastore="Verbund ß/pod-a", network="VM Network"
    ),
]


@pytest.fixture
def vcenter() -> Iterator[VCenterProcess]:
    odd = lab_dir() / "inventories" / "odd.yaml"
    with VCenterProcess.start(odd, guests="thin") as process:
        yield process


async def test_a_cluster_lives_and_leaves_nothing(world: World) -> None:
    await ask_site(world)
    before = world.vcenter.control.inventory()
    placement = a_cluster().spec.placement.model_copy(
        update={
            "datacenter": "Rechenzentrum Süd 100%",
            "folder": "Häuser & Höfe/Büro %2f 3. OG 100%",
            "folder_per_cluster": True,
            "template": "Vorlagen/Für alle/ubuntu-2404-kube-v1.34.4",
            "failure_domains": DOMAINS,
        }
    )
    cluster, pool = await ask_cluster(
        world, workers=3, control_plane={"replicas": 3}, placement=placement.model_dump()
    )

    await world.until(Cluster, all_ready(6), "six nodes are Ready")

    machines = await world.store.list(Machine)
    assert sorted(one.spec.failure_domain.name for one in machines) == list("aabbcc")
    folder = "/Rechenzentrum Süd 100%25/vm/Häuser & Höfe/Büro %2f 3. OG 100%25/demo-"
    assert all(vm["path"].startswith(folder) for vm in world.vms())
    await world.delete(await world.store.get(NodePool, *pool.key))
    await world.delete(cluster)
    await world.until(Cluster, gone, "the cluster is torn down")
    assert world.vms() == []
    after = world.vcenter.control.inventory()
    assert after["folders"] == before["folders"]
    left = [vm for vm in after["vms"] if vm not in before["vms"]]
    # Replicas of the template stay until nobody has needed them for a day.
    assert all(vm["template"] for vm in left)
    assert await world.store.list(IPAddress) == []
