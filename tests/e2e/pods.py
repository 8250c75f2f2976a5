"""Pods on all nodes of a cluster that speak to each other, by each family of addresses."""

import ipaddress
import json
from collections.abc import Iterator
from typing import Any

from tests.e2e.conftest import run
from tests.e2e.oracle import Scene

PORT = 8080
TRIES = 24
"""To a service of two pods: one of them is missed by chance once in eight million times."""


def documents(families: list[str]) -> dict[str, Any]:
    """One echo server on each node, those of control planes too, and a service in front."""
    labels = {"app": "echo"}
    container = {
        "name": "echo",
        "image": "lab.local/echo:1",
        "imagePullPolicy": "Never",
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
    }
    pods = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "echo", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"tolerations": [{"operator": "Exists"}], "containers": [container]},
            },
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "echo", "namespace": "default"},
        "spec": {
            "selector": labels,
            "ipFamilies": families,
            "ipFamilyPolicy": "RequireDualStack" if len(families) > 1 else "SingleStack",
            "ports": [{"port": PORT}],
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [pods, service]}


def answers(node: str, pod: str, to: str, times: int = 1) -> Iterator[dict[str, Any]]:
    """Ask an address out of a pod's network, from the node that the pod is on."""
    url = f"http://{f'[{to}]' if ':' in to else to}:{PORT}/"
    # The pod has no shell: its network namespace is found by its address, and curl is the node's.
    script = (
        'for one in /run/netns/*; do nsenter --net="$one" ip -o address show | grep -qF " $1/" '
        '|| continue; for _ in $(seq "$3"); do nsenter --net="$one" curl -gfsS --max-time 5 '
        '--retry 10 --retry-all-errors "$2"; done; exit; done; echo "no pod has $1" >&2; exit 1'
    )
    said = run("moorage-lab", "shell", node, "--", "sh", "-c", script, "sh", pod, url, str(times))
    return (json.loads(line) for line in said.splitlines())


def speak_to_each_other(scene: Scene, *families: str) -> int:
    """Hold each pod's way to each pod of another node, and to the service, against the claim.

    Returns how many ways there are. Traffic between pods is not hidden behind a node's address.
    """
    file = scene.stack.directory / f"{scene.name}-echo.json"
    file.write_text(json.dumps(documents(list(families))))
    scene.kubectl("apply", "-f", str(file))
    scene.kubectl("rollout", "status", "daemonset/echo", "--timeout=50s")
    items = json.loads(scene.kubectl("get", "pods", "-l", "app=echo", "-o", "json"))["items"]
    nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in items}
    held = {
        pod["metadata"]["name"]: [one["ip"] for one in pod["status"]["podIPs"]] for pod in items
    }
    assert len(set(nodes.values())) == scene.nodes
    service = json.loads(scene.kubectl("get", "service", "echo", "-o", "json"))
    addresses = service["spec"]["clusterIPs"]
    versions = [6 if family == "IPv6" else 4 for family in families]
    assert [ipaddress.ip_address(one).version for one in addresses] == versions

    ways = 0
    for source, node in nodes.items():
        for place, own in enumerate(held[source]):
            assert ipaddress.ip_address(own).version == versions[place]
            for target, theirs in held.items():
                if target == source:
                    continue
                (said,) = answers(node, own, theirs[place])
                assert said["hostname"] == target
                client = said["client"].rpartition(":")[0].strip("[]")
                assert client == own, "pods see each other's own addresses"
                ways += 1
            reached = {one["hostname"] for one in answers(node, own, addresses[place], TRIES)}
            assert reached == set(nodes), f"the service at {addresses[place]} leads to all pods"
            ways += 1
    return ways
