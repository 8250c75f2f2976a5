"""kubeadm's configuration (v1beta4), for the machine that founds a cluster and for joiners."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from moorage.bootstrap.labels import split_labels, topology_labels
from moorage.bootstrap.node import NodeInput
from moorage.bootstrap.pki import bootstrap_token, certificate_key
from moorage.kit.net import host_port
from moorage.resources.cluster import API_PORT, EndpointType, KeyType
from moorage.resources.spans import V6

API_VERSION = "kubeadm.k8s.io/v1beta4"
NODE_IP: Final = "@MOORAGE_NODE_IP@"
NODE_IPS: Final = "@MOORAGE_NODE_IPS@"
PROVIDER_ID: Final = "@MOORAGE_PROVIDER_ID@"
"""Placeholders that the boot script fills in: only the node knows its UUID and, with DHCP, its
addresses: the first, and one of each family with a comma between them."""

DISCOVERY_PATH = "/etc/moorage/discovery.conf"
POWERLESS_GROUP = "system:bootstrappers:moorage:powerless"
CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}

# All machines boot at once. etcd takes one learner at a time, so that the last of five control
# planes waits for three before it; kubeadm's own limits are made for one joiner at a time.
_TIMEOUTS = {
    "controlPlaneComponentHealthCheck": "10m0s",
    "discovery": "10m0s",
    "etcdAPICall": "15m0s",
    "kubernetesAPICall": "5m0s",
    "tlsBootstrap": "15m0s",
}
_ALGORITHMS = {KeyType.P256: "ECDSA-P256", KeyType.RSA2048: "RSA-2048"}

Document = dict[str, Any]


def render_kubeadm(node: NodeInput) -> str:
    """Render the file for ``kubeadm init`` or ``kubeadm join`` as YAML documents."""
    documents = _init_documents(node) if node.is_first else [_join_configuration(node)]
    return yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True)


def _init_documents(node: NodeInput) -> list[Document]:
    return [
        _cluster_configuration(node),
        _init_configuration(node),
        kubelet_configuration(node),
        kube_proxy_configuration(node),
    ]


def _cluster_configuration(node: NodeInput) -> Document:
    spec = node.cluster.spec
    endpoint = host_port(node.endpoint_host, node.endpoint_port)
    document: Document = {
        "apiVersion": API_VERSION,
        "kind": "ClusterConfiguration",
        "clusterName": node.cluster.metadata.name,
        "kubernetesVersion": node.machine.spec.kubernetes_version,
        "controlPlaneEndpoint": endpoint,
        "encryptionAlgorithm": _ALGORITHMS[spec.key_type],
        "networking": {
            "podSubnet": ",".join(map(str, spec.network.pods)),
            "serviceSubnet": ",".join(map(str, spec.network.services)),
            "dnsDomain": spec.network.dns_domain,
        },
        # The node's own addresses are kubeadm's own addition. The loopback is for tunnels.
        "apiServer": {"certSANs": [node.endpoint_host, "localhost", *_loopback(node)]},
    }
    if spec.cloud_provider == "vsphere":
        document["controllerManager"] = {
            "extraArgs": [{"name": "cloud-provider", "value": "external"}]
        }
    return document


def _init_configuration(node: NodeInput) -> Document:
    return {
        "apiVersion": API_VERSION,
        "kind": "InitConfiguration",
        "localAPIEndpoint": _local_endpoint(node),
        "nodeRegistration": node_registration(node),
        # kubeadm always makes one token, by default one that joins nodes for a day. This one is
        # nobody's and in a group without rights: joiners have tokens of their own.
        "bootstrapTokens": [
            {
                "token": bootstrap_token(node.pki, node.machine.metadata.uid),
                "description": "without rights: kubeadm insists on one",
                "ttl": "1m0s",
                "usages": ["authentication", "signing"],
                "groups": [POWERLESS_GROUP],
            }
        ],
        "skipPhases": ["show-join-command"],
        "timeouts": dict(_TIMEOUTS),
    }


def _join_configuration(node: NodeInput) -> Document:
    document: Document = {
        "apiVersion": API_VERSION,
        "kind": "JoinConfiguration",
        "discovery": {"file": {"kubeConfigPath": DISCOVERY_PATH}},
        "nodeRegistration": node_registration(node),
        "timeouts": dict(_TIMEOUTS),
    }
    if node.is_control_plane:
        document["controlPlane"] = {
            "localAPIEndpoint": _local_endpoint(node),
            "certificateKey": certificate_key(node.pki),
        }
    return document


def _local_endpoint(node: NodeInput) -> Document:
    # An external load balancer may listen on another port than the API servers behind it.
    is_external = node.cluster.spec.endpoint.type is EndpointType.EXTERNAL
    port = API_PORT if is_external else node.endpoint_port
    return {"advertiseAddress": _node_ip(node), "bindPort": port}


def _node_ip(node: NodeInput) -> str:
    return next(iter(node.node_ips), NODE_IP)


def _loopback(node: NodeInput) -> list[str]:
    return ["127.0.0.1", "::1"] if V6 in node.versions else ["127.0.0.1"]


def node_registration(node: NodeInput) -> Document:
    """Return the ``nodeRegistration`` of one machine: name, taints and kubelet's flags."""
    machine, cluster = node.machine.spec, node.cluster.spec
    labels = dict(machine.labels)
    if cluster.cloud_provider == "none":
        labels = {**topology_labels(machine.failure_domain), **labels}
    own, _ = split_labels(labels)
    arguments = {"provider-id": PROVIDER_ID}
    # A kubelet follows the lease of one family: of IPv4 when left alone, of IPv6 when told so. Both
    # families it takes as fixed addresses only. A control plane cannot follow: etcd does not.
    follows = not node.node_ips and not node.is_control_plane and len(node.versions) == 1
    if not follows:
        arguments["node-ip"] = ",".join(node.node_ips) or NODE_IPS
    elif node.versions == (V6,):
        arguments["node-ip"] = "::"
    if own:
        arguments["node-labels"] = ",".join(f"{key}={value}" for key, value in own.items())
    if cluster.cloud_provider == "vsphere":
        arguments["cloud-provider"] = "external"
    taints = [taint.document() for taint in machine.taints]
    if node.is_control_plane and not cluster.control_plane.schedulable:
        taints.insert(0, CONTROL_PLANE_TAINT)
    return {
        "name": node.name,
        "taints": taints,
        "kubeletExtraArgs": [
            {"name": name, "value": value} for name, value in sorted(arguments.items())
        ],
        "ignorePreflightErrors": sorted(set(cluster.node.ignore_preflight_errors)),
        "imagePullPolicy": "IfNotPresent",
    }


def kubelet_configuration(node: NodeInput) -> Document:
    """Return the cluster-wide ``KubeletConfiguration``: joiners read it from the cluster."""
    base: Document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Pods of a starting node are many and small images: one at a time would be in line.
        "serializeImagePulls": False,
    }
    return merge(base, node.cluster.spec.node.kubelet_configuration)


def kube_proxy_configuration(node: NodeInput) -> Document:
    """Return the cluster-wide ``KubeProxyConfiguration``."""
    base: Document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
    }
    return merge(base, node.cluster.spec.node.kube_proxy_configuration)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Document:
    """Lay ``over`` over ``base``: mappings merge, everything else is replaced.

    ``apiVersion`` and ``kind`` stay: with others kubeadm would not know the document.
    """
    merged = dict(base)
    for key, value in over.items():
        if key in {"apiVersion", "kind"}:
            continue
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged
