"""What people get wrong: said with field or object and the remedy, before any VM is made."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Stack, run, until
from tests.e2e.oracle import Scene, lab_inventory, note

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


def lab_vms() -> list[str]:
    """Return the names of all VMs that are no templates."""
    return [vm["name"] for vm in lab_inventory() if not vm["template"]]


def said_of_account(stack: Stack, name: str) -> str:
    """Return reason and message of an account's ``Ready``."""
    found = stack.json("accounts", "describe", name)["status"].get("conditions", [])
    return " ".join(f"{c['reason']}: {c['message']}" for c in found if c["type"] == "Ready")


@pytest.fixture
def ca(stack: Stack) -> str:
    """Return the file with the CA of the lab's vCenter."""
    return str(stack.lab.ca_file)


@pytest.fixture
def account(stack: Stack, tmp_path: Path) -> Iterator[Any]:
    """Add accounts with something wrong; they are deleted at the end."""
    made = []

    def add(name: str, *options: str, password: str) -> None:
        file = tmp_path / "password"
        file.write_text(password)
        file.chmod(0o600)
        stack.moorage(
            "accounts", "add", name, "--gateway", "site-a", "--password-file", str(file), *options
        )
        made.append(name)

    yield add
    for name in made:
        stack.moorage("accounts", "delete", name, "--yes", check=False)


def accounts() -> list[Any]:
    """Return what may be wrong with an account, and the words that must be said of it."""
    server, user = "10.77.0.2", "moorage@vsphere.local"
    return [
        ("wrong-password", server, user, "ca", "nonsense", ("refused the login", "password")),
        ("wrong-user", server, "nobody@vsphere.local", "ca", None, ("refused the login", "nobody")),
        ("wrong-ca", server, user, "own", None, ("not trusted", "trust.caBundle")),
        ("wrong-pin", server, user, "pin", None, ("pins", "trust.sha256")),
        ("unreachable", "10.77.0.99", user, "ca", None, ("10.77.0.99",)),
        ("refusing", "10.77.0.2:444", user, "ca", None, ("10.77.0.2:444", "refuses connections")),
        ("no-name", "vcenter.invalid", user, "ca", None, ("vcenter.invalid", "cannot be resolved")),
    ]


@pytest.mark.parametrize(
    ("name", "server", "user", "trust", "password", "words"), accounts(), ids=lambda v: str(v)[:14]
)
def test_a_wrong_account_says_what_to_do(
    stack: Stack,
    ca: str,
    account: Any,
    name: str,
    server: str,
    user: str,
    trust: str,
    password: str | None,
    words: tuple[str, ...],
) -> None:
    stack.lab.control.reset_counters()
    trusts = {
        "ca": ("--ca-file", ca),
        "own": ("--ca-file", str(stack.directory / "hub" / "ca.crt")),
        "pin": ("--sha256", ":".join(["AB"] * 32)),
    }
    began = time.monotonic()
    account(
        name, "--server", server, "--username", user, *trusts[trust],
        password=password or "Moorage-lab-1",
    )  # fmt: skip

    until(
        lambda: all(word in said_of_account(stack, name) for word in words),
        timeout_s=40,
        what=f"account {name} says {words}",
    )
    took = time.monotonic() - began
    time.sleep(6)  # long enough for several tries

    logins = stack.lab.control.counters()["calls"].get("Login", 0)
    assert logins == (1 if name in ("wrong-password", "wrong-user") else 0)
    note(f"account {name}", told_s=round(took, 1), logins=logins, said=said_of_account(stack, name))
    assert lab_vms() == []


def test_a_right_password_after_a_wrong_one_is_taken(
    stack: Stack, ca: str, account: Any, tmp_path: Path
) -> None:
    account(
        "mended", "--server", "10.77.0.2", "--username", "moorage@vsphere.local", "--ca-file", ca,
        password="wrong",
    )  # fmt: skip
    until(
        lambda: "refused the login" in said_of_account(stack, "mended"),
        timeout_s=30,
        what="refused",
    )
    file = tmp_path / "right"
    file.write_text("Moorage-lab-1")
    stack.moorage("accounts", "set-password", "mended", "--password-file", str(file))

    took = until(
        lambda: said_of_account(stack, "mended").startswith("Done"), timeout_s=30, what="mended"
    )
    note("right password after a wrong one", ready_s=round(took, 1))


