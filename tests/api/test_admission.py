"""What only several resources together show: references, addresses, networks, what is in use."""

from ipaddress import ip_address
from typing import Any

import pytest

from moorage.kit.ids import new_uid
from moorage.kit.seal import PrivateSealingKey
from moorage.resources import IPAddress, Metadata, Owner
from moorage.resources.ippool import IPAddressSpec, claim_name
from tests.api.world import Json, World, a_cluster, an_account, an_ip_pool, spec_of

CLUSTERS = "/v1/projects/default/clusters"


async def apply(world: World, document: Json) -> Json:
    return await world.ok("PUT", f"{CLUSTERS}/{document['metadata']['name']}", document)


async def faults_of(world: World, document: Json) -> dict[str, str]:
    return await world.faults("PUT", f"{CLUSTERS}/{document['metadata']['name']}", document)


async def claim(world: World, address: str, cluster: str, pool: str = "nodes") -> None:
    """Claim an address as a gateway's mirror shows it."""
    owner = Owner(kind="Machine", name="m", uid=new_uid())
    await world.hub.store.put_mirror(
        IPAddress(
            metadata=Metadata(
                name=claim_name(pool, ip_address(address)),
                uid=new_uid(),
                generation=1,
                route="site-1",
                labels={"moorage.dev/pool": pool},
            ),
            spec=IPAddressSpec.model_validate(
                {"pool": pool, "address": address, "cluster": cluster, "claimed_by": owner}
            ),
        )
    )


def domains(*pools: str | None) -> Json:
    """Return a placement with one failure domain for each pool."""
    place = a_cluster()["spec"]["placement"]
    first = place["failureDomains"][0]
    return {
        **place,
        "failureDomains": [
            {k: v for k, v in {**first, "name": f"fd{i}", "ipPool": pool}.items() if v}
            for i, pool in enumerate(pools)
        ],
    }


async def test_every_missing_reference_is_told_at_once(world: World) -> None:
    await world.site()

    faults = await faults_of(
        world,
        a_cluster(account="no-account", placement=domains("nodes", "no-pool"), endpoint={}),
    )

    assert "there is no account no-account (there are: vcenter)" in faults["spec.account"]
    path = "spec.placement.failureDomains[1].ipPool"
    assert "there is no IP pool no-pool (there are: nodes)" in faults[path]


async def test_a_pool_of_another_gateway_is_refused(world: World) -> None:
    await world.site()
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-2"}})
    await world.ok("POST", "/v1/ippools", an_ip_pool("far", "site-2"))

    faults = await faults_of(world, a_cluster(placement=domains("far")))

    assert "belongs to gateway site-2" in faults["spec.placement.failureDomains[0].ipPool"]


@pytest.mark.parametrize(
    ("addresses", "workers", "fits"),
    # one control plane, its VIP, and one more to replace a machine
    [(5, 2, True), (5, 3, False), (4, 1, True), (4, 2, False)],
)
async def test_head_room_counts_machines_endpoint_and_a_surge(
    world: World, addresses: int, workers: int, *, fits: bool
) -> None:
    await world.site(end=f"10.0.0.{9 + addresses}")
    document = a_cluster(pools=[{"name": "workers", "replicas": workers}])

    if fits:
        await apply(world, document)
        return
    faults = await faults_of(world, document)
    (message,) = faults.values()
    assert f"has {addresses} addresses, 0 of them taken" in message
    assert f"needs {workers + 3}" in message


async def test_head_room_counts_what_is_promised_to_others(world: World) -> None:
    await world.site(end="10.0.0.19")  # 10 addresses
    await apply(world, a_cluster("one", pools=[{"name": "w", "replicas": 3}]))  # takes 6
    too_much = a_cluster("two", pools=[{"name": "w", "replicas": 2}])  # needs 5

    faults = await faults_of(world, too_much)

    assert "6 of them taken by other clusters" in str(faults)
    await apply(world, a_cluster("two", pools=[{"name": "w", "replicas": 1}]))


