"""Clusters of other shapes on real nodes, and control planes that are replaced.

Run by ``make e2e-long``. Figures are kept by ``oracle.note``.
"""

import ipaddress
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Stack, run, until
from tests.e2e.oracle import Scene, note, probing, witness
from tests.e2e.pods import speak_to_each_other

pytestmark = [pytest.mark.ways, pytest.mark.timeout(900)]

BALANCER = "10.77.0.9"
SIX = "fd00:77::1"
DHCP = ipaddress.ip_network("10.77.8.0/21")


def control_planes(scene: Scene) -> list[str]:
    """Return the names of the control-plane machines."""
    found = [m for m in scene.machines() if m["spec"].get("pool") is None]
    return sorted(machine["metadata"]["name"] for machine in found)


def etcd_members(scene: Scene) -> list[str]:
    """Return the names of etcd's members, as etcd lists them."""
    pod = f"etcd-{control_planes(scene)[0]}"  # that of a machine that has gone may still be listed
    pki = "/etc/kubernetes/pki/etcd"
    listed = scene.kubectl(
        "exec", "-n", "kube-system", pod, "--", "etcdctl",
        "--endpoints=https://127.0.0.1:2379", f"--cacert={pki}/ca.crt",
        f"--cert={pki}/healthcheck-client.crt", f"--key={pki}/healthcheck-client.key",
        "--write-out=json", "member", "list",
    )  # fmt: skip
    return sorted(member["name"] for member in json.loads(listed)["members"])


def replace(scene: Scene, name: str, what: str, **more: Any) -> None:
    """Have a control plane replaced, and hold what is there then against all witnesses."""
    began = time.monotonic()
    scene.stack.moorage("machines", "delete", name, "--yes")
    until(
        lambda: name not in {m["metadata"]["name"] for m in scene.machines()},
        timeout_s=400,
        what=f"{name} is gone",
    )
    took = time.monotonic() - began
    scene.await_ready()
    assert etcd_members(scene) == control_planes(scene)
    note(what, replaced_s=round(took, 1), **more)


def test_a_control_plane_is_replaced_and_one_that_was_destroyed_too(stack: Stack) -> None:
    scene = Scene(stack, "again", control_plane=3, workers=1)
    scene.apply()
    scene.await_ready(timeout_s=400)
    endpoint = scene.seen()["status"]["endpoint"]
    lease = scene.kubectl("get", "lease", "-n", "kube-system", "plndr-cp-lock", "-o", "json")
    holder = json.loads(lease)["spec"]["holderIdentity"]
    with probing(stack, f"https://{endpoint}/readyz") as probes:
        replace(scene, holder, "the VIP's holder of 3 + 1 replaced")
    down = [moment for moment, answered in probes if not answered]
    longest = max(
        (after - moment for moment, after in _gaps(probes)), default=0.0
    )  # from the first probe without an answer to the next with one
    note("API while the VIP's holder is replaced", away_s=round(longest, 1), probes=len(down))
    assert longest <= 10

    victim = next(name for name in control_planes(scene) if name != holder)
    witness(stack, "destroy", victim)
    until(lambda: "VMMissing" in scene.why(), timeout_s=60, what="its VM is missed")
    replace(scene, victim, "a control plane of 3 + 1 whose VM was destroyed replaced")
    scene.delete()
    scene.await_nothing()


def _gaps(probes: list[tuple[float, bool]]) -> Iterator[tuple[float, float]]:
    """Yield beginning and end of each time without an answer."""
    began: float | None = None
    for moment, answered in probes:
        if not answered and began is None:
            began = moment
        elif answered and began is not None:
            yield began, moment
            began = None


def test_the_only_control_plane_is_replaced(stack: Stack) -> None:
    scene = Scene(stack, "one", control_plane=1, workers=1)
    scene.apply()
    scene.await_ready()

    replace(scene, *control_planes(scene), "the only control plane of 1 + 1 replaced")

    scene.delete()
    scene.await_nothing()


