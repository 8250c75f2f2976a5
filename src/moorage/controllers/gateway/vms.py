"""Finding and taking away the VM that was made for a resource: of a Machine, or a replica."""

from moorage.engine import DONE, Outcome, wait
from moorage.kit.errors import UnavailableError
from moorage.resources import Machine, TemplateReplica
from moorage.vsphere import Absent, Found, Power, Presence, TaskState, Unknown, VCenter

Made = Machine | TemplateReplica
"""What has a VM: it is called like the resource, and its instance UUID is the resource's UID."""


async def look_for_vm(made: Made, vcenter: VCenter) -> Presence:
    """Look in memory; search vCenter itself before a VM that was once asked for counts as gone."""
    uid = made.metadata.uid
    seen = vcenter.find(uid, moref=made.status.vm)
    if not isinstance(seen, Absent) or made.status.clone_task is None:
        return seen
    task = vcenter.task(made.status.clone_task, uid)
    if task is not None and task.state is TaskState.RUNNING:
        return Unknown(f"vCenter task {task.moref}", reason="Cloning")
    if task is not None and task.state is TaskState.ERROR:
        made.status.clone_task = None
        made.status.clone_failed = True
        vcenter.estate.forget()
        raise UnavailableError(f"vCenter could not clone the VM: {task.error}")
    return await vcenter.prove_absent(uid, made.status.vm, name=made.metadata.name)


async def take_away_vm(made: Made, vcenter: VCenter) -> Outcome:
    """Power off and destroy; done when the VM is proven absent."""
    uid = made.metadata.uid
    vcenter.give_up_clone(uid)
    if made.status.clone_task is not None and made.status.vm is None:
        task = vcenter.task(made.status.clone_task, uid)
        if task is not None and task.state is TaskState.RUNNING:
            return wait("Cloning", "deleted once its clone task has ended", after=30)
    seen = vcenter.find(uid, moref=made.status.vm)
    if isinstance(seen, Absent):
        seen = await vcenter.prove_absent(uid, made.status.vm, name=made.metadata.name)
    match seen:
        case Absent():
            return DONE
        case Unknown(why=why, reason=reason):
            return wait(reason, why, after=2)
        case Found(vm=vm):
            if vm.power is not Power.OFF:
                started = await vcenter.power_off(vm)
                return wait("PoweringOff", f"waits for {started}", after=30)
            started = await vcenter.destroy(vm)
            return wait("Destroying", f"waits for {started}", after=30)
    raise AssertionError(seen)
