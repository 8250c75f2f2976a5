"""Clusters and what belongs to them: documents, flags, faults, tables, kubeconfig, deletion."""

import base64
import json
import re
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from moorage.resources import Cluster, NodePool, Operation
from tests.cli.world import World, a_document, signing


@pytest.fixture
def demo(site: World) -> World:
    """Make the cluster demo with one worker asked for."""
    site.ok("clusters apply -f", site.file("demo.yaml", a_document()))
    return site


def test_applying_twice_changes_nothing(demo: World) -> None:
    before = (
        demo.get(Cluster, "demo", "default").metadata,
        demo.get(NodePool, "demo-workers", "default").metadata,
    )

    said = demo.ok("clusters apply -f", str(demo.folder / "demo.yaml"))

    assert said.err == "cluster demo applied\n"
    assert said.data["metadata"]["name"] == "demo"
    assert said.data["nodePools"][0]["spec"]["replicas"] == 1
    assert demo.get(Cluster, "demo", "default").metadata == before[0]
    assert demo.get(NodePool, "demo-workers", "default").metadata == before[1]


def test_several_documents_are_applied_from_standard_input(site: World) -> None:
    text = f"{a_document('one')}---\n{a_document('two')}"

    said = site.ok("clusters apply -f -", stdin=text)

    assert [d["metadata"]["name"] for d in said.data] == ["one", "two"]
    table = site.ok("clusters list -o table").out
    assert re.search(r"^one +Pending +v1\.34\.4 +0/1 +0/0 +- +lab +\d+s", table, re.MULTILINE)
    assert [c["metadata"]["name"] for c in site.ok("clusters list -l env=two").data] == ["two"]


def test_a_dry_run_stores_nothing(site: World) -> None:
    said = site.ok("clusters apply --dry-run -f", site.file("c.yaml", a_document()))

    assert "would be accepted" in said.err
    assert site.ok("clusters list").data == []


def test_a_cluster_is_made_from_flags_but_not_twice(site: World) -> None:
    line = (
        "clusters create demo --account lab --version 1.34.4 --datacenter dc1 --folder f "
        "--template t --failure-domain cc1,ds1,nodes,nodes --failure-domain cc2,ds1,nodes,nodes "
        "--control-plane 3 --workers 2 --cpus 4"
    )

    made = site.ok(line).data

    assert made["spec"]["controlPlane"]["replicas"] == 3
    assert [d["name"] for d in made["spec"]["placement"]["failureDomains"]] == ["fd1", "fd2"]
    assert made["nodePools"][0]["spec"]["replicas"] == 2
    assert "exists already" in site.refused(line)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: Cluster\nmetadata: {name: [", "line 2, column 19: not valid YAML"),
        ("kind: Cluster\n  spec: 1\n", "line 2, column"),
        ("kind: Cluster\nkind: Cluster\n", "line 2, column 1: not valid YAML: the key 'kind' is"),
        ("kind: Klaster\nmetadata: {name: a}", "document 1 is of kind 'Klaster': expected kind"),
        ("metadata: {name: a}", "document 1 has no kind"),
        ("- 1\n", "is of kind 'list'"),
        ("kind: Cluster\n", "document 1 has no metadata.name"),
        ("", "holds no document"),
        (f"{a_document()}---\n{a_document()}", "document 2: there is a Cluster demo before it"),
    ],
)
def test_a_bad_file_is_told_with_its_place(site: World, text: str, told: str) -> None:
    file = site.file("bad.yaml", text)

    said = site.refused("clusters apply -f", file, code=2)

    assert file in said
    assert told in said


def test_a_missing_file_is_named(site: World) -> None:
    assert "No such file" in site.refused("clusters apply -f /nowhere/c.yaml", code=2)


def test_every_fault_of_a_document_is_told_with_its_path(site: World) -> None:
    document = yaml.safe_load(a_document())
    document["spec"]["controlPlane"] = {"replicas": 2, "cpus": 0}
    document["spec"]["kubernetesVersion"] = "v1.2.3"
    document["spec"]["colour"] = "red"
    document["nodePools"] = [{"name": "w", "cpus": "many"}, {"name": "w"}, {}]

    told = site.refused("clusters apply -f", site.file("c.yaml", json.dumps(document)), code=2)

    for path in (
        "spec.controlPlane.replicas:",
        "spec.controlPlane.cpus:",
        "spec.kubernetesVersion: v1.2.3 is not supported",
        "spec.colour: there is no such field",
        "nodePools[0].cpus:",
        "nodePools[1].name: there are two pools w",
        "nodePools[2].name: a pool needs a name",
    ):
        assert f"  {path}" in told
    assert site.ok("clusters list").data == []


def test_every_fault_that_only_the_hub_can_see_is_told_with_its_path(site: World) -> None:
    document = yaml.safe_load(a_document(account="nobody", network={"services": "10.77.0.0/16"}))
    document["spec"]["placement"]["failureDomains"][0]["ipPool"] = "empty"

    told = site.refused("clusters apply -f", site.file("c.yaml", json.dumps(document)), code=2)

    assert "  spec.account: there is no account nobody (there are: lab)" in told
    assert "  spec.placement.failureDomains[0].ipPool: there is no IP pool empty" in told


