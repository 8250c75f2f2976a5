"""Where machines get their addresses from, and what the pools say of it."""

import socket
from pathlib import Path

import anyio
import pytest

from moorage.resources import Cluster, IPAddress, IPPool, Machine
from tests.builders import a_cluster, a_failure_domain, a_node_pool, an_ip_pool
from tests.kube.certificates import a_pki
from tests.kube.test_probe import listening
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import ask_all, powered_on, reason


async def test_machines_go_on_in_the_next_pool_and_pools_say_what_is_reserved(
    world: World,
) -> None:
    await world.ask_account()
    await world.ask(an_ip_pool(end="10.77.1.12"))  # 3 addresses
    await world.ask(an_ip_pool("more", start="10.77.2.10", end="10.77.2.14"))
    cluster = a_cluster()
    cluster.spec.placement.failure_domains = [
        a_failure_domain("a", ip_pool=None, ip_pools=["nodes", "more"])
    ]
    asked: Cluster = await world.ask_cluster(cluster)
    pool = a_node_pool(replicas=3)
    pool.metadata.owner = asked.owner()
    await world.ask(pool)

    await world.until(Machine, powered_on(4), "four machines are powered on")

    claims = {str(claim.spec.address) for claim in await world.store.list(IPAddress)}
    assert claims == {*(f"10.77.1.{n}" for n in (10, 11, 12)), "10.77.2.10", "10.77.2.11"}
    pools = await world.until(
        IPPool,
        lambda found: (
            {p.metadata.name: p.status.reserved for p in found} == {"nodes": 0, "more": 1}
        ),
        "one address more is reserved, in the pool that has one",
    )
    said = {p.metadata.name: (p.status.claimed, p.status.free) for p in pools}
    assert said == {"nodes": (3, 0), "more": (2, 3)}

    pool.spec.replicas = 10
    await world.ask(pool)
    await world.until(
        IPPool,
        lambda found: (
            any(p.status.reserved == p.status.free == 3 for p in found)
            or all(p.status.free == 0 for p in found)
        ),
        "all that is free is promised",
    )


async def test_a_load_balancer_that_nobody_finds_is_told_before_a_machine_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def resolve(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", resolve)
    await ask_all(world, endpoint={"type": "External", "host": "lb.example.com"})

    (cluster,) = await world.until(
        Cluster, lambda c: reason(c[0]) == "EndpointNotResolved", "the cluster says so"
    )
    said = cluster.status.condition("EndpointClaimed")
    assert said is not None
    assert "lb.example.com" in said.message
    assert "enter it into DNS" in said.message
    assert world.vms() == []
    assert asked[0] == "lb.example.com"


@pytest.mark.parametrize(
    ("endpoint", "known", "says"),
    [
        (
            {"type": "External", "host": "127.0.0.1", "port": 1},
            "127.0.0.1:1",
            "the load balancer has to forward port 1 to port 6443 of the control planes",
        ),
        (
            {"type": "DDNS", "search_domain": "Example.com."},
            "demo.example.com:6443",
            "the DHCP server has to lease it an address and enter its name into DNS",
        ),
    ],
)
async def test_an_endpoint_that_is_not_claimed_is_known_at_once(
    world: World, endpoint: dict[str, object], known: str, says: str
) -> None:
    await ask_all(world, endpoint=endpoint)

    (cluster,) = await world.until(
        Cluster,
        lambda c: reason(c[0], "APIReachable") == "WaitingForFirstControlPlane",
        "it waits for the API",
    )
    assert cluster.status.endpoint == known
    said = cluster.status.condition("APIReachable")
    assert said is not None
    assert says in said.message
    balancer = cluster.status.condition("LoadBalancerLeads")
    assert (balancer is not None) is (endpoint["type"] == "External")
    if balancer is not None:
        assert (balancer.status, balancer.reason) == ("Unknown", "NothingListens")
        assert says in balancer.message
    assert all(c.spec.claimed_by.kind == "Machine" for c in await world.store.list(IPAddress))


async def test_a_load_balancer_that_leads_to_another_cluster_is_said_at_once(
    world: World, tmp_path: Path
) -> None:
    async with listening(tmp_path, a_pki("other")) as port:
        await ask_all(world, endpoint={"type": "External", "host": "127.0.0.1", "port": port})

        (cluster,) = await world.until(
            Cluster,
            lambda c: reason(c[0], "LoadBalancerLeads") == "LeadsElsewhere",
            "the cluster says so",
        )

    said = cluster.status.condition("LoadBalancerLeads")
    assert said is not None
    assert said.status == "False"
    assert f"who answers at 127.0.0.1 port {port} is no API server of this cluster" in said.message


async def test_an_address_of_a_further_card_is_looked_for_in_its_own_network(
    world: World,
) -> None:
    world.make_foreign_vm("far", network="/dc1/network/VM Network", addresses=["10.88.0.10"])
    world.make_foreign_vm("near", network="/dc1/network/nodes", addresses=["10.88.0.11"])
    await world.ask_account()
    await world.ask(an_ip_pool())
    await world.ask(an_ip_pool("storage", start="10.88.0.10", end="10.88.0.19", router="10.88.0.1"))
    cluster = a_cluster()
    card = {"network": "VM Network", "ip_pools": ["storage"]}
    cluster.spec.placement.failure_domains = [a_failure_domain("a", more_networks=[card])]
    await world.ask_cluster(cluster)

    (machine,) = await world.until(Machine, powered_on(1), "the machine is powered on")

    claims = await world.store.list(IPAddress, owner=machine.metadata.uid)
    held = {claim.spec.pool: str(claim.spec.address) for claim in claims}
    assert held == {"nodes": "10.77.1.11", "storage": "10.88.0.11"}
