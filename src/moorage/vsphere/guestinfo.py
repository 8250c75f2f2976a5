"""``extraConfig`` of one VM: written by reconfigure, read back by key. Blocking.

Events of vCenter keep what a reconfigure sets: secrets never pass here, only in clones.
"""

from collections.abc import Collection, Mapping
from typing import Any

from pyVmomi import vim

from moorage.vsphere.properties import Want, keyed, retrieve, text
from moorage.vsphere.session import Session
from moorage.vsphere.types import VM


def set_extra_config(session: Session, vm: VM, values: Mapping[str, str]) -> Any:
    """Start to set keys; an empty value removes a key. Refused when the VM was changed since."""
    return session.ref(vim.VirtualMachine, vm.moref).ReconfigVM_Task(
        vim.vm.ConfigSpec(
            changeVersion=vm.change_version,
            extraConfig=[
                vim.option.OptionValue(key=key, value=value)
                for key, value in sorted(values.items())
            ],
        )
    )


def read_extra_config(
    session: Session, wanted: Mapping[str, Collection[str]]
) -> dict[str, dict[str, str]]:
    """Return values of keys, by the moref of their VM, in one call; VMs that are gone are left out.

    Keys that are unset or empty are left out as well.
    """
    wants = [
        Want(vim.VirtualMachine, [vm], ["name", *(keyed(key) for key in keys)])
        for vm, keys in wanted.items()
    ]
    found = retrieve(session, wants)
    return {
        vm: {key: value for key in keys if (value := text(found[vm].get(keyed(key))))}
        for vm, keys in wanted.items()
        if vm in found
    }