async def test_head_room_counts_what_others_hold_beyond_their_promise(world: World) -> None:
    await world.site(end="10.0.0.19")
    for last in range(10, 17):
        await claim(world, f"10.0.0.{last}", "default/gone")

    faults = await faults_of(world, a_cluster())

    assert "7 of them taken by other clusters" in str(faults)


SIX = {"subnet": "fd00:77::/64", "router": "fe80::1", "start": None, "end": None, "prefix": None}
DUAL = {
    "pods": ["10.244.0.0/16", "fd00:10:244::/56"],
    "services": ["10.96.0.0/16", "fd00:10:96::/112"],
}


def with_pools(*pools: str) -> Json:
    place = domains(None)
    place["failureDomains"][0]["ipPools"] = [*pools]
    return place


async def test_a_cluster_of_both_families_takes_an_address_of_each(world: World) -> None:
    await world.site(end="10.0.0.13")  # 4 addresses
    await world.ok("POST", "/v1/ippools", an_ip_pool("six", **SIX))

    faults = await faults_of(world, a_cluster(network=DUAL))
    path = "spec.placement.failureDomains[0].ipPools"
    assert "has no pool of IPv6, which spec.network.pods asks for" in faults[path]

    both = with_pools("nodes", "six")
    faults = await faults_of(
        world, a_cluster(placement=both, network=DUAL, pools=[{"name": "w", "replicas": 2}])
    )
    assert list(faults) == ["spec.placement.failureDomains[0].ipPools[0]"], "IPv6 has plenty"
    faults = await faults_of(
        world,
        a_cluster(placement=both, network={**DUAL, "pods": ["10.244.0.0/16", "fd00:77::/56"]}),
    )
    assert "overlaps fd00:77::/64" in faults["spec.network.pods"]
    await apply(world, a_cluster(placement=both, network=DUAL))
    for host, why in (("fd00:78::5", "is not in fd00:77::/64"), ("10.0.0.200", "")):
        document = a_cluster("two", placement=both, endpoint={"host": host}, pools=[])
        told = (await faults_of(world, document)).get("spec.endpoint.host", "")
        assert why in told


async def test_a_leased_endpoint_needs_control_planes_with_dhcp(world: World) -> None:
    await world.site()
    ddns = {"type": "DDNS", "searchDomain": "example.com"}

    faults = await faults_of(world, a_cluster(endpoint=ddns))

    assert "leave the pools out" in faults["spec.placement.failureDomains[0].ipPools"]
    await apply(world, a_cluster(placement=domains(None), endpoint=ddns))
    balancer = {"type": "External", "host": "lb.example.com", "port": 443}
    await apply(world, a_cluster("two", endpoint=balancer))


async def test_search_domains_come_from_the_gateways_dns_mappings(world: World) -> None:
    await world.site()
    gateway = await world.ok("GET", "/v1/gateways/site-1")
    first = a_cluster()["spec"]["placement"]["failureDomains"][0]
    place = {"datacenter": "/DC0", "network": first["network"]}
    mappings: list[Json] = [{**place, "searchDomain": "any.example.com"}]
    mappings.append({**mappings[0], "computeCluster": "C1", "searchDomain": "c1.example.com"})
    faults = await world.faults(
        "PUT", "/v1/gateways/site-1/spec", spec_of(gateway, dnsMappings=[*mappings, mappings[0]])
    )
    assert "is about the same network as dnsMappings[0]" in str(faults)
    await world.ok("PUT", "/v1/gateways/site-1/spec", spec_of(gateway, dnsMappings=mappings))

    several = domains(None, None, None, "nodes")
    several["failureDomains"][1] |= {"computeCluster": "C1"}
    several["failureDomains"][2] |= {"search": ["own.example.com"]}
    made = await apply(world, a_cluster(placement=several, endpoint={"host": "10.0.0.200"}))
    found = [one.get("search", []) for one in made["spec"]["placement"]["failureDomains"]]
    assert found == [["any.example.com"], ["c1.example.com"], ["own.example.com"], []]

    ddns: Json = {"type": "DDNS"}
    made = await apply(world, a_cluster("two", placement=domains(None), endpoint=ddns))
    assert made["spec"]["endpoint"]["searchDomain"] == "any.example.com"
    elsewhere = domains(None)
    elsewhere["failureDomains"][0]["network"] = "other"
    faults = await faults_of(world, a_cluster("three", placement=elsewhere, endpoint=ddns))
    assert "has no DNS mapping" in faults["spec.endpoint.searchDomain"]