def test_a_failure_domain_that_is_incomplete_is_told(site: World) -> None:
    told = site.refused(
        "clusters create demo --account lab --version v1.34.4 --datacenter d --folder f "
        "--template t --failure-domain cc1,ds1",
        code=2,
    )

    assert "COMPUTE_CLUSTER,DATASTORE,NETWORK[,IP_POOL]" in told


def test_wrong_usage_ends_with_two(site: World) -> None:
    for line in ("clusters aply", "clusters apply", "clusters scale demo", "clusters list --x"):
        said = site.cli(line)
        assert said.code == 2, line
        assert said.err.startswith("error: ")
    assert "not-a-format" in site.refused("clusters list -o not-a-format", code=2)


def test_what_is_not_there_is_named(site: World) -> None:
    for line in (
        "clusters describe ghost",
        "clusters delete ghost --yes",
        "clusters scale ghost workers --replicas 2",
        "clusters kubeconfig ghost",
        "machines describe ghost",
        "pools delete ghost w --yes",
    ):
        assert "ghost" in site.refused(line), line


def test_scaling_goes_through_while_the_gateway_writes(demo: World) -> None:
    pool = demo.get(NodePool, "demo-workers", "default")
    writers = [
        demo.meanwhile(lambda n=n: demo.condition(pool, "False", f"Busy{n}"), after_s=0.1 * n)  # type: ignore[misc]
        for n in range(8)
    ]

    demo.ok("clusters scale demo workers --replicas 4")

    for writer in writers:
        writer.join()
    assert demo.get(NodePool, "demo-workers", "default").spec.replicas == 4
    assert demo.cli("clusters scale demo workers --replicas -1").code == 2


def test_pools_are_added_listed_and_deleted(demo: World) -> None:
    demo.ok("pools add demo big --replicas 2 --cpus 8 --memory-mib 8192 --failure-domain a")

    table = demo.ok("pools list demo -o table").out
    assert re.search(r"demo +big +Pending +0/2 +8 CPU, 8192 MiB +a", table)
    assert [p["spec"]["pool"] for p in demo.ok("pools list demo").data] == ["big", "workers"]
    assert demo.ok("pools list other").data == []
    assert "spec.cpus" in demo.refused("pools add demo tiny --cpus 0", code=2)
    assert "spec.failureDomains" in demo.refused("pools add demo x --failure-domain z", code=2)
    demo.ok("pools delete demo big --yes")
    assert "Deleting" in demo.ok("pools list demo -o table").out


def test_machines_are_listed_and_described(demo: World) -> None:
    machine = demo.machine(
        addresses=["10.77.1.12"], power="poweredOn", progress="RunningKubeadm",
        progress_detail="kubeadm join\x1b[2J", timeline={"CloneStarted": "2026-11-22T10:00:00Z"},
    )  # fmt: skip
    demo.condition(machine, "False", "WaitingForNode", "not registered yet")
    name = machine.metadata.name

    table = demo.ok("machines list demo -o table").out
    assert re.search(rf"{name} +WaitingForNode +workers +a +10\.77\.1\.12", table)
    described = demo.ok(f"machines describe {name} -o table").out
    assert "not registered yet" in described
    assert "RunningKubeadm: kubeadm join" in described
    assert "\x1b" not in described  # what a guest says does not steer the terminal
    assert "CloneStarted" in described
    assert demo.ok("machines list other").data == []


def test_logs_of_a_machine_are_fetched_and_kept_private(demo: World) -> None:
    name = demo.machine().metadata.name

    def answer(operation: Operation) -> None:
        operation.status.result = {"logs": "cloud-init said this\n"}

    with demo.answering(answer):
        assert demo.ok(f"logs {name}").out == "cloud-init said this\n"
        demo.ok(f"logs {name} --file {demo.folder}/node.log")
    assert stat.S_IMODE((demo.folder / "node.log").stat().st_mode) == 0o600


def test_a_worker_is_deleted_once_its_name_was_given(demo: World) -> None:
    name = demo.machine().metadata.name
    asked: list[Operation] = []

    with demo.answering(asked.append):
        assert "add --yes" in demo.refused(f"machines delete {name}", code=2)
        assert asked == []
        told = demo.ok(f"machines delete {name} --yes").err

    assert [(one.spec.verb, one.spec.subject_name) for one in asked] == [("delete", name)]
    assert f"machine {name} is being deleted; pool workers makes another one" in told


def test_an_operation_that_fails_or_is_not_answered_says_so(demo: World) -> None:
    name = demo.machine().metadata.name

    def fail(operation: Operation) -> None:
        operation.status.failed = True
        operation.status.message = "the node has no helper"

    with demo.answering(fail):
        assert "the node has no helper" in demo.refused(f"logs {name}")
    assert "is its gateway connected?" in demo.refused(f"logs {name} --timeout-s 0.5")


