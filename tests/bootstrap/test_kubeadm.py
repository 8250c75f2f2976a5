"""kubeadm's configuration, by role and by what the cluster asks for."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from inline_snapshot import snapshot

from moorage.bootstrap import StaticAddress
from moorage.bootstrap.kubeadm import DISCOVERY_PATH, NODE_IP, NODE_IPS, merge, render_kubeadm
from moorage.bootstrap.labels import may_set_itself, split_labels
from moorage.bootstrap.node import NodeInput
from moorage.bootstrap.pki import bootstrap_token
from moorage.resources.cluster import KeyType

from .builders import (
    ADDRESS,
    ALL_ROLES,
    CONTROL_PLANE,
    DOMAIN,
    FOUNDER,
    UID,
    WORKER,
    a_cluster,
    a_node,
    a_pki,
    files_of,
)


def documents(node: NodeInput) -> dict[str, Any]:
    return {item["kind"]: item for item in yaml.safe_load_all(render_kubeadm(node))}


def kubelet_arguments(node: NodeInput) -> dict[str, str]:
    (document,) = (d for d in documents(node).values() if "nodeRegistration" in d)
    return {a["name"]: a["value"] for a in document["nodeRegistration"]["kubeletExtraArgs"]}


def test_founder() -> None:
    assert render_kubeadm(a_node(*FOUNDER)) == snapshot("""\
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: demo
kubernetesVersion: v1.34.4
controlPlaneEndpoint: 10.77.1.5:6443
encryptionAlgorithm: ECDSA-P256
networking:
  podSubnet: 10.244.0.0/16
  serviceSubnet: 10.96.0.0/12
  dnsDomain: cluster.local
apiServer:
  certSANs:
  - 10.77.1.5
  - localhost
  - 127.0.0.1
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: 10.77.1.10
  bindPort: 6443
nodeRegistration:
  name: demo-md-0b0c5d4e11
  taints:
  - key: node-role.kubernetes.io/control-plane
    effect: NoSchedule
  kubeletExtraArgs:
  - name: node-ip
    value: 10.77.1.10
  - name: node-labels
    value: topology.kubernetes.io/zone=az1
  - name: provider-id
    value: '@MOORAGE_PROVIDER_ID@'
  ignorePreflightErrors: []
  imagePullPolicy: IfNotPresent
bootstrapTokens:
- token: esscbu.qt90ks2gdogywf3n
  description: 'without rights: kubeadm insists on one'
  ttl: 1m0s
  usages:
  - authentication
  - signing
  groups:
  - system:bootstrappers:moorage:powerless
skipPhases:
- show-join-command
timeouts:
  controlPlaneComponentHealthCheck: 10m0s
  discovery: 10m0s
  etcdAPICall: 15m0s
  kubernetesAPICall: 5m0s
  tlsBootstrap: 15m0s
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
serializeImagePulls: false
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
""")


def test_later_control_plane() -> None:
    assert render_kubeadm(a_node(*CONTROL_PLANE)) == snapshot("""\
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  file:
    kubeConfigPath: /etc/moorage/discovery.conf
nodeRegistration:
  name: demo-md-0b0c5d4e11
  taints:
  - key: node-role.kubernetes.io/control-plane
    effect: NoSchedule
  kubeletExtraArgs:
  - name: node-ip
    value: 10.77.1.10
  - name: node-labels
    value: topology.kubernetes.io/zone=az1
  - name: provider-id
    value: '@MOORAGE_PROVIDER_ID@'
  ignorePreflightErrors: []
  imagePullPolicy: IfNotPresent
timeouts:
  controlPlaneComponentHealthCheck: 10m0s
  discovery: 10m0s
  etcdAPICall: 15m0s
  kubernetesAPICall: 5m0s
  tlsBootstrap: 15m0s
controlPlane:
  localAPIEndpoint:
    advertiseAddress: 10.77.1.10
    bindPort: 6443
  certificateKey: e46e0a57f6d745da38c452028c5860e99c63188f5a7c3a368b2709f41ee2e98d
""")


def test_worker() -> None:
    assert render_kubeadm(a_node(*WORKER)) == snapshot("""\
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  file:
    kubeConfigPath: /etc/moorage/discovery.conf
nodeRegistration:
  name: demo-md-0b0c5d4e11
  taints: []
  kubeletExtraArgs:
  - name: node-ip
    value: 10.77.1.10
  - name: node-labels
    value: topology.kubernetes.io/zone=az1
  - name: provider-id
    value: '@MOORAGE_PROVIDER_ID@'
  ignorePreflightErrors: []
  imagePullPolicy: IfNotPresent
timeouts:
  controlPlaneComponentHealthCheck: 10m0s
  discovery: 10m0s
  etcdAPICall: 15m0s
  kubernetesAPICall: 5m0s
  tlsBootstrap: 15m0s