async def test_further_network_cards_take_addresses_too(world: World) -> None:
    await world.site()
    storage = an_ip_pool("storage", start="10.88.0.10", end="10.88.0.12", router="10.88.0.1")
    await world.ok("POST", "/v1/ippools", storage)
    place = domains("nodes")
    card: Json = {"network": "storage", "ipPools": ["storage", "lost"]}
    place["failureDomains"][0]["moreNetworks"] = [card]
    card["routes"] = [{"to": "10.99.0.0/16", "via": "10.89.0.1"}]

    faults = await faults_of(world, a_cluster(placement=place))
    path = "spec.placement.failureDomains[0].moreNetworks[0]"
    assert "there is no IP pool lost" in faults[f"{path}.ipPools[1]"]
    assert "10.89.0.1 is not in 10.88.0.0/24" in faults[f"{path}.routes[0].via"]

    card |= {"ipPools": ["storage"], "routes": []}
    faults = await faults_of(
        world, a_cluster(placement=place, pools=[{"name": "w", "replicas": 2}])
    )
    assert "has 3 addresses, 0 of them taken" in faults[f"{path}.ipPools[0]"]
    await apply(world, a_cluster(placement=place))


async def test_pools_of_two_families_never_overlap(world: World) -> None:
    await world.site()
    same_numbers = {**SIX, "subnet": "::a00:0/112"}  # as 10.0.0.0/16 has

    await world.ok("POST", "/v1/ippools", an_ip_pool("six", **same_numbers))


async def test_a_second_pool_gives_what_the_first_has_not(world: World) -> None:
    await world.site(end="10.0.0.13")  # 4 addresses
    await world.ok("POST", "/v1/ippools", an_ip_pool("more", start="10.0.0.50", end="10.0.0.53"))
    place = domains(None)
    place["failureDomains"][0]["ipPools"] = ["nodes", "more"]
    document = a_cluster(placement=place, pools=[{"name": "w", "replicas": 6}])  # 9

    faults = await faults_of(world, document)
    assert faults == {
        "spec.placement.failureDomains[0].ipPools[0]": (
            "IP pools nodes, more have 8 addresses, 0 of them taken by other clusters; this one "
            "needs 9 (machines, endpoint, and one more to replace a machine): widen the pool, "
            "name another one beside it, or ask for fewer machines"
        )
    }

    document["nodePools"][0]["replicas"] = 2  # 5: all of the first, 1 of the second
    await apply(world, document)
    faults = await faults_of(world, a_cluster("two"))
    assert "IP pool nodes has 4 addresses, 4 of them taken" in str(faults)
    second = domains("more")
    faults = await faults_of(world, a_cluster("two", placement=second))
    assert "IP pool more has 4 addresses, 1 of them taken" in str(faults)
    await apply(world, a_cluster("two", placement=second, pools=[]))