def test_a_control_plane_whose_address_changes_is_replaced(stack: Stack) -> None:
    scene = Scene(stack, "leased", control_plane=3, workers=0)
    for domain in scene.spec["placement"]["failureDomains"]:
        del domain["ipPool"]
    scene.spec["endpoint"] = {"host": "10.77.1.201"}
    scene.apply()
    scene.await_ready(timeout_s=400)
    old = control_planes(scene)[0]
    (before,) = addresses_of(scene)[old]

    # What another lease comes to: the address is gone, another is there.
    for change in (
        "address add 10.77.15.200/16 dev eth0",
        f"address del {before}/16 dev eth0",
        "route replace default via 10.77.0.1",
    ):
        run("moorage-lab", "shell", old, "--", "ip", *change.split())
    began = time.monotonic()

    until(
        lambda: old not in {m["metadata"]["name"] for m in scene.machines()},
        timeout_s=500,
        what=f"{old} is gone",
    )
    took = time.monotonic() - began
    scene.await_ready()
    assert etcd_members(scene) == control_planes(scene)
    note("a control plane of 3 + 0 whose address changed replaced", replaced_s=round(took, 1))
    scene.delete()
    scene.await_nothing()


def add_pool(stack: Stack, name: str, subnet: str, router: str, *more: str) -> None:
    """Add an IP pool that gives released addresses again at once."""
    known = {pool["metadata"]["name"] for pool in stack.json("ippools", "list")}
    if name not in known:
        stack.moorage(
            "ippools", "add", name, "--gateway", "site-a", "--subnet", subnet,
            "--router", router, "--hold-off-s", "0", *more,
        )  # fmt: skip


