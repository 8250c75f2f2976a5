"""Layers become manifests; wrong ones say what there is instead."""

import json
from typing import Any

import pytest
from inline_snapshot import snapshot

from moorage.kit.errors import InvalidError
from moorage.packs import PACKS, RenderedLayer, render_layer
from moorage.resources import Cluster
from moorage.resources.cluster import Layer


def a_cluster(*layers: dict[str, Any], **network: Any) -> Cluster:
    domain = {"name": "a", "computeCluster": "c", "datastore": "d", "network": "n", "ipPool": "p"}
    placement = {
        "datacenter": "DC",
        "folder": "f",
        "template": "t",
        "failureDomains": [domain],
    }
    spec = {
        "account": "vc",
        "kubernetesVersion": "v1.34.4",
        "placement": placement,
        "network": network,
        "layers": list(layers) or [{"name": "cni", "pack": "flannel"}],
    }
    return Cluster.model_validate({"metadata": {"name": "demo"}, "spec": spec})


def render(layer: dict[str, Any] | None = None, **network: Any) -> RenderedLayer:
    document = {"name": "cni", "pack": "flannel", **(layer or {})}
    return render_layer(Layer.model_validate(document), a_cluster(**network))


def by_kind(rendered: RenderedLayer) -> dict[str, Any]:
    return {item["kind"]: item for item in rendered.objects}


def network_of(rendered: RenderedLayer) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(by_kind(rendered)["ConfigMap"]["data"]["net-conf.json"])
    return document


def images_of(rendered: RenderedLayer) -> list[str]:
    pod = by_kind(rendered)["DaemonSet"]["spec"]["template"]["spec"]
    return [c["image"] for c in (*pod["initContainers"], *pod["containers"])]


def faults_of(layer: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidError) as caught:
        render(layer)
    return {fault.path: fault.message for fault in caught.value.faults}


def test_default_layer() -> None:
    rendered = render()

    assert (rendered.pack, rendered.version) == ("flannel", "v0.28.4")
    assert [item["kind"] for item in rendered.objects] == snapshot(
        [
            "Namespace",
            "ClusterRole",
            "ClusterRoleBinding",
            "ServiceAccount",
            "ConfigMap",
            "DaemonSet",
        ]
    )
    assert images_of(rendered) == snapshot(
        [
            "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1",
            "ghcr.io/flannel-io/flannel:v0.28.4",
            "ghcr.io/flannel-io/flannel:v0.28.4",
        ]
    )
    assert network_of(rendered) == snapshot(
        {"Network": "10.244.0.0/16", "EnableNFTables": False, "Backend": {"Type": "vxlan"}}
    )


def test_pod_network_is_the_clusters() -> None:
    assert network_of(render(pods="172.20.0.0/16"))["Network"] == "172.20.0.0/16"


def test_vxlan_values() -> None:
    values = {"mtu": 1400, "vni": 7, "port": 4789, "directRouting": True}

    assert network_of(render({"values": values}))["Backend"] == snapshot(
        {"Type": "vxlan", "VNI": 7, "Port": 4789, "MTU": 1400, "DirectRouting": True}
    )


def test_host_gateway() -> None:
    assert network_of(render({"values": {"backend": "host-gw"}}))["Backend"] == {"Type": "host-gw"}


def test_interface_is_an_argument() -> None:
    rendered = render({"values": {"interface": "ens192"}})

    (container,) = by_kind(rendered)["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == "--iface=ens192"


def test_registry_of_an_air_gapped_site() -> None:
    assert images_of(render({"values": {"registry": "registry.local:5000/mirror"}})) == snapshot(
        [
            "registry.local:5000/mirror/flannel-io/flannel-cni-plugin:v1.9.1-flannel1",
            "registry.local:5000/mirror/flannel-io/flannel:v0.28.4",
            "registry.local:5000/mirror/flannel-io/flannel:v0.28.4",
        ]
    )


def test_images_in_full() -> None:
    images = {"flannel": "local/flannel:1", "cniPlugin": "local/plugin:1"}

    assert images_of(render({"values": {"images": images}})) == [
        "local/plugin:1",
        "local/flannel:1",
        "local/flannel:1",
    ]


def test_changed_configuration_restarts_flannel_and_an_equal_one_does_not() -> None:
    def annotations(**values: object) -> object:
        daemons = by_kind(render({"values": values}))["DaemonSet"]
        return daemons["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations()
    assert annotations() != annotations(mtu=1400)


def test_rendering_leaves_the_package_alone() -> None:
    render({"values": {"registry": "elsewhere"}})

    assert images_of(render())[0].startswith("ghcr.io/")


def test_version_with_and_without_its_letter() -> None:
    assert render({"version": "0.28.4"}) == render({"version": "v0.28.4"}) == render()


def test_unknown_pack_lists_those_there_are() -> None:
    assert faults_of({"pack": "calico"}) == {"spec.layers[0].pack": "choose one of flannel"}


def test_unknown_version_lists_those_there_are() -> None:
    assert faults_of({"version": "v0.1.0"}) == {"spec.layers[0].version": "choose one of v0.28.4"}


def test_all_faults_of_the_values_at_once() -> None:
    values = {"bakend": "vxlan", "mtu": 10, "images": {"flannel": ""}, "registry": "https://x"}

    faults = faults_of({"values": values})

    root = "spec.layers[0].values"
    assert sorted(faults) == [
        f"{root}.bakend",
        f"{root}.images.flannel",
        f"{root}.mtu",
        f"{root}.registry",
    ]
    assert faults[f"{root}.bakend"].startswith("pack flannel has no such value; it has backend, ")
    assert faults[f"{root}.registry"] == (
        "'https://x': give host, host:port or host:port/path, without https://"
    )


@pytest.mark.parametrize(
    ("pods", "services", "said"),
    [
        (
            ["10.244.0.0/16", "fd00:10:244::/56"],
            ["10.96.0.0/16", "fd00:10:96::/112"],
            {"Network": "10.244.0.0/16", "EnableIPv6": True, "IPv6Network": "fd00:10:244::/56"},
        ),
        (
            "fd00:10:244::/56",
            "fd00:10:96::/112",
            {"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fd00:10:244::/56"},
        ),
    ],
)
def test_flannel_speaks_the_families_of_the_cluster(pods: Any, services: Any, said: Any) -> None:
    rendered = by_kind(render(pods=pods, services=services))

    network = json.loads(rendered["ConfigMap"]["data"]["net-conf.json"])
    assert network == {**said, "EnableNFTables": False, "Backend": {"Type": "vxlan"}}


def test_vxlan_values_need_vxlan() -> None:
    assert faults_of({"values": {"backend": "host-gw", "mtu": 1400}}) == {
        "spec.layers[0].values": "mtu: only for backend vxlan, not host-gw"
    }


def test_every_version_of_every_pack_renders() -> None:
    for pack in PACKS.values():
        for version in pack.versions:
            layer = Layer(name="cni", pack=pack.name, version=version)
            for item in render_layer(layer, a_cluster()).objects:
                assert item["apiVersion"]
                assert item["metadata"]["name"]
