"""What thin guests refuse, and how they die: in the words of a real node."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio
import pytest

from moorage.bootstrap import gateway_client
from moorage.kit.errors import UnavailableError
from moorage.kube import Credentials, KubeClient
from moorage.resources import Cluster, Machine, NodePool, Operation
from moorage.resources.kubernetes import Role
from tests.builders import a_cluster
from tests.thin.conftest import ThinWorld
from tests.thin.test_clusters import all_ready, ask_cluster, ask_site


def says(phase: str, words: str = "") -> Callable[[list[Machine]], bool]:
    return lambda machines: any(
        machine.status.progress == phase and words in (machine.status.progress_detail or "")
        for machine in machines
    )


async def client(world: ThinWorld, cluster: Cluster) -> KubeClient:
    keys = await world.work.env.access.keys(cluster)
    assert keys is not None
    signed = gateway_client(keys, now=world.work.env.clock.now())
    assert signed.key is not None
    return KubeClient(
        f"https://{cluster.status.endpoint}",
        Credentials(keys.ca.certificate, signed.certificate, signed.key, signed.expires_at),
    )


async def one_of(world: ThinWorld, role: Role) -> Machine:
    return next(m for m in await world.store.list(Machine) if m.spec.role is role)


async def test_a_template_of_another_version_is_refused_by_the_node(world: ThinWorld) -> None:
    await ask_site(world)
    cluster = a_cluster()
    cluster.spec.placement.template = "templates/golden"
    await world.ask_cluster(cluster)

    (machine,) = await world.until(Machine, says("VersionMismatch"), "the node refuses")

    assert machine.status.progress_failed
    assert "the template has kubeadm v1.33.1 and the cluster wants v1.34.4" in (
        machine.status.progress_detail or ""
    )


async def test_a_failed_init_is_final_and_a_failed_join_is_tried_again(world: ThinWorld) -> None:
    guests = world.vcenter.guests
    guests.settings(retrySeconds=0.2)
    guests.fault("demo-workers-*", "kubeadm", detail="the kubelet is not healthy", count=1)
    guests.fault("bad-cp-*", "kubeadm", detail="port 6443 is in use", count=1)
    await ask_site(world)
    await ask_cluster(world, workers=1)
    await world.until(Cluster, all_ready(2), "the worker has joined at its second try")

    await ask_cluster(world, workers=0, name="bad")
    machines = await world.until(
        Machine, says("KubeadmFailed", "port 6443 is in use"), "the founder gives up"
    )

    (bad,) = [machine for machine in machines if machine.spec.cluster == "bad"]
    assert bad.status.progress_failed
    assert bad.status.node_name is None


async def test_a_node_without_data_is_silent_and_the_lab_knows_why(world: ThinWorld) -> None:
    world.vcenter.guests.fault("demo-cp-*", "cloud-init", detail="not a gzipped file")
    await ask_site(world)
    await ask_cluster(world, workers=0)
    await world.until(
        Machine, lambda m: bool(m) and m[0].status.is_true("PoweredOn"), "the VM is powered on"
    )

    async def booted() -> bool:
        return world.vcenter.guests.guests()[0].phase != "Booting"

    await eventually(booted)
    (guest,) = world.vcenter.guests.guests()
    assert (guest.phase, guest.detail) == ("CloudInitFailed", "not a gzipped file")
    (machine,) = await world.store.list(Machine)
    assert machine.status.progress is None


async def test_the_address_moves_when_its_holder_hangs_and_a_reset_heals(
    world: ThinWorld,
) -> None:
    guests = world.vcenter.guests
    guests.settings(vipSeconds=0.3, graceSeconds=0.3)
    await ask_site(world)
    await ask_cluster(world, workers=0, control_plane={"replicas": 3})
    (cluster,) = await world.until(Cluster, all_ready(3), "three nodes are Ready")
    founder = next(m for m in await world.store.list(Machine) if m.spec.bootstrap == "init")
    name = founder.metadata.name

    guests.hang(name)  # it founded the cluster, so it holds the address

    async with await client(world, cluster) as api:
        await eventually(lambda: not_ready(api, name))
        members = await api.etcd_members()
        assert [m.name for m in members if not m.healthy] == [name]
        (vm,) = [vm for vm in world.vms() if vm["name"] == name]
        assert vm["power"] == "poweredOn"
        await anyio.sleep(0.5)  # all that follows from its silence has been written
        world.reset_vm(vm["moref"])
        await eventually(lambda: all_healthy(api))
        await world.until(Cluster, all_ready(3), "the node is back")


async def test_a_node_that_lost_its_power_is_started_and_comes_back(world: ThinWorld) -> None:
    await ask_site(world)
    await ask_cluster(world, workers=0)
    (cluster,) = await world.until(Cluster, all_ready(1), "the node is Ready")
    (machine,) = await world.store.list(Machine)
    world.vcenter.guests.settings(bootSeconds=1)

    world.vcenter.guests.die(machine.metadata.name)

    async with await client(world, cluster) as api:
        with pytest.raises(UnavailableError):
            await api.version()
        await eventually(lambda: all_healthy(api))
    (guest,) = world.vcenter.guests.guests()
    assert (guest.on, guest.phase, guest.node) == (True, "Joined", machine.metadata.name)


async def eventually(claim: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(30):
        while True:
            try:
                if await claim():
                    return
            except UnavailableError:
                pass  # nobody answers at the address just now
            await anyio.sleep(0.05)


async def not_ready(api: KubeClient, name: str) -> bool:
    node = await api.find_node(name)
    return node is not None and not node.ready


async def all_healthy(api: KubeClient) -> bool:
    return all(member.healthy for member in await api.etcd_members())


async def logs_of(world: ThinWorld, machine: Machine, name: str) -> Operation:
    """Ask for a machine's logs, and wait for the end of that."""
    document = {
        "metadata": {"name": name, "project": "default"},
        "spec": {
            "verb": "logs",
            "subjectKind": "Machine",
            "subjectName": machine.metadata.name,
            "arguments": {},
        },
    }
    await world.ask(Operation.model_validate(document))

    def ended(operations: list[Operation]) -> list[Operation]:
        return [o for o in operations if o.metadata.name == name and o.status.completed_at]

    found = await world.until(Operation, lambda o: bool(ended(o)), f"{name} has ended")
    return ended(found)[0]


