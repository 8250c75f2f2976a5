"""What a cluster keeps, hides and costs: secrets, power cuts, growth, DHCP, names used again."""

import base64
import gzip
import json
import re
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from moorage.bootstrap import ClusterPKI
from moorage.bootstrap.pki import bootstrap_token, certificate_key, helper_key
from moorage.gateway.identity import DataDir
from moorage.gateway.vault import Vault
from moorage.kit.seal import SealedEnvelope
from moorage.resources import Cluster
from tests.e2e.conftest import Stack, run, until
from tests.e2e.oracle import Scene, gateway_resources, note, sleep_until, witness

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")


def secrets_of(scene: Scene) -> dict[str, bytes]:
    """Return the cluster's real secrets, opened with the gateway's own sealing key."""
    data = DataDir(scene.stack.directory / "gateway")

    async def no_recovery_key() -> None:
        return None

    vault = Vault(data.sealing(), data.enrollment().installation, no_recovery_key)
    (stored,) = gateway_resources(scene.stack, "ClusterKeys")
    cluster = Cluster.model_validate(scene.seen())
    plain = vault.open_keys(cluster, SealedEnvelope.model_validate(stored["spec"]["sealed"]))
    keys = ClusterPKI.from_bytes(plain)
    found = {"certificate key": certificate_key(keys).encode()}
    for machine in scene.machines():
        uid, name = machine["metadata"]["uid"], machine["metadata"]["name"]
        found[f"token of {name}"] = bootstrap_token(keys, uid).partition(".")[2].encode()
        found[f"helper key of {name}"] = base64.b64encode(helper_key(keys, uid)).rstrip(b"=")
        found[f"helper key of {name}, hex"] = helper_key(keys, uid).hex().encode()
    for number, pem in enumerate(re.findall(r"PRIVATE KEY-----([^-]+)-----END", plain.decode())):
        found[f"private key {number}"] = max(re.findall(r"[A-Za-z0-9+/]{40,}", pem)).encode()
    return found