async def test_further_pools_may_be_named_later_but_not_before_that_of_the_endpoint(
    world: World,
) -> None:
    await world.site()
    await world.ok("POST", "/v1/ippools", an_ip_pool("more", start="10.0.0.50", end="10.0.0.53"))
    made = await apply(world, a_cluster())

    def with_pools(*pools: str) -> Json:
        place = domains(None)
        place["failureDomains"][0] |= {"name": "a", "ipPools": [*pools]}
        return spec_of(made, placement=place)

    faults = await world.faults("PUT", f"{CLUSTERS}/one/spec", with_pools("more", "nodes"))
    assert "the endpoint comes from it" in faults["spec.placement.failureDomains[0].ipPools"]
    await world.ok("PUT", f"{CLUSTERS}/one/spec", with_pools("nodes", "more"))


async def test_own_claims_do_not_count_twice(world: World) -> None:
    await world.site(end="10.0.0.14")  # 5 addresses
    await apply(world, a_cluster())  # 4
    for last in (10, 11, 12):
        await claim(world, f"10.0.0.{last}", "default/one")

    await apply(world, a_cluster(pools=[{"name": "workers", "replicas": 2}]))


async def test_scaling_a_pool_alone_is_counted_too(world: World) -> None:
    await world.site(end="10.0.0.14")
    made = await apply(world, a_cluster())
    spec = made["nodePools"][0]["spec"]
    path = "/v1/projects/default/nodepools/one-workers/spec"

    faults = await world.faults("PUT", path, {**spec, "replicas": 3})
    assert "needs 6" in str(faults)

    await world.ok("PUT", path, {**spec, "replicas": 2})


async def test_a_full_pool_does_not_hinder_other_changes(world: World) -> None:
    await world.site(end="10.0.0.14")
    made = await apply(world, a_cluster())
    for last in (13, 14):
        await claim(world, f"10.0.0.{last}", "default/other")

    await world.ok("PUT", f"{CLUSTERS}/one/spec", spec_of(made, cloneMode="full"))


async def test_dhcp_needs_no_pool_but_an_endpoint(world: World) -> None:
    await world.site()
    document = a_cluster(placement=domains(None), endpoint={"host": "10.0.0.200"})
    made = await apply(world, document)
    assert made["metadata"]["route"] == "site-1"

    faults = await faults_of(world, a_cluster("two", placement=domains(None)))
    assert "endpoint.host" in str(faults)


@pytest.mark.parametrize(
    ("network", "field"),
    [({"pods": "10.0.0.0/16"}, "pods"), ({"services": "10.0.0.0/20"}, "services")],
)
async def test_networks_that_overlap_the_machines_are_refused(
    world: World, network: Json, field: str
) -> None:
    await world.site()

    faults = await faults_of(world, a_cluster(network=network))

    assert "overlaps 10.0.0.0/24" in faults[f"spec.network.{field}"]


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("10.1.0.9", "is not in 10.0.0.0/24"),
        ("127.0.0.1", "cannot be an address of a machine"),
        ("fd00::1", "the VIP is IPv6, but the machines of failure domain a have no such address"),
        ("10.0.0.60", "lies in IP pool second"),
        ("10.0.0.201", "is the endpoint of cluster default/first"),
    ],
)
async def test_a_bad_virtual_address_is_refused(world: World, host: str, why: str) -> None:
    await world.site()
    await world.ok("POST", "/v1/ippools", an_ip_pool("second", start="10.0.0.50", end="10.0.0.99"))
    await apply(world, a_cluster("first", endpoint={"host": "10.0.0.201"}))

    faults = await faults_of(world, a_cluster(endpoint={"host": host}))

    assert why in faults["spec.endpoint.host"]


async def test_a_virtual_address_of_its_own_pool_is_claimed_from_it(world: World) -> None:
    await world.site()
    await apply(world, a_cluster(endpoint={"host": "10.0.0.20"}))
    await claim(world, "10.0.0.30", "default/other")

    faults = await faults_of(world, a_cluster("two", endpoint={"host": "10.0.0.30"}))

    assert "claimed by default/other" in faults["spec.endpoint.host"]


