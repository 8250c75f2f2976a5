"""Power, deletion and identity of one VM. Blocking: run through ``Session.call``."""

from collections.abc import Callable, Sequence
from typing import Any

from pyVmomi import vim

from moorage.kit.errors import ForbiddenError, NotFoundError
from moorage.vsphere.properties import Want, keyed, lower, retrieve, text
from moorage.vsphere.session import Session
from moorage.vsphere.types import OWNER_KEY, VM, OwnerMark

Start = Callable[[Session, VM], Any]


def power_on(session: Session, vm: VM) -> Any:
    """Start it."""
    return _ref(session, vm).PowerOnVM_Task()


def power_off(session: Session, vm: VM) -> Any:
    """Stop it at once, as by pulling the plug, after reading once more that it is ours."""
    check_still_ours(session, vm)
    return _ref(session, vm).PowerOffVM_Task()


def destroy(session: Session, vm: VM) -> Any:
    """Delete the VM and its disks, after reading once more that it is ours.

    Raises ``ForbiddenError`` when it is not, or another gateway has taken it over.
    """
    check_still_ours(session, vm)
    return _ref(session, vm).Destroy_Task()


def set_identity(session: Session, vm: VM, mark: OwnerMark) -> Any:
    """Set instance UUID and mark again, on a VM that is still ours by its mark, read once more."""
    check_still_ours(session, vm)
    return _ref(session, vm).ReconfigVM_Task(
        vim.vm.ConfigSpec(
            instanceUuid=mark.instance_uuid or mark.uid,
            changeVersion=vm.change_version,
            extraConfig=[vim.option.OptionValue(key=OWNER_KEY, value=mark.to_json())],
        )
    )


def read_marks(session: Session, vms: Sequence[VM]) -> list[OwnerMark]:
    """Return the marks that VMs bear now; those that bear none, or are gone, are left out."""
    want = Want(vim.VirtualMachine, [vm.moref for vm in vms], [keyed(OWNER_KEY)])
    found = retrieve(session, [want]).values()
    marks = (OwnerMark.parse(text(values.get(keyed(OWNER_KEY)))) for values in found)
    return [mark for mark in marks if mark is not None]


def check_still_ours(session: Session, vm: VM) -> None:
    """Read mark and instance UUID now, and compare them with what was decided upon."""
    what = f"VM {vm.name} ({vm.moref})"
    paths = ["name", "config.instanceUuid", keyed(OWNER_KEY)]
    values = retrieve(session, [Want(vim.VirtualMachine, [vm.moref], paths)]).get(vm.moref)
    if values is None:
        raise NotFoundError(f"{what} is no longer in vCenter")
    mark = OwnerMark.parse(text(values.get(keyed(OWNER_KEY))))
    if mark is None or vm.owner is None:
        raise ForbiddenError(f"{what} bears no owner mark: it is not ours, and is not touched")
    now, then = mark, vm.owner
    if (now.installation, now.kind, now.uid) != (then.installation, then.kind, then.uid):
        raise ForbiddenError(
            f"{what} now belongs to {now.kind} {now.uid} of installation {now.installation}: "
            "it is not touched"
        )
    if now.epoch > then.epoch:
        raise ForbiddenError(
            f"{what} was taken over by another gateway (epoch {now.epoch}, ours is {then.epoch})"
        )
    if lower(values.get("config.instanceUuid")) != vm.instance_uuid:
        raise ForbiddenError(
            f"{what} has another instance UUID than a moment ago: it is not touched"
        )


def _ref(session: Session, vm: VM) -> Any:
    return session.ref(vim.VirtualMachine, vm.moref)
