"""Templates that somebody asks for: found, made of a VM, and at hand on datastores beforehand."""

from datetime import timedelta
from typing import Any

from pyVim.task import WaitForTask
from pyVmomi import vim

from moorage.resources import CloudAccount, Machine, Metadata, Template, TemplateReplica
from moorage.resources.template import TemplateSpec
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import powered_on, reason
from tests.reconcile.test_replicas import (
    ask_on_ds2,
    gone,
    parents,
    ready,
    replicas_in_vcenter,
)

UBUNTU = "templates/ubuntu-2404-kube-v1.34.4"


def a_template(name: str = "ubuntu", **changes: Any) -> Template:
    given: dict[str, Any] = {"account": "lab", "source": {"existing": UBUNTU}, "datacenter": "dc1"}
    return Template(
        metadata=Metadata(name=name), spec=TemplateSpec.model_validate({**given, **changes})
    )


def prefetched(*datastores: str) -> Template:
    return a_template(
        computeCluster="cc1", network="nodes", folder="clusters", prefetch=list(datastores)
    )


def make_vm(world: World, name: str, *, disk: bool = True, hardware: str = "vmx-15") -> None:
    """Make a VM that could be a template, as its owner would."""
    with world._as_somebody() as index:
        controller = vim.vm.device.ParaVirtualSCSIController(key=-1, sharedBus="noSharing")
        devices = [vim.vm.device.VirtualDeviceSpec(operation="add", device=controller)]
        if disk:
            backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                fileName="", diskMode="persistent", thinProvisioned=True
            )
            device = vim.vm.device.VirtualDisk(
                key=-2, controllerKey=-1, unitNumber=0, backing=backing, capacityInKB=1 << 20
            )
            devices.append(
                vim.vm.device.VirtualDeviceSpec(
                    operation="add", fileOperation="create", device=device
                )
            )
        spec = vim.vm.ConfigSpec(
            name=name,
            guestId="ubuntu64Guest",
            version=hardware,
            files=vim.vm.FileInfo(vmPathName="[ds1]"),
            deviceChange=devices,
        )
        pool = index.FindByInventoryPath("/dc1/host/cc1/Resources")
        WaitForTask(index.FindByInventoryPath("/dc1/vm/templates").CreateVM_Task(spec, pool))


def snapshot(world: World, path: str) -> None:
    with world._as_somebody() as index:
        vm = index.FindByInventoryPath(path)
        WaitForTask(vm.CreateSnapshot_Task(name="mine", memory=False, quiesce=False))


def power_on(world: World, path: str) -> None:
    with world._as_somebody() as index:
        WaitForTask(index.FindByInventoryPath(path).PowerOnVM_Task())


def names_of_templates(world: World) -> set[str]:
    every = world.vcenter.control.inventory()["vms"]
    return {vm["name"] for vm in every if vm["template"]}


def let_go(found: list[Template]) -> bool:
    """Tell whether the gateway has done its part of a deletion; the rest is the hub's."""
    return all(not one.metadata.finalizers for one in found)


def said(template: Template) -> str:
    condition = template.status.condition("Ready")
    return condition.message if condition is not None else ""


async def test_a_vm_becomes_a_template_of_its_owners(world: World) -> None:
    await world.ask_account()
    make_vm(world, "golden-kube-v1.34.4")

    await world.ask(a_template(source={"virtualMachine": "templates/golden-kube-v1.34.4"}))

    (template,) = await world.until(Template, ready(1), "it is a template")
    assert template.status.path == "templates/golden-kube-v1.34.4"
    assert "golden-kube-v1.34.4" in names_of_templates(world)
    await world.until(
        CloudAccount,
        lambda found: "templates/golden-kube-v1.34.4" in found[0].status.templates,
        "the account lists it",
    )
    await world.delete(template)
    await world.until(Template, let_go, "it is forgotten")
    assert "golden-kube-v1.34.4" in names_of_templates(world)


async def test_what_is_unfit_is_refused_with_every_reason(world: World) -> None:
    await world.ask_account()
    make_vm(world, "old", disk=False, hardware="vmx-11")
    snapshot(world, "/dc1/vm/templates/old")
    power_on(world, "/dc1/vm/templates/old")

    await world.ask(a_template(source={"virtualMachine": "templates/old"}))

    (template,) = await world.until(
        Template, lambda found: any(reason(one) == "MarkRefused" for one in found), "refused"
    )
    for word in ("powered off", "snapshots", "no disk", "hardware version 11"):
        assert word in said(template), word
    assert "old" not in names_of_templates(world)


async def test_a_machine_of_ours_is_never_marked(world: World) -> None:
    await ask_on_ds2(world, workers=0)
    (machine,) = await world.until(Machine, powered_on(1), "the machine is powered on")

    path = f"clusters/{machine.metadata.name}"
    await world.ask(a_template(source={"virtualMachine": path}))

    (template,) = await world.until(
        Template, lambda found: any(reason(one) == "MarkRefused" for one in found), "refused"
    )
    assert "belongs to Moorage" in said(template)


async def test_a_path_that_is_nothing_is_told(world: World) -> None:
    await world.ask_account()

    await world.ask(a_template(source={"existing": "templates/nothing"}))

    (template,) = await world.until(
        Template, lambda found: any(reason(one) == "TemplateNotFound" for one in found), "told"
    )
    assert "templates/nothing" in said(template)


async def test_a_lost_answer_to_the_mark_does_no_harm(world: World) -> None:
    await world.ask_account()
    make_vm(world, "golden-kube-v1.34.4")
    world.vcenter.control.fault("MarkAsTemplate", "dropAnswer")

    await world.ask(a_template(source={"virtualMachine": "templates/golden-kube-v1.34.4"}))

    await world.until(Template, ready(1), "it is a template")


async def test_machines_find_the_replica_that_was_prefetched(world: World) -> None:
    world.replica_idle = timedelta(0)
    await world.stop()
    await world.start()
    await world.ask_account()
    await world.ask(prefetched("ds1", "ds2"))
    (template,) = await world.until(Template, ready(1), "the replicas are ready")
    (vm,) = replicas_in_vcenter(world)
    assert vm["disks"][0]["file"].startswith("[ds2] ")
    assert [(one.datastore, one.replica) for one in template.status.prefetched] == [
        ("ds1", None),
        ("ds2", vm["name"]),
    ]

    await ask_on_ds2(world)
    await world.until(Machine, powered_on(3), "three machines are powered on")

    assert parents(world) == {vm["name"]: 3}
    (replica,) = await world.store.list(TemplateReplica)
    assert replica.status.unused_since is None


async def test_a_prefetched_replica_goes_with_who_asked_for_it(world: World) -> None:
    world.replica_idle = timedelta(0)
    await world.stop()
    await world.start()
    before = world.vcenter.control.inventory()
    await world.ask_account()
    template = await world.ask(prefetched("ds2"))
    (template,) = await world.until(Template, ready(1), "the replica is ready")

    template.spec.prefetch = []
    await world.ask(template)

    await world.until(TemplateReplica, gone, "the replica is gone")
    assert world.vcenter.control.inventory() == before


async def test_every_place_that_is_not_there_is_told_with_its_field(world: World) -> None:
    await world.ask_account()
    wanted = prefetched("ds2", "nowhere")
    wanted.spec.network = "no-such"

    await world.ask(wanted)

    (template,) = await world.until(
        Template, lambda found: any(reason(one) == "PlacementInvalid" for one in found), "told"
    )
    assert "spec.prefetch[1]" in said(template)
    assert "spec.network" in said(template)
    assert not replicas_in_vcenter(world)
