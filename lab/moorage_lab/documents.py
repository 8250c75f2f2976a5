"""Documents for a product under test that fit the default inventory: who uses the lab writes none.

They are plain data in the words of the product's users; the lab itself reads none of it.
"""

from collections.abc import Mapping
from typing import Any


def cluster_document(
    name: str,
    *,
    control_plane: int = 1,
    workers: int = 1,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A cluster over both compute clusters, with addresses from the pool `nodes`.

    Args:
        name: Its name.
        control_plane: How many control-plane machines.
        workers: How many machines in its one pool, `workers`.
        labels: Of the cluster.
    """
    domain = {"datastore": "ds1", "network": "nodes", "ipPool": "nodes"}
    domains = [
        {"name": one, "computeCluster": where, **domain}
        for one, where in (("a", "cc1"), ("b", "cc2"))
    ]
    return {
        "kind": "Cluster",
        "metadata": {"name": name, **({"labels": dict(labels)} if labels else {})},
        "spec": {
            "account": "lab",
            "kubernetesVersion": "v1.34.4",
            "placement": {
                "datacenter": "dc1",
                "folder": "clusters",
                "template": "templates/ubuntu-2404-kube-v1.34.4",
                "failureDomains": domains,
            },
            "controlPlane": {"replicas": control_plane},
        },
        "nodePools": [{"name": "workers", "replicas": workers}],
    }


def on_containers(document: dict[str, Any]) -> dict[str, Any]:
    """The same cluster for the lab's real nodes, which are containers on a small machine."""
    kubelet = {
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "failCgroupV1": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
    }
    conntrack = {
        "maxPerCore": 0,
        "min": 0,
        "tcpEstablishedTimeout": "0s",
        "tcpCloseWaitTimeout": "0s",
    }
    node = {
        "ignorePreflightErrors": ["SystemVerification", "NumCPU", "Mem"],
        "kubeletConfiguration": kubelet,
        "kubeProxyConfiguration": {"mode": "iptables", "conntrack": conntrack},
    }
    return {**document, "spec": {**document["spec"], "node": node}}
