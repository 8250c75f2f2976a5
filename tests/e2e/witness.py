"""A second witness: what vCenter tells an administrator over its API. pyVmomi only, not our code.

Run inside the lab's network: ``witness.py ADDRESS USER PASSWORD VERB [NAME…]``; the verbs are
inventory, extra, destroy, make and reset.
"""

import json
import ssl
import sys
import time
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim


def objects(content: Any, kind: Any) -> list[Any]:
    """Return all managed objects of a kind."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], recursive=True)
    found = list(view.view)
    view.Destroy()
    return found


def inventory(content: Any) -> list[list[str]]:
    """Return type, moref and name of all that there is; of VMs their identity and power too."""
    rows = []
    for one in objects(content, vim.ManagedEntity):
        row = [type(one).__name__, one._moId, one.name]
        if isinstance(one, vim.VirtualMachine):
            row += [one.config.instanceUuid, one.config.uuid, str(one.runtime.powerState)]
        rows.append(row)
    return sorted(rows)


def finish(task: Any) -> None:
    """Wait for a task's end."""
    while task.info.state not in ("success", "error"):
        time.sleep(0.02)
    if task.info.error is not None:
        raise task.info.error


def destroy(content: Any, name: str) -> None:
    """Power a VM off and delete it, as an administrator might by mistake."""
    vm = next(one for one in objects(content, vim.VirtualMachine) if one.name == name)
    if vm.runtime.powerState == "poweredOn":
        finish(vm.PowerOffVM_Task())
    finish(vm.Destroy_Task())


def extra(content: Any) -> dict[str, dict[str, str]]:
    """Return every VM's whole ``extraConfig``."""
    return {
        vm.name: {option.key: str(option.value) for option in vm.config.extraConfig}
        for vm in objects(content, vim.VirtualMachine)
    }


def reset(content: Any, names: list[str]) -> None:
    """Power-cycle VMs, hard and all at once."""
    vms = [one for one in objects(content, vim.VirtualMachine) if one.name in names]
    for task in [vm.ResetVM_Task() for vm in vms]:
        finish(task)


def make(content: Any, name: str) -> None:
    """Make a small VM of that name in the folder of clusters, as a stranger."""
    folder = next(one for one in objects(content, vim.Folder) if one.name == "clusters")
    pool = objects(content, vim.ResourcePool)[0]
    spec = vim.vm.ConfigSpec(
        name=name,
        numCPUs=1,
        memoryMB=128,
        guestId="otherGuest",
        files=vim.vm.FileInfo(vmPathName="[ds1]"),
    )
    finish(folder.CreateVM_Task(spec, pool))


def main(address: str, user: str, password: str, verb: str, *names: str) -> None:
    """Do one thing and print its result."""
    context = ssl._create_unverified_context()  # noqa: S323 - the lab's own network
    service = SmartConnect(
        host=address.partition(":")[0], user=user, pwd=password, sslContext=context
    )
    try:
        content = service.RetrieveContent()
        match verb:
            case "inventory":
                sys.stdout.write(json.dumps(inventory(content)))
            case "extra":
                sys.stdout.write(json.dumps(extra(content)))
            case "reset":
                reset(content, list(names))
            case "destroy":
                destroy(content, *names)
            case "make":
                make(content, *names)
    finally:
        Disconnect(service)


if __name__ == "__main__":
    main(*sys.argv[1:])
