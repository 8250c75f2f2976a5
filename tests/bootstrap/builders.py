"""Valid inputs with one line of difference, and a PKI whose derived secrets are fixed."""

import base64
import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from moorage.bootstrap import Card, ClusterPKI, NodeInput, StaticAddress, generate, render_guestinfo
from moorage.resources import Cluster, Machine
from moorage.resources.cluster import KeyType

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UID = "0b0c5d4e-1111-4222-8333-444455556666"
ADDRESS = StaticAddress("10.77.1.10", 16, "10.77.0.1", ("10.77.0.1",), ("example.com",))
DOMAIN = {
    "name": "az1",
    "computeCluster": "Cluster1",
    "datastore": "ds1",
    "network": "VM Network",
    "ipPool": "nodes",
}


@cache
def a_pki(key_type: KeyType = KeyType.P256) -> ClusterPKI:
    """Return keys that are new for each run, with a master secret that never changes."""
    return replace(generate(key_type, "demo", NOW), master=bytes(range(32)))


def a_cluster(**spec: Any) -> Cluster:
    document = {
        "account": "vc",
        "kubernetesVersion": "v1.34.4",
        "placement": {
            "datacenter": "DC1",
            "folder": "moorage",
            "template": "ubuntu-k8s",
            "failureDomains": [DOMAIN],
        },
    }
    return Cluster.model_validate(
        {
            "metadata": {"name": "demo", "project": "default", "uid": "c-uid"},
            "spec": {**document, **spec},
        }
    )


def a_machine(role: str = "worker", bootstrap: str = "join", **spec: Any) -> Machine:
    document = {
        "cluster": "demo",
        "role": role,
        "bootstrap": bootstrap,
        "account": "vc",
        "kubernetesVersion": "v1.34.4",
        "datacenter": "DC1",
        "folder": "moorage",
        "template": "ubuntu-k8s",
        "failureDomain": DOMAIN,
        "cpus": 2,
        "memoryMib": 4096,
    }
    return Machine.model_validate(
        {
            "metadata": {"name": "demo-md-0b0c5d4e11", "project": "default", "uid": UID},
            "spec": {**document, **spec},
        }
    )


def a_node(
    role: str = "worker",
    bootstrap: str = "join",
    *,
    cluster: Cluster | None = None,
    address: StaticAddress | tuple[StaticAddress, ...] | None = ADDRESS,
    more: tuple[Card, ...] = (),
    **machine: Any,
) -> NodeInput:
    addresses = address if isinstance(address, tuple) else (address,) if address else ()
    return NodeInput(
        machine=a_machine(role, bootstrap, **machine),
        cluster=cluster or a_cluster(),
        endpoint_host="10.77.1.5",
        endpoint_port=6443,
        pki=a_pki(),
        cards=(Card(addresses), *more),
    )


FOUNDER = ("control-plane", "init")
CONTROL_PLANE = ("control-plane", "join")
WORKER = ("worker", "join")
ALL_ROLES = (FOUNDER, CONTROL_PLANE, WORKER)


def cloud_config_of(node: NodeInput) -> dict[str, Any]:
    """Unpack the user data as cloud-init does."""
    packed = render_guestinfo(node)["guestinfo.userdata"]
    header, _, body = gzip.decompress(base64.b64decode(packed)).decode().partition("\n")
    assert header == "#cloud-config"
    config: dict[str, Any] = json.loads(body)
    return config


def files_of(node: NodeInput) -> dict[str, dict[str, str]]:
    """Return the files of a node by path."""
    return {entry["path"]: entry for entry in cloud_config_of(node)["write_files"]}