def test_describe_shows_what_each_machine_waits_for(demo: World) -> None:
    cluster = demo.get(Cluster, "demo", "default")
    demo.condition(cluster, "False", "NodesMissing", "1 of 2 nodes are Ready",
                   endpoint="10.77.1.10:6443", nodes=1, nodes_ready=1)  # fmt: skip
    waiting = demo.machine(pool=None)
    demo.condition(waiting, "False", "WaitingForAPI", "joins when the API answers")

    out = demo.ok("clusters describe demo -o table").out

    assert "Cluster default/demo  NodesMissing" in out
    assert "10.77.1.10:6443" in out
    assert re.search(rf"{waiting.metadata.name} +WaitingForAPI +a", out)
    assert f"{waiting.metadata.name} waits: joins when the API answers" in out
    assert demo.ok("clusters describe demo -o yaml").data["status"]["endpoint"]


def test_describe_of_many_machines_shows_those_that_wait(demo: World) -> None:
    for _ in range(28):
        demo.ready(demo.machine())
    waiting = demo.machine()
    demo.condition(waiting, "False", "Cloning", "vCenter task task-7")

    out = demo.ok("clusters describe demo -o table").out
    rows = [r for r in out.splitlines() if r.startswith("demo-workers-") and "waits:" not in r]

    assert rows[0].startswith(waiting.metadata.name)
    assert len(rows) == 20
    assert "… and 9 more, 9 of them Ready: add --all" in out
    everything = demo.ok("clusters describe demo --all -o table").out
    assert len(re.findall(r"^demo-workers-\S+ +(?:Ready|Cloning)", everything, re.MULTILINE)) == 29


def test_the_private_key_of_a_kubeconfig_stays_here(demo: World) -> None:
    demo.condition(demo.get(Cluster, "demo", "default"), "True", "Done",
                   endpoint="10.77.1.10:6443")  # fmt: skip
    file = demo.folder / "kubeconfig"

    with demo.answering(signing()) as gateway:
        demo.ok(f"clusters kubeconfig demo --file {file} --ttl-hours 0.5")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config = yaml.safe_load(file.read_text())
    (cluster,), (user,) = config["clusters"], config["users"]
    assert cluster["cluster"]["server"] == "https://10.77.1.10:6443"
    key = base64.b64decode(user["user"]["client-key-data"])
    private = serialization.load_pem_private_key(key, None)
    certificate = x509.load_pem_x509_certificate(
        base64.b64decode(user["user"]["client-certificate-data"])
    )
    assert certificate.public_key() == private.public_key()
    (operation,) = gateway.seen
    assert operation.spec.arguments["ttlSeconds"] == 1800
    assert set(operation.spec.arguments) == {"csr", "ttlSeconds"}
    sent = json.dumps(operation.document())
    assert "PRIVATE KEY" not in sent
    body = key.decode().split("-----")[2].strip()
    everything = b"".join(path.read_bytes() for path in demo.hub.data.glob("hub.db*"))
    assert body.splitlines()[0].encode() not in everything


def test_a_kubeconfig_for_a_detour_names_the_endpoint_to_verify(demo: World) -> None:
    demo.condition(demo.get(Cluster, "demo", "default"), "True", "Done",
                   endpoint="10.77.1.10:6443")  # fmt: skip

    with demo.answering(signing()):
        said = demo.ok("clusters kubeconfig demo --server https://127.0.0.1:6443")

    cluster = said.data["clusters"][0]["cluster"]
    assert cluster["server"] == "https://127.0.0.1:6443"
    assert cluster["tls-server-name"] == "10.77.1.10"
    assert "https://" in demo.refused("clusters kubeconfig demo --server 127.0.0.1", code=2)
    assert demo.cli("clusters kubeconfig demo --ttl-hours 200").code == 2


def test_a_cluster_without_endpoint_has_no_kubeconfig_yet(demo: World) -> None:
    assert "has no endpoint yet" in demo.refused("clusters kubeconfig demo")


def test_deletion_wants_the_name_typed(demo: World) -> None:
    assert "--yes" in demo.refused("clusters delete demo", code=2)
    said = demo.cli("clusters delete demo", stdin="dmo\n", tty=True)
    assert said.code == 2
    assert "the name does not match; nothing was deleted" in said.err
    assert "machines" in said.err
    assert not demo.get(Cluster, "demo", "default").is_deleting

    demo.ok("clusters delete demo", stdin="demo\n", tty=True)

    assert demo.get(Cluster, "demo", "default").is_deleting
    assert "is being deleted" in demo.refused("clusters apply -f", str(demo.folder / "demo.yaml"))


def test_json_goes_to_pipes_and_yaml_where_asked(demo: World) -> None:
    assert json.loads(demo.ok("clusters list").out)[0]["kind"] == "Cluster"
    assert demo.ok("clusters list -o yaml").out.startswith("- kind: Cluster\n")
    assert demo.ok("-o table clusters list").out.startswith("NAME ")
    assert json.loads(Path(demo.file("x", demo.ok("machines list").out)).read_text()) == []