def addresses_of(scene: Scene) -> dict[str, list[str]]:
    """Return, by node, the addresses that its API server tells."""
    items = json.loads(scene.kubectl("get", "nodes", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: [
            one["address"] for one in item["status"]["addresses"] if one["type"] == "InternalIP"
        ]
        for item in items
    }


def answers(stack: Stack, address: str) -> None:
    """A node's kubelet answers at an address; what, is no matter."""
    url = f"https://{address}:10250/healthz"
    stack.inside("curl", "-ksS", "--noproxy", "*", "--max-time", "5", url)


def test_nodes_with_several_network_cards(stack: Stack) -> None:
    add_pool(stack, "storage", "10.88.0.0/24", "10.88.0.1")
    stack.inside("ip", "address", "replace", "10.88.0.1/24", "dev", "labbr0")
    scene = Scene(stack, "cards")
    for domain in scene.spec["placement"]["failureDomains"]:
        domain["moreNetworks"] = [
            {
                "network": "VM Network",
                "ipPools": ["storage"],
                "routes": [{"to": "10.99.0.0/16", "via": "10.88.0.1"}],
            },
            {"network": "nodes"},  # by DHCP
        ]
    scene.apply()
    took = until(scene.is_ready, timeout_s=300, what="both nodes are Ready")

    for machine in scene.machines():
        told = machine["status"]["addresses"]
        (storage,) = [one for one in told if one.startswith("10.88.0.")]
        answers(stack, storage)
        leased = [one for one in map(ipaddress.ip_address, told) if one in DHCP]
        assert len(leased) == 1, f"the third is DHCP's: {told}"
        (node,) = addresses_of(scene)[machine["metadata"]["name"]]
        assert node.startswith("10.77.1."), "Kubernetes uses the first card"
    note("1 + 1 with three network cards each", ready_s=round(took, 1))
    scene.delete()
    scene.await_nothing()


@contextmanager
def balancer(stack: Stack, *targets: str) -> Iterator[None]:
    """Run a load balancer inside the lab's network."""
    stack.inside("ip", "address", "replace", f"{BALANCER}/32", "dev", "labbr0")
    script = str(Path(__file__).with_name("balance.py"))
    command = ["moorage-lab", "exec", "--", sys.executable, script, BALANCER, "7443", *targets]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def test_an_external_load_balancer_in_front_of_three(stack: Stack) -> None:
    first = ipaddress.ip_address("10.77.1.10")
    scene = Scene(stack, "balanced", control_plane=3, workers=0)
    scene.spec["endpoint"] = {"type": "External", "host": BALANCER, "port": 7443}
    with balancer(stack, *(str(first + n) for n in range(20))):
        scene.apply()
        took = until(scene.is_ready, timeout_s=400, what="all nodes are Ready")
        assert scene.seen()["status"]["endpoint"] == f"{BALANCER}:7443"
        note("3 + 0 behind an external load balancer", ready_s=round(took, 1))
        scene.delete()
        scene.await_nothing()


def add_six(stack: Stack) -> None:
    """Add the pool of IPv6 that the lab's gateway is in."""
    add_pool(stack, "six", "fd00:77::/64", SIX, "--name-server", SIX)


def test_nodes_of_both_families(stack: Stack) -> None:
    add_six(stack)
    scene = Scene(stack, "both", control_plane=1, workers=1)
    scene.spec["network"] = {
        "pods": ["10.244.0.0/16", "fd00:10:244::/56"],
        "services": ["10.96.0.0/16", "fd00:10:96::/112"],
    }
    for domain in scene.spec["placement"]["failureDomains"]:
        del domain["ipPool"]
        domain["ipPools"] = ["nodes", "six"]
    scene.apply()
    took = until(scene.is_ready, timeout_s=300, what="both nodes are Ready")

    for name, told in addresses_of(scene).items():
        four, six = told
        assert four.startswith("10.77.1."), name
        assert six.startswith("fd00:77::"), name
        answers(stack, f"[{six}]")
    flannel = ("rollout", "status", "-n", "kube-flannel", "daemonset/kube-flannel-ds")
    scene.kubectl(*flannel, "--timeout=60s")
    ways = speak_to_each_other(scene, "IPv4", "IPv6")
    note("1 + 1 of both families", ready_s=round(took, 1), ways_between_pods=ways)
    scene.delete()
    scene.await_nothing()


def test_nodes_and_endpoint_of_ipv6_alone(stack: Stack) -> None:
    add_six(stack)
    scene = Scene(stack, "six", control_plane=3, workers=1)
    scene.spec["network"] = {"pods": ["fd00:10:244::/56"], "services": ["fd00:10:96::/112"]}
    for domain in scene.spec["placement"]["failureDomains"]:
        domain["ipPool"] = "six"
    scene.apply()
    took = scene.await_ready(timeout_s=500)

    endpoint = scene.seen()["status"]["endpoint"]
    assert endpoint.startswith("[fd00:77::")
    for name, told in addresses_of(scene).items():
        (six,) = told
        assert six.startswith("fd00:77::"), name
        answers(stack, f"[{six}]")
    ways = speak_to_each_other(scene, "IPv6")
    away = kill_holder(scene, f"https://{endpoint}/readyz")
    note(
        "3 + 1 of IPv6 alone", ready_s=round(took, 1), ways_between_pods=ways,
        vip_away_s=round(away, 1),
    )  # fmt: skip
    scene.delete()
    scene.await_nothing()


def test_an_endpoint_whose_address_is_leased_for_a_name(stack: Stack) -> None:
    scene = Scene(stack, "named", control_plane=3, workers=1)
    for domain in scene.spec["placement"]["failureDomains"]:
        del domain["ipPool"]
    scene.spec["endpoint"] = {"type": "DDNS", "searchDomain": "lab"}
    scene.apply()
    took = scene.await_ready(timeout_s=500)

    assert scene.seen()["status"]["endpoint"] == "named.lab:6443"
    leased = address_of(stack, "named.lab")
    assert ipaddress.ip_address(leased) in DHCP
    own = {one for told in addresses_of(scene).values() for one in told}
    assert leased not in own, "the name's lease is no node's"
    away = kill_holder(scene, "https://named.lab:6443/readyz")
    assert address_of(stack, "named.lab") == leased, "to the server all control planes are one"
    note("3 + 1 behind a leased name", ready_s=round(took, 1), name_away_s=round(away, 1))
    scene.delete()
    scene.await_nothing()


def address_of(stack: Stack, name: str) -> str:
    """Return what the lab's DNS says of a name."""
    return stack.inside("getent", "ahostsv4", name).split()[0]


def kill_holder(scene: Scene, url: str) -> float:
    """Kill the node that holds the VIP; return after how many seconds the API answers again."""
    lease = scene.kubectl("get", "lease", "-n", "kube-system", "plndr-cp-lock", "-o", "json")
    run("moorage-lab", "node", "kill", json.loads(lease)["spec"]["holderIdentity"])
    asked = ("curl", "-gksS", "--noproxy", "*", "--max-time", "1", url)
    return until(
        lambda: "ok" in scene.stack.inside(*asked, check=False),
        timeout_s=60,
        what=f"the API answers at {url}",
        every_s=0.2,
    )
