"""What one document can know of itself."""

from typing import Any

import pytest
from pydantic import ValidationError

from moorage.resources import KINDS, Cluster, IPPool
from moorage.resources.account import Trust
from moorage.resources.kubernetes import KubernetesVersion
from tests.builders import a_cluster, a_cluster_spec, a_failure_domain, an_ip_pool


def faults(error: pytest.ExceptionInfo[ValidationError]) -> str:
    return str(error.value)


def test_every_kind_survives_its_own_json() -> None:
    cluster = a_cluster()
    assert Cluster.model_validate(cluster.document()) == cluster
    assert KINDS["Cluster"] is Cluster


def test_all_faults_are_reported_at_once() -> None:
    document = a_cluster().document()
    document["spec"]["kubernetesVersion"] = "1.20.0"
    document["spec"]["controlPlane"]["replicas"] = 2
    document["spec"]["surprise"] = True

    with pytest.raises(ValidationError) as error:
        Cluster.model_validate(document)

    places = {".".join(map(str, fault["loc"])) for fault in error.value.errors()}
    assert places == {"spec.kubernetesVersion", "spec.controlPlane.replicas", "spec.surprise"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"pods": "10.96.0.0/16"}}, "overlap"),
        ({"network": {"pods": "10.244.0.0/24"}}, "too small"),
        ({"network": {"pods": ["10.1.0.0/16", "10.2.0.0/16"]}}, "two networks of one family"),
        ({"network": {"pods": ["10.1.0.0/16", "fd00::/56"]}}, "of the same families"),
        ({"network": {"pods": "fd00::/64", "services": "fd01::/112"}}, "too small"),
        ({"network": {"pods": "fd00::/40", "services": "fd01::/112"}}, "too large"),
        ({"network": {"pods": "fd00::/56", "services": "fd01::/64"}}, "use /108 or narrower"),
        ({"network": {"pods": []}}, "at least 1 item"),
        ({"control_plane": {"failure_domains": ["z"]}}, "names z"),
        ({"control_plane": {"memory_mib": 1024}}, "2048 or more"),
        ({"control_plane": {"cpus": 1}}, "2 or more"),
        (
            {"control_plane": {"memory_allocation": {"reservation_mib": 4097}}},
            "must not be more than memoryMib (4096)",
        ),
        ({"control_plane": {"memory_allocation": {"limit_mib": 4095}}}, "must be memoryMib"),
        (
            {"control_plane": {"cpu_allocation": {"reservation_mhz": 2, "limit_mhz": 1}}},
            "reservationMhz must not be more than limitMhz",
        ),
        ({"control_plane": {"cpu_allocation": {"shares": "most"}}}, "cpu_allocation.shares"),
        ({"endpoint": {"type": "External"}}, "host is needed"),
        ({"endpoint": {"host": "api.example.com"}}, "is a name"),
        ({"endpoint": {"type": "External", "host": "lb.example.com", "ip_pool": "p"}}, "ipPool"),
        ({"endpoint": {"type": "External", "host": "10.0.0.256"}}, "endpoint.host"),
        ({"endpoint": {"type": "DDNS", "host": "10.0.0.5"}}, "is an address"),
        ({"endpoint": {"type": "DDNS", "host": "a.b", "search_domain": "c.d"}}, "either host"),
        ({"endpoint": {"search_domain": "example.com"}}, "unless type is DDNS"),
        ({"node": {"proxy": {"http_proxy": "proxy:3128"}}}, "node.proxy.http_proxy"),
        ({"node": {"proxy": {"https_proxy": 'http://a"\nX=1'}}}, "node.proxy.https_proxy"),
        ({"node": {"proxy": {"no_proxy": ["a,b"]}}}, "node.proxy.no_proxy.0"),
        ({"node": {"ntp_servers": ["a b"]}}, "node.ntp_servers.0"),
        ({"layers": [{"name": "x", "pack": "a"}, {"name": "x", "pack": "b"}]}, "different names"),
    ],
)
def test_a_cluster_that_contradicts_itself_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as error:
        a_cluster_spec(**changes)

    assert message in faults(error)


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"datastore": "a", "datastores": ["b"]},
        {"datastore": "a", "datastore_cluster": "b", "storage_policy": "c"},
    ],
)
def test_a_failure_domain_names_datastores_one_way_or_a_policy(storage: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give one of"):
        a_failure_domain("a", **{"datastore": None, **storage})

    for good in ({"storage_policy": "c"}, {"datastores": ["a", "b"], "storage_policy": "c"}):
        chosen = a_failure_domain("a", **{"datastore": None, **good}).on_datastore("a")
        assert (chosen.datastore, chosen.storage_policy) == ("a", "c")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ip_pools": ["more"]}, "either ipPool or ipPools"),
        ({"ip_pool": None, "ip_pools": ["a", "a"]}, "must differ"),
        ({"more_networks": [{"network": "n", "ip_pools": ["nodes"]}]}, "must differ"),
        (
            {"more_networks": [{"network": "n", "routes": [{"to": "10.0.0.0/8", "via": "::1"}]}]},
            "another family",
        ),
        (
            {"more_networks": [{"network": "n", "routes": [{"to": "::/0", "via": "::1"}]}]},
            "the default route is that of the first card",
        ),
    ],
)
def test_pools_of_a_failure_domain_are_named_once(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        a_failure_domain("a", **changes)

    assert message in faults(error)


def test_dhcp_needs_an_address_for_the_endpoint() -> None:
    placement = a_cluster_spec().placement.model_copy(
        update={"failure_domains": [a_failure_domain("a", ip_pool=None)]}
    )

    with pytest.raises(ValidationError) as error:
        a_cluster_spec(placement=placement)

    assert "outside the DHCP range" in faults(error)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "10.77.1.40"}, "behind end"),
        ({"prefix": None}, "needs start, end and prefix"),
        ({"router": "192.168.0.1"}, "must lie in"),
        ({"end": "10.78.1.1"}, "must lie in"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        an_ip_pool(**changes)

    assert message in faults(error)


def test_a_pool_name_leaves_room_for_its_addresses() -> None:
    with pytest.raises(ValidationError) as error:
        IPPool.model_validate(
            {**an_ip_pool().document(), "metadata": {"name": "p" * 48}},
        )

    assert "47 characters" in faults(error)


@pytest.mark.parametrize(
    "trust",
    [{"sha256": "AB"}, {"insecure": True, "sha256": "00:" * 31 + "00"}],
)
def test_trust_is_one_thing_only_and_well_formed(trust: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Trust.model_validate(trust)


def test_versions_order_by_number() -> None:
    parse = KubernetesVersion.parse
    assert parse("1.34.10") > parse("v1.34.4")
    assert str(parse("1.34.4")) == "v1.34.4"
