"""One real cluster through its life, in order. Each test goes on where the one before ended."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import ROOT, Stack, run, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\b[a-z0-9]{6}\.[a-z0-9]{16}\b|certificateKey", re.ASCII
)
before: dict[str, Any] = {}


def nodes(stack: Stack) -> dict[str, bool]:
    """Return node name -> Ready, as the API server says."""
    items = json.loads(stack.kubectl("get", "nodes", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: any(
            c["type"] == "Ready" and c["status"] == "True" for c in item["status"]["conditions"]
        )
        for item in items
    }


def inventory(stack: Stack) -> dict[str, Any]:
    """Return what the simulator's own objects say is there."""
    return json.loads(run("moorage-lab", "vcenter", "inventory"))  # type: ignore[no-any-return]


def test_wrong_input_is_refused_before_any_machine_is_made(stack: Stack, tmp_path: Path) -> None:
    before.update(inventory(stack))
    document = yaml.safe_load((ROOT / "demo/cluster.yaml").read_text())
    document["spec"]["placement"]["failureDomains"][0]["datastore"] = "no-such-datastore"
    document["spec"]["placement"]["template"] = "templates/no-such-template"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(document))

    output = run(
        "moorage", "clusters", "apply", "-f", str(wrong), "--wait", "--timeout-s", "60",
        check=False, MOORAGE_CONFIG=str(stack.directory / "cli.yaml"),
    )  # fmt: skip

    said = json.dumps(stack.json("clusters", "describe", "demo"))
    assert "no-such-datastore" in said, output
    assert "no-such-template" in said, output
    assert inventory(stack) == before
    stack.moorage("clusters", "delete", "demo", "--yes", "--wait")


def test_a_cluster_becomes_ready(stack: Stack) -> None:
    stack.moorage("clusters", "apply", "-f", "demo/cluster.yaml", "--wait", timeout_s=600)
    stack.moorage("clusters", "kubeconfig", "demo", "--file", str(stack.directory / "kubeconfig"))

    assert len(nodes(stack)) == 5
    assert all(nodes(stack).values())
    versions = stack.kubectl(
        "get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.kubeletVersion}"
    )
    assert set(versions.split()) == {"v1.34.4"}


def test_nodes_bear_provider_id_and_topology(stack: Stack) -> None:
    items = json.loads(stack.kubectl("get", "nodes", "-o", "json"))["items"]
    vms = {vm["name"]: vm for vm in inventory(stack)["vms"]}
    for item in items:
        vm = vms[item["metadata"]["name"]]
        assert item["spec"]["providerID"] == f"vsphere://{vm['uuid']}"
        assert item["metadata"]["labels"]["topology.kubernetes.io/zone"] in ("a", "b")
        assert item["metadata"]["labels"]["topology.kubernetes.io/region"] == "dc1"


def test_a_deployment_behind_a_service_answers(stack: Stack) -> None:
    stack.kubectl("apply", "-f", "demo/echo.yaml")
    stack.kubectl("rollout", "status", "deployment/echo", "--timeout=120s", timeout_s=150)
    address = stack.kubectl(
        "get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}"
    )

    answer = stack.inside("curl", "-fsS", "--retry", "10", "--retry-all-errors",
                          f"http://{address}:30080/")  # fmt: skip

    assert "hostname" in answer


def test_no_secret_is_left_where_it_does_not_belong(stack: Stack) -> None:
    """Gone from extraConfig, events, logs and the hub's database."""
    places = {
        "inventory": run("moorage-lab", "vcenter", "inventory"),
        "events": run("moorage-lab", "vcenter", "events"),
        "hub.log": (stack.directory / "hub.log").read_text(),
        "gateway.log": (stack.directory / "gateway.log").read_text(),
    }
    for database in (stack.directory / "hub").glob("*.db*"):
        places[database.name] = database.read_bytes().decode("latin-1")

    found = {name: SECRETS.findall(text)[:3] for name, text in places.items()}

    assert {name: hits for name, hits in found.items() if hits} == {}


def test_logs_of_a_node_come_through_vcenter(stack: Stack) -> None:
    machine = stack.json("machines", "list")[0]["metadata"]["name"]

    assert "cloud-init" in stack.moorage("logs", machine)


def test_a_pool_grows_and_shrinks(stack: Stack) -> None:
    stack.moorage(
        "clusters", "scale", "demo", "workers", "--replicas", "3", "--wait", timeout_s=300
    )
    assert len(nodes(stack)) == 6

    stack.moorage(
        "clusters", "scale", "demo", "workers", "--replicas", "1", "--wait", timeout_s=300
    )
    until(lambda: len(nodes(stack)) == 4, timeout_s=60, what="two workers have left")
    assert len([vm for vm in inventory(stack)["vms"] if vm["name"].startswith("demo-")]) == 4


def test_the_api_answers_at_the_vip_after_its_holder_is_destroyed(stack: Stack) -> None:
    endpoint = stack.json("clusters", "describe", "demo")["status"]["endpoint"]
    holder = json.loads(
        stack.kubectl("get", "lease", "-n", "kube-system", "plndr-cp-lock", "-o", "json")
    )["spec"]["holderIdentity"]

    run("moorage-lab", "node", "kill", holder)
    took = until(
        lambda: "ok" in stack.inside("curl", "-ksS", "--max-time", "1",
                                     f"https://{endpoint}/readyz", check=False),
        timeout_s=30,
        what="the API answers at the VIP",
        every_s=0.2,
    )  # fmt: skip

    assert took < 30
    until(
        lambda: (
            stack.json("clusters", "describe", "demo")["status"]["nodesReady"] == 4
            and all(nodes(stack).values())
        ),
        timeout_s=180,
        what="the killed machine was powered on again and is Ready",
        every_s=2,
    )


def test_nothing_is_left_after_deletion(stack: Stack) -> None:
    stack.moorage("clusters", "delete", "demo", "--yes", "--wait", timeout_s=300)

    assert inventory(stack) == before
    assert stack.json("ippools", "describe", "nodes")["status"]["claimed"] == 0
    assert stack.lab.nodes() == []
