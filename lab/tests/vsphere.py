"""A small vSphere client of the lab's own tests: clone, power, and what the guest reports."""

import base64
import gzip
import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl


@contextmanager
def connected(host: str, port: int, ca: Path, user: str, password: str) -> Iterator[Any]:
    context = ssl.create_default_context(cafile=str(ca))
    si = SmartConnect(host=host, port=port, user=user, pwd=password, sslContext=context)
    try:
        yield si
    finally:
        with suppress(vim.fault.NotAuthenticated):
            Disconnect(si)


def find(si: Any, kind: type, name: str) -> Any:
    view = si.content.viewManager.CreateContainerView(si.content.rootFolder, [kind], True)
    try:
        return next(found for found in view.view if found.name == name)
    finally:
        view.Destroy()


def wait(done: Callable[[], Any], what: str, timeout_s: float) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := done()):
        assert time.monotonic() < deadline, f"{what}: not after {timeout_s} s"
        time.sleep(0.1)
    return value


def done(task: Any, timeout_s: float = 60) -> Any:
    """Wait for a task and answer its result."""
    wait(lambda: task.info.state in ("success", "error"), f"task {task}", timeout_s)
    if task.info.state == "error":
        raise task.info.error
    return task.info.result


def clone(
    si: Any, template: str, name: str, extra: dict[str, str], *, memory_mib: int = 3072
) -> Any:
    source = find(si, vim.VirtualMachine, template)
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(
            datastore=source.datastore[0],
            pool=find(si, vim.ClusterComputeResource, "cc1").resourcePool,
        ),
        config=vim.vm.ConfigSpec(
            numCPUs=2,
            memoryMB=memory_mib,
            extraConfig=[vim.option.OptionValue(key=k, value=v) for k, v in extra.items()],
        ),
        powerOn=False,
        template=False,
    )
    return done(source.CloneVM_Task(folder=source.parent, name=name, spec=spec))


def mac_of(vm: Any) -> str:
    devices = vm.config.hardware.device
    return str(
        next(d.macAddress for d in devices if isinstance(d, vim.vm.device.VirtualEthernetCard))
    )


def guestinfo(
    instance_id: str, hostname: str, mac: str, address: str, user_data: str
) -> dict[str, str]:
    network = {
        "version": 2,
        "ethernets": {
            "id0": {
                "match": {"macaddress": mac},
                "set-name": "eth0",
                "addresses": [f"{address}/16"],
                "gateway4": "10.77.0.1",
                "nameservers": {"addresses": ["10.77.0.1"]},
            }
        },
    }
    metadata = {
        "instance-id": instance_id,
        "local-hostname": hostname,
        "wait-on-network": {"ipv4": True},
        "network": network,
    }
    return {
        "guestinfo.metadata": base64.b64encode(json.dumps(metadata).encode()).decode(),
        "guestinfo.metadata.encoding": "base64",
        "guestinfo.userdata": base64.b64encode(gzip.compress(user_data.encode())).decode(),
        "guestinfo.userdata.encoding": "gzip+base64",
    }


def reconfigure(vm: Any, extra: dict[str, str]) -> None:
    values = [vim.option.OptionValue(key=k, value=v) for k, v in extra.items()]
    done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=values)))


def get(vm: Any, path: str) -> Any:
    """One named property."""
    collector = vim.ServiceInstance("ServiceInstance", vm._stub).content.propertyCollector
    spec = vmodl.query.PropertyCollector.FilterSpec(
        propSet=[vmodl.query.PropertyCollector.PropertySpec(type=type(vm), pathSet=[path])],
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=vm)],
    )
    (found,) = collector.RetrieveContents([spec])
    return found.propSet[0].val if found.propSet else None


def power(vm: Any) -> str:
    return str(get(vm, "runtime.powerState"))


def extra_config(vm: Any) -> dict[str, str]:
    return {option.key: option.value for option in vm.config.extraConfig}
