"""``extraConfig`` of one VM: written by reconfigure, read back by key. Blocking.

Events of vCenter keep what a reconfigure sets: secrets never pass here, only in clones.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pyVmomi import vim

from moorage.kit.errors import NotFoundError
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


def read_extra_config(session: Session, vm: VM, keys: Iterable[str]) -> dict[str, str]:
    """Return the values of these keys; those that are unset or empty are left out."""
    names = list(keys)
    want = Want(vim.VirtualMachine, [vm.moref], ["name", *(keyed(key) for key in names)])
    values = retrieve(session, [want]).get(vm.moref)
    if values is None:
        raise NotFoundError(f"VM {vm.name} ({vm.moref}) is no longer in vCenter")
    found = {key: text(values.get(keyed(key))) for key in names}
    return {key: value for key, value in found.items() if value}