""")


def test_kubeadms_own_token_has_no_rights() -> None:
    (token,) = documents(a_node(*FOUNDER))["InitConfiguration"]["bootstrapTokens"]

    assert token["token"] == bootstrap_token(a_pki(), UID)
    assert token["groups"] == ["system:bootstrappers:moorage:powerless"]


def test_a_cluster_of_both_families_says_so_to_kubeadm() -> None:
    network = {
        "pods": ["fd00:10:244::/56", "10.244.0.0/16"],
        "services": ["fd00:10:96::/112", "10.96.0.0/16"],
    }
    addresses = (ADDRESS, StaticAddress("fd77::10", 64, "fe80::1"))
    given = a_node(*FOUNDER, cluster=a_cluster(network=network), address=addresses)
    node = replace(given, endpoint_host="fd77::5")

    found = {one["kind"]: one for one in yaml.safe_load_all(render_kubeadm(node))}

    cluster = found["ClusterConfiguration"]
    assert cluster["controlPlaneEndpoint"] == "[fd77::5]:6443"
    assert cluster["networking"]["podSubnet"] == "fd00:10:244::/56,10.244.0.0/16"
    assert cluster["networking"]["serviceSubnet"] == "fd00:10:96::/112,10.96.0.0/16"
    assert "::1" in cluster["apiServer"]["certSANs"]
    assert found["InitConfiguration"]["localAPIEndpoint"]["advertiseAddress"] == "fd77::10"
    assert kubelet_arguments(node)["node-ip"] == "fd77::10,10.77.1.10", "the main family first"


@pytest.mark.parametrize("role", [CONTROL_PLANE, WORKER])
def test_only_a_worker_follows_its_lease(role: tuple[str, str]) -> None:
    arguments = kubelet_arguments(a_node(*role, address=None))

    assert ("node-ip" in arguments) is (role == CONTROL_PLANE)


def test_a_worker_is_told_to_follow_a_lease_of_ipv6_and_cannot_follow_both() -> None:
    six, four = "fd00:10:244::/56", "10.244.0.0/16"
    services = {six: "fd00:10:96::/112", four: "10.96.0.0/16"}

    def asked(*pods: str) -> str | None:
        network = {"pods": list(pods), "services": [services[one] for one in pods]}
        cluster = a_cluster(network=network)
        return kubelet_arguments(a_node(*WORKER, cluster=cluster, address=None)).get("node-ip")

    assert asked(four) is None
    assert asked(six) == "::"
    assert asked(four, six) == NODE_IPS


def test_a_leased_endpoint_is_known_by_its_name_everywhere() -> None:
    cluster = a_cluster(endpoint={"type": "DDNS", "searchDomain": "example.com", "port": 8443})
    given = replace(a_node(*FOUNDER, cluster=cluster, address=None), endpoint_port=8443)
    node = replace(given, endpoint_host="demo.example.com")

    found = {one["kind"]: one for one in yaml.safe_load_all(render_kubeadm(node))}
    manifest = yaml.safe_load(files_of(node)["/etc/kubernetes/manifests/kube-vip.yaml"]["content"])

    configuration = found["ClusterConfiguration"]
    assert configuration["controlPlaneEndpoint"] == "demo.example.com:8443"
    assert "demo.example.com" in configuration["apiServer"]["certSANs"]
    assert found["InitConfiguration"]["localAPIEndpoint"]["bindPort"] == 8443
    (container,) = manifest["spec"]["containers"]
    said = {one["name"]: one.get("value") for one in container["env"]}
    assert (said["address"], said["vip_ddns"]) == ("demo.example.com", "true")


def test_with_dhcp_the_node_fills_in_its_address() -> None:
    node = a_node(*FOUNDER, address=None)

    endpoint = documents(node)["InitConfiguration"]["localAPIEndpoint"]
    assert endpoint["advertiseAddress"] == NODE_IP
    assert kubelet_arguments(node)["node-ip"] == NODE_IPS


def test_rsa_by_choice() -> None:
    cluster = a_cluster(keyType=KeyType.RSA2048)

    node = a_node(*FOUNDER, cluster=cluster)
    assert documents(node)["ClusterConfiguration"]["encryptionAlgorithm"] == "RSA-2048"


def test_schedulable_control_plane_has_no_taint_of_its_own() -> None:
    shape = {"schedulable": True}
    node = a_node(*FOUNDER, cluster=a_cluster(controlPlane=shape))

    assert documents(node)["InitConfiguration"]["nodeRegistration"]["taints"] == []


def test_taints_of_a_pool_are_registered() -> None:
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    node = a_node(*WORKER, taints=[taint])

    assert documents(node)["JoinConfiguration"]["nodeRegistration"]["taints"] == [taint]


def test_topology_and_pool_labels_that_kubelet_may_set() -> None:
    node = a_node(
        *WORKER,
        failureDomain={**DOMAIN, "region": "west", "zone": "rack-7"},
        labels={
            "tier": "web",
            "node-role.kubernetes.io/worker": "",
            "node-restriction.kubernetes.io/pci": "1",
        },
    )

    assert kubelet_arguments(node)["node-labels"] == (
        "tier=web,topology.kubernetes.io/region=west,topology.kubernetes.io/zone=rack-7"
    )


def test_vsphere_cloud_provider_sets_topology_itself() -> None:
    node = a_node(*FOUNDER, cluster=a_cluster(cloudProvider="vsphere"))

    arguments = kubelet_arguments(node)
    assert arguments["cloud-provider"] == "external"
    assert "node-labels" not in arguments
    assert documents(node)["ClusterConfiguration"]["controllerManager"] == {
        "extraArgs": [{"name": "cloud-provider", "value": "external"}]
    }


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("tier", True),
        ("example.com/tier", True),
        ("topology.kubernetes.io/zone", True),
        ("node.kubernetes.io/anything", True),
        ("sub.kubelet.kubernetes.io/x", True),
        ("kubernetes.io/hostname", True),
        ("kubernetes.io/other", False),
        ("node-role.kubernetes.io/worker", False),
        ("node-restriction.kubernetes.io/x", False),
        ("x.k8s.io/y", False),
        ("notkubernetes.io/y", True),
    ],
)
def test_labels_that_a_node_may_give_itself(key: str, allowed: bool) -> None:
    assert may_set_itself(key) is allowed
    assert split_labels({key: "v"}) == (({key: "v"}, {}) if allowed else ({}, {key: "v"}))


def test_settings_are_laid_over_the_configurations() -> None:
    cluster = a_cluster(
        node={
            "kubeletConfiguration": {
                "kind": "Other",
                "cgroupDriver": "cgroupfs",
                "evictionHard": {"nodefs.available": "0%"},
                "serializeImagePulls": True,
            },
            "kubeProxyConfiguration": {"mode": "iptables", "conntrack": {"min": 0}},
            "ignorePreflightErrors": ["Mem", "NumCPU", "Mem"],
        }
    )
    made = documents(a_node(*FOUNDER, cluster=cluster))

    assert made["KubeletConfiguration"] == snapshot(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "serializeImagePulls": True,
            "cgroupDriver": "cgroupfs",
            "evictionHard": {"nodefs.available": "0%"},
        }
    )
    assert made["KubeProxyConfiguration"] == snapshot(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "conntrack": {"min": 0},
        }
    )
    registration = made["InitConfiguration"]["nodeRegistration"]
    assert registration["ignorePreflightErrors"] == ["Mem", "NumCPU"]


def test_merge_goes_into_mappings_and_replaces_the_rest() -> None:
    base = {"a": {"b": 1, "c": [1]}, "d": 1}

    assert merge(base, {"a": {"c": [2]}, "d": {"e": 1}}) == {"a": {"b": 1, "c": [2]}, "d": {"e": 1}}
    assert base == {"a": {"b": 1, "c": [1]}, "d": 1}


def test_port_behind_an_external_load_balancer_is_the_usual_one() -> None:
    external = {"type": "External", "host": "192.0.2.10", "port": 443}
    node = a_node(*FOUNDER, cluster=a_cluster(endpoint=external))

    assert documents(node)["InitConfiguration"]["localAPIEndpoint"]["bindPort"] == 6443
    assert "/etc/kubernetes/manifests/kube-vip.yaml" not in files_of(node)


def find_kubeadm() -> str | None:
    """Return a real kubeadm: from the path, or one that the lab has built."""
    found = shutil.which("kubeadm")
    cache = Path(os.environ.get("MOORAGE_CACHE") or Path.home() / ".cache/moorage")
    built = sorted(cache.glob("node-part-kubernetes/*/kubeadm"))
    return found or (str(built[-1]) if built else None)


@pytest.mark.skipif(find_kubeadm() is None, reason="no kubeadm: neither installed nor built")
@pytest.mark.parametrize("role", ALL_ROLES)
def test_real_kubeadm_takes_the_file(tmp_path: Path, role: tuple[str, str]) -> None:
    cluster = a_cluster(
        node={"kubeletConfiguration": {"cgroupDriver": "cgroupfs", "failSwapOn": False}}
    )
    node = a_node(
        *role, cluster=cluster, taints=[{"key": "a", "value": "b", "effect": "NoExecute"}]
    )
    written = files_of(node)
    discovery = tmp_path / "discovery.conf"
    if DISCOVERY_PATH in written:
        discovery.write_text(written[DISCOVERY_PATH]["content"])
    config = tmp_path / "kubeadm.yaml"
    config.write_text(render_kubeadm(node).replace(DISCOVERY_PATH, str(discovery)))
    kubeadm = find_kubeadm()
    assert kubeadm is not None

    ran = subprocess.run(
        [kubeadm, "config", "validate", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, ran.stdout.strip()) == (0, "ok"), ran.stderr
    assert "unknown field" not in ran.stderr