async def test_a_virtual_address_must_reach_every_control_plane(world: World) -> None:
    await world.site()
    far = an_ip_pool("far", start="10.9.0.10", end="10.9.0.99", router="10.9.0.1")
    await world.ok("POST", "/v1/ippools", far)

    faults = await faults_of(world, a_cluster(placement=domains("nodes", "far")))
    assert "moves inside one network only" in faults["spec.endpoint.ipPool"]

    await apply(
        world,
        a_cluster(placement=domains("nodes", "far"), controlPlane={"failureDomains": ["fd0"]}),
    )


async def test_a_restricted_pool_serves_one_cluster(world: World) -> None:
    await world.site(restrictToSingleCluster=True)
    await apply(world, a_cluster("one"))

    faults = await faults_of(world, a_cluster("two"))

    assert "serves default/one" in faults["spec.placement.failureDomains[0].ipPool"]


async def test_a_failure_domain_in_use_cannot_go(world: World) -> None:
    await world.site()
    pools = [{"name": "workers", "failureDomains": ["fd1"]}]
    made = await apply(world, a_cluster(placement=domains("nodes", "nodes"), pools=pools))

    faults = await world.faults(
        "PUT", f"{CLUSTERS}/one/spec", spec_of(made, placement=domains("nodes"))
    )

    assert "node pool workers uses fd1" in faults["spec.placement.failureDomains"]


async def test_the_endpoint_keeps_its_pool(world: World) -> None:
    await world.site()
    await world.ok("POST", "/v1/ippools", an_ip_pool("second", start="10.0.0.50", end="10.0.0.99"))
    made = await apply(world, a_cluster())

    faults = await world.faults(
        "PUT", f"{CLUSTERS}/one/spec", spec_of(made, placement=domains("second"))
    )

    assert "the endpoint comes from it" in faults["spec.placement.failureDomains[0].ipPool"]


async def test_what_is_in_use_cannot_be_deleted(world: World) -> None:
    await world.site()
    await apply(world, a_cluster())

    for path, user in (
        ("/v1/ippools/nodes", "cluster default/one"),
        ("/v1/accounts/vcenter", "cluster default/one"),
        ("/v1/secrets/vcenter", "CloudAccount vcenter"),
        ("/v1/gateways/site-1", "IPPool nodes"),
        ("/v1/projects/default", "Cluster default/one"),
    ):
        problem = await world.refused(409, "DELETE", path)
        assert user in problem["detail"], problem
        assert "delete" in problem["detail"]


async def test_pools_of_one_gateway_may_not_overlap(world: World) -> None:
    await world.site()
    other = an_ip_pool("other", start="10.0.0.40", end="10.0.0.80")

    faults = await world.faults("POST", "/v1/ippools", other)

    assert "overlaps IP pool nodes (10.0.0.10 to 10.0.0.49)" in faults["spec.start"]
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-2"}})
    other["spec"]["gateway"] = "site-2"
    await world.ok("POST", "/v1/ippools", other)


@pytest.mark.parametrize(
    ("change", "path", "why"),
    [
        ({"end": "10.0.0.19"}, "spec.start", "1 addresses in use would be left out: 10.0.0.30"),
        ({"exclude": ["10.0.0.30"]}, "spec.start", "10.0.0.30"),
        ({"router": "10.0.0.2"}, "spec.router", "it is 10.0.0.1"),
        ({"prefix": 23}, "spec.start", "10.0.0.0/24 is in use"),
        ({"gateway": "site-2"}, "spec.gateway", "is fixed"),
    ],
)
async def test_what_machines_use_of_a_pool_stays(
    world: World, change: Json, path: str, why: str
) -> None:
    await world.site()
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-2"}})
    await claim(world, "10.0.0.30", "default/one")
    pool = await world.ok("GET", "/v1/ippools/nodes")

    faults = await world.faults("PUT", "/v1/ippools/nodes/spec", spec_of(pool, **change))

    assert why in faults[path]
    await world.ok("PUT", "/v1/ippools/nodes/spec", spec_of(pool, end="10.0.0.60"))


