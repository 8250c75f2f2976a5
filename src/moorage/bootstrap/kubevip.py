"""kube-vip as a static pod: the virtual address of the API servers, moved by leader election.

The manifest is what ``kube-vip manifest pod --controlplane --arp --leaderElection`` makes, with
shorter lease times and with the kubeconfig that the node really has when kube-vip starts.
"""

from typing import Any

import yaml

from moorage.bootstrap.node import NodeInput
from moorage.resources.cluster import EndpointType

IMAGE = "ghcr.io/kube-vip/kube-vip:v1.0.4"
"""Up to v1.0.1 it dies when the name of a DDNS endpoint has no address yet (kube-vip issue 1305),
and up to v1.0.3 an election may stall (issue 1377)."""
MANIFEST_PATH = "/etc/kubernetes/manifests/kube-vip.yaml"

# 5/3/1 instead of 15/10/2: the API answers again within 10 s of its holder's death.
_LEASE_S, _RENEW_S, _RETRY_S = 5, 3, 1


def uses_kube_vip(node: NodeInput) -> bool:
    """Tell whether this machine carries the virtual address."""
    return node.is_control_plane and node.cluster.spec.endpoint.type is not EndpointType.EXTERNAL


def render_kube_vip(node: NodeInput) -> str:
    """Render the static pod's manifest for one control-plane machine."""
    # Until kubeadm init is done, admin.conf has no rights (since 1.29): the founder needs
    # super-admin.conf, and keeps it, because changing the pod would drop the address for seconds.
    kubeconfig = "super-admin.conf" if node.is_first else "admin.conf"
    is_leased = node.cluster.spec.endpoint.type is EndpointType.DDNS
    environment: list[dict[str, Any]] = [
        {"name": "vip_arp", "value": "true"},
        {"name": "port", "value": str(node.endpoint_port)},
        {
            "name": "vip_nodename",
            "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
        },
        {"name": "vip_interface", "value": node.cluster.spec.endpoint.interface},
        {"name": "vip_subnet", "value": "128" if ":" in node.endpoint_host else "32"},
        {"name": "dns_mode", "value": "first"},
        {"name": "cp_enable", "value": "true"},
        {"name": "cp_namespace", "value": "kube-system"},
        {"name": "vip_leaderelection", "value": "true"},
        {"name": "vip_leasename", "value": "plndr-cp-lock"},
        {"name": "vip_leaseduration", "value": str(_LEASE_S)},
        {"name": "vip_renewdeadline", "value": str(_RENEW_S)},
        {"name": "vip_retryperiod", "value": str(_RETRY_S)},
        {"name": "address", "value": node.endpoint_host},
        # Leased under the first part of the endpoint's name, which the DHCP server enters into DNS.
        *([{"name": "vip_ddns", "value": "true"}] if is_leased else []),
        {"name": "prometheus_server", "value": ":2112"},
    ]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kube-vip", "namespace": "kube-system"},
        "spec": {
            "containers": [
                {
                    "name": "kube-vip",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["manager"],
                    "env": environment,
                    "securityContext": {
                        "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]}
                    },
                    "volumeMounts": [
                        {"name": "kubeconfig", "mountPath": "/etc/kubernetes/admin.conf"}
                    ],
                }
            ],
            # kube-vip speaks to the API server beside it, never through the address it carries.
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["kubernetes"]}],
            "hostNetwork": True,
            "priorityClassName": "system-node-critical",
            "volumes": [
                {
                    "name": "kubeconfig",
                    "hostPath": {
                        "path": f"/etc/kubernetes/{kubeconfig}",
                        "type": "FileOrCreate",
                    },
                }
            ],
        },
    }
    return yaml.safe_dump(pod, sort_keys=False)
