"""``--wait``: success with its summary, the hopeless, the late, and a hub that goes away."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from moorage import bootstrap
from moorage.cli.live import GIVEN_UP
from moorage.cli.milestones import milestones
from moorage.resources import Cluster, Machine, NodePool
from moorage.resources.phase import HOPELESS
from tests.builders import EARLY, a_cluster, a_machine
from tests.cli.world import World, a_document
from tests.conditions import raised_terminal


@pytest.fixture
def demo(site: World) -> World:
    """Make the cluster demo with one worker asked for."""
    site.ok("clusters apply -f", site.file("demo.yaml", a_document()))
    return site


def lines(text: str) -> list[str]:
    """Return the log without times."""
    return [re.sub(r"^\[ *[\d.]+ s\] ", "", line) for line in text.splitlines()]


def become_ready(world: World) -> None:
    """Let the gateway finish cluster and pool."""
    at = (world.hub.clock.now() + timedelta(seconds=30)).isoformat()
    world.ready(world.get(NodePool, "demo-workers", "default"), ready=1)
    world.ready(world.get(Cluster, "demo", "default"), timeline={"Ready": at})


def test_waiting_tells_each_change_once_and_ends_with_a_summary(site: World) -> None:
    file = site.file("demo.yaml", a_document())

    def work() -> None:
        cluster = site.get(Cluster, "demo", "default")
        machine = site.machine(pool=None)
        name = machine.metadata.name
        site.condition(machine, "False", "Cloning", "vCenter task task-7 " + "x" * 900)
        site.condition(cluster, "False", "NodesMissing", "0 of 2; " + f"{name}: why " * 100)
        site.meanwhile(lambda: None, after_s=2.5).join()
        now = (site.hub.clock.now() + timedelta(seconds=5)).isoformat()
        site.ready(machine, timeline={"CloneStarted": now, "Ready": now})
        become_ready(site)

    later = site.meanwhile(work, after_s=2)
    said = site.ok("clusters apply --wait --timeout-s 60 -f", file)
    later.join()

    told = lines(said.err)
    (clone,) = [line for line in told if "Cloning" in line]
    assert re.match(r"  demo-cp-\w+: Cloning \(vCenter task task-7 x+…\)$", clone)
    assert max(map(len, told)) < 200
    assert "cluster demo: Preparing, 0 of 2 nodes Ready" in told
    assert [line for line in told if re.fullmatch(r"  demo-cp-\w+: Ready", line)]
    assert "cluster demo: Ready, 1 of 2 nodes Ready" in told
    summary = told.index(
        next(line for line in told if re.match(r"demo: 1 nodes in [\d.]+ s", line))
    )
    assert any(line.endswith("clones started") for line in told[summary:])
    assert told[-1].endswith("cluster Ready")
    assert said.out == ""


def test_what_was_ready_before_gets_no_summary(demo: World) -> None:
    become_ready(demo)

    said = demo.ok("clusters scale demo workers --replicas 1 --wait --timeout-s 20")

    assert lines(said.err)[-1] == "cluster demo: Ready, 0 of 2 nodes Ready"


def test_a_machine_that_leaves_is_not_called_ready(demo: World) -> None:
    become_ready(demo)
    leaving, staying = demo.machine(), demo.machine()
    demo.condition(leaving, "False", "Draining", "pods that have not left: default/echo")
    demo.condition(staying, "False", "NodeNotReady", "kubelet says so")

    def work() -> None:
        demo.hub.do(_delete(demo, leaving))
        demo.ready(staying)
        demo.meanwhile(lambda: None, after_s=1.5).join()
        demo.ready(demo.get(NodePool, "demo-workers", "default"))

    later = demo.meanwhile(work, after_s=2)
    said = demo.ok("clusters scale demo workers --replicas 3 --wait --timeout-s 30")
    later.join()

    told = lines(said.err)
    assert f"  {leaving.metadata.name}: gone" in told
    assert f"  {staying.metadata.name}: Ready" in told


def test_a_change_is_waited_for_even_if_the_last_one_was_ready(demo: World) -> None:
    become_ready(demo)

    said = demo.cli("clusters scale demo workers --replicas 2 --wait --timeout-s 1.5")

    assert said.code == 3


def test_a_timeout_ends_with_three_and_says_where_it_stands(demo: World) -> None:
    demo.condition(demo.get(Cluster, "demo", "default"), "False", "AccountNotReady", "wait for lab")

    said = demo.cli(f"clusters apply --wait --timeout-s 0.5 -f {demo.folder}/demo.yaml")

    assert said.code == 3
    assert "cluster demo did not get there in 0 s" in said.err or "in 0.5 s" in said.err
    assert "AccountNotReady" in said.err
    assert "wait for lab" in said.err
    assert "it goes on at the hub" in said.err


def test_a_hopeless_cluster_ends_with_one_and_its_whole_message(demo: World) -> None:
    long = "the placement cannot be used\n  spec.placement.template: " + "there is no template " * 9
    demo.condition(demo.get(Cluster, "demo", "default"), "False", "PlacementInvalid", long)

    said = demo.cli(f"clusters apply --wait --timeout-s 30 -f {demo.folder}/demo.yaml")

    assert said.code == 1
    assert said.err.count("there is no template") >= 9
    assert "PlacementInvalid" in said.err


@pytest.mark.parametrize("status", [
    {"reason": "NameTaken", "message": "the name is taken"},
    {"reason": "BootstrapFailed", "message": "the node says no", "progress": "VersionMismatch",
     "progress_failed": True},
])  # fmt: skip
def test_a_hopeless_machine_ends_the_wait_for_its_cluster(
    demo: World, status: dict[str, Any]
) -> None:
    machine = demo.machine()
    demo.condition(machine, "False", status.pop("reason"), status.pop("message"), **status)

    said = demo.cli(f"clusters apply --wait --timeout-s 30 -f {demo.folder}/demo.yaml")

    assert said.code == 1
    assert f"machine {machine.metadata.name}:" in said.err.splitlines()[-1]


def test_a_node_that_tries_again_is_waited_for(demo: World) -> None:
    machine = demo.machine(progress="RunningKubeadm", progress_failed=True, power="poweredOn",
                           progress_detail="kubeadm join ended with 1")  # fmt: skip
    demo.condition(machine, "False", "BootstrapFailed", "has not registered as a node yet")

    said = demo.cli(f"clusters apply --wait --timeout-s 1.5 -f {demo.folder}/demo.yaml")

    assert said.code == 3
    assert "BootstrapFailed (RunningKubeadm: kubeadm join ended with 1)" in said.err


def test_the_hub_may_go_away_while_one_waits(demo: World) -> None:
    def work() -> None:
        demo.hub.stop()
        demo.meanwhile(lambda: None, after_s=3).join()
        demo.hub.start()
        become_ready(demo)

    later = demo.meanwhile(work, after_s=1)
    said = demo.cli(f"clusters apply --wait --timeout-s 60 -f {demo.folder}/demo.yaml")
    later.join()

    assert said.code == 0, said
    assert "the hub is away, trying again" in said.err


def test_waiting_for_several_clusters_shares_one_time(site: World) -> None:
    file = site.file("two.yaml", f"{a_document('one')}---\n{a_document('two')}")

    said = site.cli(f"clusters apply --wait --timeout-s 1 -f {file}")

    assert said.code == 3
    assert "cluster one did not get there" in said.err
    assert "cluster two did not get there" in said.err


def test_deletion_is_followed_to_its_end(demo: World) -> None:
    machine = demo.machine()
    demo.condition(machine, "False", "Draining", "pods that have not left: default/echo")

    def work() -> None:
        demo.hub.do(_delete(demo, machine))
        demo.meanwhile(lambda: None, after_s=1.5).join()
        demo.let_go(NodePool, "demo-workers", "default")
        demo.let_go(Cluster, "demo", "default")

    later = demo.meanwhile(work, after_s=2)
    said = demo.ok("clusters delete demo --yes --wait --timeout-s 60")
    later.join()

    told = lines(said.err)
    assert f"  {machine.metadata.name}: Draining (pods that have not left: default/echo)" in told
    assert told[-1] == f"  {machine.metadata.name}: gone" or told[-1].endswith(
        "Cluster demo is gone"
    )
    assert any(line.endswith("Cluster demo is gone") for line in told)


async def _delete(world: World, machine: Machine) -> None:
    store = world.hub.store
    await store.delete(await store.get(Machine, *machine.key))


def test_the_hopeless_reasons_are_those_that_controllers_raise() -> None:
    assert raised_terminal() == HOPELESS


def test_the_last_words_of_nodes_are_those_of_the_boot_script() -> None:
    script = Path(bootstrap.__file__).parent / "files" / "boot.sh"
    assert set(re.findall(r"give_up (\w+) ", script.read_text())) == GIVEN_UP


def test_milestones_tell_where_the_time_went() -> None:
    cluster = a_cluster()
    cluster.metadata.created_at = EARLY

    def at(seconds: float) -> str:
        return (EARLY + timedelta(seconds=seconds)).isoformat()

    cluster.status.timeline = {"EndpointClaimed": at(1), "APIReachable": at(40), "Ready": at(100)}
    machines = [a_machine(), a_machine()]
    machines[0].status.timeline = {"CloneStarted": at(2), "Ready": at(60)}
    machines[1].status.timeline = {"CloneStarted": at(5), "Ready": at(99)}

    found = milestones(cluster, machines)

    assert [(m.name, m.at_s, m.took_s) for m in found] == [
        ("endpoint claimed", 1, 1),
        ("clones started", 5, 4),
        ("API answers", 40, 35),
        ("nodes Ready", 99, 59),
        ("cluster Ready", 100, 1),
    ]
    assert sum(m.share for m in found) == pytest.approx(1)