async def test_an_account_keeps_gateway_and_server_while_clusters_use_it(world: World) -> None:
    await world.site()
    account = await world.ok("GET", "/v1/accounts/vcenter")
    moved = spec_of(account, server="other.example.com")
    await world.ok("PUT", "/v1/accounts/vcenter/spec", moved)
    await apply(world, a_cluster())

    faults = await world.faults("PUT", "/v1/accounts/vcenter/spec", account["spec"])
    assert "default/one" in faults["spec.server"]
    faults = await world.faults(
        "PUT", "/v1/accounts/vcenter/spec", {**moved, "gateway": "elsewhere"}
    )
    assert "there is no gateway elsewhere" in faults["spec.gateway"] or "is fixed" in str(faults)


async def test_an_account_may_come_before_its_secret_but_not_with_a_foreign_one(
    world: World,
) -> None:
    await world.enrol()
    await world.ok("POST", "/v1/accounts", an_account("early"), dryRun=True)
    await world.enrol("site-2")
    await world.ok("POST", "/v1/secrets", world.secret(gateway="site-2"))

    faults = await world.faults("POST", "/v1/accounts", an_account())

    assert "sealed to gateway site-2" in faults["spec.secret"]


async def test_a_secret_must_be_sealed_to_those_who_need_it(world: World) -> None:
    await world.ok("POST", "/v1/gateways", {"metadata": {"name": "site-0"}})
    faults = await world.faults("POST", "/v1/secrets", world.secret(gateway="site-0"))
    assert "has not enrolled" in faults["spec.gateway"]

    await world.enrol()
    mine, world.sealing = world.sealing, PrivateSealingKey.generate()
    faults = await world.faults("POST", "/v1/secrets", world.secret())
    assert "not sealed to the key of gateway site-1" in faults["spec.sealed.keys"]

    world.sealing = mine
    await world.ok(
        "PUT",
        "/v1/installation/recovery-key",
        {"publicKey": PrivateSealingKey.generate().public().pem},
    )
    faults = await world.faults("POST", "/v1/secrets", world.secret())
    assert "recovery key" in faults["spec.sealed.keys"]


async def test_a_secret_is_never_shown_and_what_is_shown_is_no_secret(world: World) -> None:
    await world.enrol()
    sent = world.secret()
    shown: list[Any] = [await world.ok("POST", "/v1/secrets", sent)]
    shown += [await world.ok("GET", "/v1/secrets/vcenter"), await world.ok("GET", "/v1/secrets")]
    shown.append(await world.ok("GET", "/v1/audit"))

    for key in (sent["spec"]["sealed"]["ciphertext"], sent["spec"]["sealed"]["keys"][0]["wrapped"]):
        assert key not in str(shown)
    recipients = [k["recipient"] for k in shown[0]["spec"]["sealed"]["keys"]]
    assert recipients == [world.sealing.public().key_id]
    faults = await world.faults("PUT", "/v1/secrets/vcenter/spec", shown[0]["spec"])
    assert "is empty" in faults["spec.sealed"]


async def test_a_user_gets_grants_only_of_projects_that_exist(world: World) -> None:
    body = {
        "metadata": {"name": "alice"},
        "spec": {"grants": [{"role": "project-viewer", "project": "no-such"}]},
    }

    faults = await world.faults("POST", "/v1/users", body)

    assert faults == {"spec.grants[0].project": "there is no project no-such"}


async def test_reserved_labels_are_refused(world: World) -> None:
    body = {"metadata": {"name": "p", "labels": {"moorage.dev/x": "y", "a": "b"}}}

    faults = await world.faults("POST", "/v1/projects", body)

    assert list(faults) == ["metadata.labels.moorage.dev/x"]
