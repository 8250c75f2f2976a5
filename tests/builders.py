"""Valid resources with one line of difference. Tests import these; the product never does."""

from datetime import UTC, datetime
from typing import Any

from moorage.kit.ids import new_uid
from moorage.resources import Cluster, IPPool, Machine, Metadata, NodePool
from moorage.resources.cluster import ClusterSpec, FailureDomain
from moorage.resources.ippool import IPPoolSpec
from moorage.resources.kubernetes import Role
from moorage.resources.machine import MachineSpec
from moorage.resources.nodepool import NodePoolSpec

EARLY = datetime(2026, 1, 1, tzinfo=UTC)


def a_failure_domain(name: str = "a", **changes: Any) -> FailureDomain:
    """Return a failure domain of the lab's default inventory."""
    given: dict[str, Any] = {
        "name": name,
        "compute_cluster": "cc1",
        "datastore": "ds1",
        "network": "nodes",
        "ip_pool": "nodes",
    }
    return FailureDomain.model_validate({**given, **changes})


def a_cluster_spec(**changes: Any) -> ClusterSpec:
    """Return what is asked of a small cluster with static addresses."""
    given: dict[str, Any] = {
        "account": "lab",
        "kubernetes_version": "v1.34.4",
        "placement": {
            "datacenter": "dc1",
            "folder": "clusters",
            "template": "templates/ubuntu-2404-kube-v1.34.4",
            "failure_domains": [a_failure_domain("a"), a_failure_domain("b")],
        },
    }
    return ClusterSpec.model_validate({**given, **changes})


def a_cluster(name: str = "demo", **changes: Any) -> Cluster:
    """Return a cluster of project ``default``."""
    return Cluster(
        metadata=Metadata(name=name, project="default", uid=new_uid(), route="site-a", epoch=1),
        spec=a_cluster_spec(**changes),
    )


def a_node_pool(cluster: str = "demo", pool: str = "workers", **changes: Any) -> NodePool:
    """Return a node pool."""
    return NodePool(
        metadata=Metadata(name=f"{cluster}-{pool}", project="default", route="site-a", epoch=1),
        spec=NodePoolSpec.model_validate({"cluster": cluster, "pool": pool, **changes}),
    )


def an_ip_pool(name: str = "nodes", **changes: Any) -> IPPool:
    """Return a pool of twenty addresses, each free again as soon as it is released."""
    given: dict[str, Any] = {
        "gateway": "site-a",
        "start": "10.77.1.10",
        "end": "10.77.1.29",
        "prefix": 16,
        "router": "10.77.0.1",
        "hold_off_s": 0,
    }
    if "subnet" in changes:
        given = {"gateway": "site-a", "router": "10.77.0.1", "hold_off_s": 0}
    return IPPool(
        metadata=Metadata(name=name, route="site-a", epoch=1),
        spec=IPPoolSpec.model_validate({**given, **changes}),
    )


def a_machine(
    name: str | None = None, *, domain: str = "a", created_at: datetime = EARLY, **changes: Any
) -> Machine:
    """Return a worker machine."""
    uid = new_uid()
    given: dict[str, Any] = {
        "cluster": "demo",
        "pool": "workers",
        "role": Role.WORKER,
        "bootstrap": "join",
        "account": "lab",
        "kubernetes_version": "v1.34.4",
        "datacenter": "dc1",
        "folder": "clusters",
        "template": "templates/ubuntu-2404-kube-v1.34.4",
        "failure_domain": a_failure_domain(domain),
        "cpus": 2,
        "memory_mib": 2048,
    }
    return Machine(
        metadata=Metadata(
            name=name or f"demo-workers-{uid[:8]}",
            project="default",
            uid=uid,
            created_at=created_at,
        ),
        spec=MachineSpec.model_validate({**given, **changes}),
    )