async def test_logs_of_a_thin_node_come_through_the_mailbox(world: ThinWorld) -> None:
    await ask_site(world)
    await ask_cluster(world, workers=0)
    await world.until(Cluster, all_ready(1), "the node is Ready")
    machine = await one_of(world, Role.CONTROL_PLANE)

    first = await logs_of(world, machine, "first")
    # The node obeys rising numbers only, which are moments: this one is before the first.
    await world.restart_with_clock(-timedelta(hours=2))
    second = await logs_of(world, machine, "second")

    for done in (first, second):
        assert not done.status.failed, done.status.message
        assert "RunningKubeadm" in done.status.result["logs"]


async def test_evictions_move_pods_and_no_secret_stays(world: ThinWorld) -> None:
    await ask_site(world)
    _, pool = await ask_cluster(world, workers=2)
    (cluster,) = await world.until(Cluster, all_ready(3), "three nodes are Ready")
    web = {"app": "web"}
    async with await client(world, cluster) as api:
        await api.apply(
            [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {"name": "web", "namespace": "default"},
                    "spec": {
                        "replicas": 4,
                        "selector": {"matchLabels": web},
                        "template": {
                            "metadata": {"labels": web},
                            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
                        },
                    },
                }
            ]
        )
        found = await world.store.get(NodePool, *pool.key)
        found.spec.replicas = 1
        await world.ask(found)
        machines = await world.until(Machine, lambda m: len(m) == 2, "one worker is gone")
        worker = next(m for m in machines if m.spec.role is Role.WORKER).metadata.name

        async def all_run() -> bool:
            pods = [pod for pod in await api.pods_on(worker) if pod.namespace == "default"]
            return sum(pod.ready for pod in pods) == 4

        await eventually(all_run)
    for vm in world.vms():
        assert "guestinfo.userdata" not in vm["extraConfig"]
