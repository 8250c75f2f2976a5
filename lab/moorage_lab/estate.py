"""What is there right now: read from files and the kernel, so that no daemon is needed."""

from dataclasses import asdict, dataclass
from typing import Any

from moorage_lab import cgroup, forward, network
from moorage_lab.config import Config
from moorage_lab.control import Control
from moorage_lab.disk import Image
from moorage_lab.errors import LabError
from moorage_lab.places import VCENTER, State
from moorage_lab.service import Service
from moorage_lab.vm import VM


@dataclass(frozen=True, slots=True)
class Node:
    """One VM of the hypervisor."""

    name: str
    uuid: str
    power: str
    pid: int | None
    """The guest's init, seen from the host."""
    addresses: list[str]
    memory_mib: int | None
    memory_limit_mib: int
    cpus: int
    console: str


def _no_image(name: str) -> Image:
    raise LabError(f"image {name} is not needed to look at a VM")


def vms(state: State) -> list[VM]:
    """The hypervisor's VMs, for looking at."""
    if not state.vms.is_dir():
        return []
    paths = (path for path in sorted(state.vms.iterdir()) if (path / "vm.json").exists())
    return [VM.load(path, _no_image, state.stores) for path in paths]


def node_of(vm: VM) -> Node:
    init = vm.container.init()
    tools = vm.record.tools or {}
    return Node(
        name=vm.document.name,
        uuid=vm.document.uuid,
        power="poweredOn" if init is not None else "poweredOff",
        pid=init.pid if init is not None else None,
        addresses=[ip for nic in tools.get("nics", []) for ip in nic["ips"]],
        memory_mib=cgroup.memory_mib(vm.container.name) if init is not None else None,
        memory_limit_mib=vm.document.memory_mib,
        cpus=vm.document.cpus,
        console=str(vm.container.console),
    )


def nodes(state: State) -> list[Node]:
    return [node_of(vm) for vm in vms(state)]


def find_vm(state: State, name: str) -> VM:
    """A VM by name, UUID or the UUID's beginning."""
    found = [
        vm for vm in vms(state) if vm.document.name == name or vm.document.uuid.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(vm.document.name for vm in vms(state)) or "none"
    what = "no VM" if not found else f"{len(found)} VMs"
    raise LabError(f"{what} of the hypervisor have the name or UUID {name!r}; known: {known}")


def status(state: State) -> dict[str, Any]:
    """The whole lab as plain data.

    Raises:
        NotRunningError: No lab is up.
    """
    config = Config.load(state)
    with Control(state.control_socket) as control:
        healthy = control.is_healthy()
        try:
            counters = control.counters()
        except LabError:
            counters = None
    services = {
        name: identity.pid if (identity := Service(name, state).running()) else None
        for name in ("daemon", "vcenter", "dhcp")
    }
    return {
        "state": str(state.root),
        "network": network.has_lab_network(),
        "services": services,
        "vcenter": {
            "address": VCENTER,
            "healthy": healthy,
            "ca": str(state.ca),
            "inventory": config.inventory,
            "counters": counters,
        },
        "images": config.images,
        "nodes": [plain(node) for node in nodes(state)],
        "forwards": [
            {"listen": one.listen, "target": one.target, "pid": one.process.pid}
            for one in forward.running(state)
        ],
    }


def plain(node: Node) -> dict[str, Any]:
    """A node with the keys that JSON has everywhere."""
    return {_camel(key): value for key, value in asdict(node).items()}


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)