def layers(data: bytes, depth: int = 4) -> Iterable[bytes]:
    """Yield data and all that base64 and gzip hide in it."""
    yield data
    if depth == 0:
        return
    if data[:2] == b"\x1f\x8b":
        try:
            yield from layers(zlib.decompressobj(31).decompress(data), depth - 1)
        except zlib.error:
            return
    for match in _BASE64.finditer(data):
        blob = match.group()
        try:
            yield from layers(base64.b64decode(blob[: len(blob) // 4 * 4]), depth - 1)
        except ValueError:
            continue


def leaks(places: dict[str, bytes], secrets: dict[str, bytes]) -> list[str]:
    """Say which secret is in which place, however it is wrapped."""
    return sorted(
        f"{secret} in {place}"
        for place, data in places.items()
        for layer in layers(data)
        for secret, value in secrets.items()
        if value in layer
    )


def places_of(stack: Stack) -> dict[str, bytes]:
    """Return all that others can read: vCenter, the logs, and the hub's whole database."""
    directory = stack.directory
    return {
        "extraConfig": witness(stack, "extra").encode(),
        "events": run("moorage-lab", "vcenter", "events").encode(),
        "hub.log": (directory / "hub.log").read_bytes(),
        "gateway.log": (directory / "gateway.log").read_bytes(),
        **{file.name: file.read_bytes() for file in (directory / "hub").glob("*.db*")},
    }


def facts_of(scene: Scene) -> dict[str, tuple[list[str], str]]:
    """Return address and SSH host keys of each node, from the API and from its disk."""
    items = json.loads(scene.kubectl("get", "nodes", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: (
            sorted(a["address"] for a in item["status"]["addresses"]),
            run(
                "moorage-lab", "shell", item["metadata"]["name"], "--",
                "sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub",
            ),
        )
        for item in items
    }  # fmt: skip


def boot_ids(scene: Scene) -> dict[str, str]:
    """Return when each VM's init began, which a power cycle changes."""
    return {
        node.name: str(node.pid)
        for node in scene.stack.lab.nodes()
        if node.name.startswith(f"{scene.name}-")
    }


def resident_mib(stack: Stack, name: str) -> dict[str, int]:
    """Return a process's memory now and at its highest."""
    text = Path(f"/proc/{stack.pid(name)}/status").read_text()
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text))
    return {key: int(value) // 1024 for key, value in found.items()}


def test_a_create_leaves_no_secret_and_a_power_cut_changes_nothing(stack: Stack) -> None:
    stack.lab.control.reset_counters()
    scene = Scene(stack, "quiet", control_plane=3, workers=2)
    stack.lab.control.reset_counters()
    began = time.monotonic()
    scene.apply()
    until(lambda: b"guestinfo.userdata" in witness(stack, "extra").encode(),
          timeout_s=60, what="user data is in a VM")  # fmt: skip
    while_booting = places_of(stack)
    secrets = secrets_of(scene)
    assert leaks({"x": base64.b64encode(gzip.compress(secrets["certificate key"]))}, secrets)
    assert {leak.rpartition(" in ")[2] for leak in leaks(while_booting, secrets)} == {"extraConfig"}

    scene.await_ready(timeout_s=400)
    note(
        "3+2 created",
        ready_s=round(time.monotonic() - began, 1),
        counters=stack.lab.control.counters(),
        hub_mib=resident_mib(stack, "hub"),
        gateway_mib=resident_mib(stack, "gateway"),
        phases=scene.seen()["status"]["timeline"],
    )
    after = places_of(stack)
    assert leaks(after, secrets_of(scene)) == []
    assert b"PRIVATE KEY-----" not in b"".join(after.values())

    facts, boots = facts_of(scene), boot_ids(scene)
    assert all(keys for _, keys in facts.values())
    began = time.monotonic()
    witness(stack, "reset", *facts)
    until(lambda: not set(boots.items()) & set(boot_ids(scene).items()), timeout_s=60, what="reset")
    until(
        lambda: "notready" in str(scene.why()).lower() or scene.is_ready(),
        timeout_s=60,
        what="seen",
    )
    until(lambda: _answers(scene), timeout_s=240, what="the API answers again")
    scene.await_ready(timeout_s=300)
    note("all five nodes power-cycled at once", ready_s=round(time.monotonic() - began, 1))
    assert facts_of(scene) == facts

    began = time.monotonic()
    scene.delete()
    scene.await_nothing()
    note("3+2 deleted", gone_s=round(time.monotonic() - began, 1))


def _answers(scene: Scene) -> bool:
    endpoint = scene.seen()["status"]["endpoint"]
    return "ok" in scene.stack.inside(
        "curl", "-ksS", "--max-time", "1", f"https://{endpoint}/readyz", check=False
    )


def test_a_control_plane_grows_from_one_to_three(stack: Stack) -> None:
    scene = Scene(stack, "grow")
    scene.apply()
    scene.await_ready()
    scene.spec["controlPlane"]["replicas"], scene.nodes = 3, 4
    began = time.monotonic()
    scene.apply()
    scene.await_ready()
    note("control plane 1 -> 3", ready_s=round(time.monotonic() - began, 1))
    members = scene.kubectl(
        "get", "pods", "-n", "kube-system", "-l", "component=etcd", "-o", "name"
    ).split()
    assert len(members) == 3
    scene.delete()
    scene.await_nothing()


def test_a_cluster_whose_nodes_get_their_addresses_by_dhcp(stack: Stack) -> None:
    scene = Scene(stack, "dhcp")
    for domain in scene.spec["placement"]["failureDomains"]:
        del domain["ipPool"]
    scene.spec["endpoint"] = {"host": "10.77.1.200"}
    began = time.monotonic()
    scene.apply()
    scene.await_ready()
    note("DHCP, 1+1", ready_s=round(time.monotonic() - began, 1))
    items = json.loads(scene.kubectl("get", "nodes", "-o", "json"))["items"]
    addresses = [a["address"] for i in items for a in i["status"]["addresses"]]
    assert [a for a in addresses if a.startswith(("10.77.8.", "10.77.9.", "10.77.1"))]
    scene.delete()
    scene.await_nothing()


@pytest.mark.parametrize("at", [0.5, 2.0, 4.0, 12.0])
def test_a_cluster_is_deleted_in_the_middle_of_its_creation(stack: Stack, at: float) -> None:
    scene = Scene(stack, "halfway")
    began = time.monotonic()
    scene.apply()
    sleep_until(began, at)
    began = time.monotonic()
    scene.delete()
    scene.await_nothing()
    note("deleted in the middle of a create", at_s=at, gone_s=round(time.monotonic() - began, 1))


def test_a_name_is_used_again_and_two_clusters_grow_at_once(stack: Stack) -> None:
    scenes = [Scene(stack, "again"), Scene(stack, "other")]
    began = time.monotonic()
    for scene in scenes:
        scene.apply()
    uids: list[Any] = [scene.seen()["metadata"]["uid"] for scene in scenes]
    for scene in scenes:
        scene.await_ready()
    note("two clusters of 1+1 at once", ready_s=round(time.monotonic() - began, 1))
    for scene in scenes:
        scene.delete()
    for scene in scenes:
        until(scene.is_gone, timeout_s=180, what=f"{scene.name} is gone")
    scenes[1].await_nothing()

    scene = Scene(stack, "again")
    (stack.directory / "again.kubeconfig").unlink(missing_ok=True)
    scene.apply()
    scene.await_ready()
    assert scene.seen()["metadata"]["uid"] not in uids
    scene.delete()
    scene.await_nothing()