def spoil(scene: Scene, what: str) -> None:
    """Put one mistake into a cluster's document."""
    domain = scene.spec["placement"]["failureDomains"][1]
    match what:
        case "template":
            scene.spec["placement"]["template"] = "templates/nothing"
        case "version":
            scene.spec["kubernetesVersion"] = "v1.33.1"
        case "datastore" | "network" | "computeCluster":
            domain[what] = "nowhere"
        case "account" | "folder":
            (scene.spec if what == "account" else scene.spec["placement"])[what] = "nowhere"
        case "ipPool":
            for one in scene.spec["placement"]["failureDomains"]:
                one["ipPool"] = "tiny"
        case "overlap":
            scene.spec["network"] = {"pods": "10.96.0.0/16", "services": "10.96.0.0/12"}
        case "memory":
            scene.spec["controlPlane"]["memoryMib"] = "much"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("template", ("spec.placement.template", "templates/nothing")),
        ("version", ("spec.placement.template", "v1.33.1", "choose another template")),
        ("datastore", ("spec.placement.failureDomains[1].datastore", "nowhere")),
        ("network", ("spec.placement.failureDomains[1].network", "nowhere")),
        ("computeCluster", ("spec.placement.failureDomains[1].computeCluster", "nowhere")),
        ("folder", ("spec.placement.folder", "nowhere")),
        ("account", ("nowhere",)),
        ("ipPool", ("IP pool tiny has 2 addresses", "widen the pool")),
        ("overlap", ("spec.network", "overlap")),
        ("memory", ("memoryMib",)),
    ],
)
def test_a_wrong_cluster_says_what_to_do(stack: Stack, what: str, words: tuple[str, ...]) -> None:
    if what == "ipPool":
        pools = {pool["metadata"]["name"] for pool in stack.json("ippools", "list")}
        if "tiny" not in pools:
            stack.moorage(
                "ippools", "add", "tiny", "--gateway", "site-a", "--start", "10.77.2.1",
                "--end", "10.77.2.2", "--prefix", "16", "--router", "10.77.0.1",
            )  # fmt: skip
    scene = Scene(stack, "wrong")
    spoil(scene, what)
    began = time.monotonic()
    told = run(
        "bash", "-c", f"moorage clusters apply -f {scene.file} 2>&1", check=False,
        MOORAGE_CONFIG=str(stack.directory / "cli.yaml"),
    )  # fmt: skip
    if not all(word in told for word in words):
        until(
            lambda: all(word in scene.why() for word in words), timeout_s=30, what=f"{words} said"
        )
        told = scene.why()
    note(f"cluster with a wrong {what}", told_s=round(time.monotonic() - began, 1), said=told)
    assert lab_vms() == []
    if not scene.is_gone():
        scene.delete()
    scene.await_nothing()
    if what == "ipPool":
        stack.moorage("ippools", "delete", "tiny", "--yes")


def test_bad_yaml_says_where(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("kind: Cluster\nspec: {account: lab\n")
    told = run(
        "bash", "-c", f"moorage clusters apply -f {file} 2>&1", check=False,
        MOORAGE_CONFIG=str(stack.directory / "cli.yaml"),
    )  # fmt: skip
    assert "bad.yaml" in told
    assert "line" in told
    note("bad YAML", said=told)


def test_the_name_of_a_cluster_is_taken_only_once(stack: Stack) -> None:
    scene = Scene(stack, "twice")
    scene.spec["placement"]["template"] = "templates/nothing"
    scene.apply()
    told = run(
        "bash", "-c",
        "moorage clusters create twice --account lab --version v1.34.4 --datacenter dc1 --folder"
        " clusters --template templates/nothing --failure-domain cc1,ds1,nodes,nodes 2>&1",
        check=False, MOORAGE_CONFIG=str(stack.directory / "cli.yaml"),
    )  # fmt: skip
    note("cluster name twice", said=told)
    assert "twice" in told
    assert "exists" in told
    scene.delete()
    scene.await_nothing()


def test_a_node_that_cannot_join_says_why(stack: Stack) -> None:
    scene = Scene(stack, "neverjoin")
    scene.spec["node"]["kubeletConfiguration"]["imageGCHighThresholdPercent"] = 10  # below the low
    began = time.monotonic()
    scene.apply()

    until(
        lambda: "kubelet has ended" in scene.why(),
        timeout_s=120,
        what="the cluster's condition names the kubelet",
    )
    took = time.monotonic() - began
    machine = scene.machines()[0]
    logs = stack.moorage("logs", machine["metadata"]["name"])
    note("kubelet that cannot start", told_s=round(took, 1), said=scene.why())
    assert "imageGCLowThresholdPercent" in logs
    scene.delete()
    scene.await_nothing()
