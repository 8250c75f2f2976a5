"""What tests of the vSphere side share: one vCenter, seen from our side and from behind."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
from pyVmomi import vim

from moorage.kit.ids import new_uid
from moorage.resources.account import Trust
from moorage.vsphere import (
    VM,
    CloneRequest,
    Endpoint,
    Found,
    Limits,
    OwnerMark,
    Power,
    ResolvedTarget,
    Target,
    TaskState,
    VCenter,
)
from moorage.vsphere.properties import Want, moref, retrieve
from moorage.vsphere.session import Session
from moorage_lab.api import VCenterProcess

INSTALLATION = "tests"
TARGET = Target(
    datacenter="dc1",
    folder="clusters",
    template="ubuntu-2404-kube-v1.34.4",
    compute_cluster="cc1",
    datastore="ds1",
    network="nodes",
)
USERDATA = {"guestinfo.userdata": "c2VjcmV0", "guestinfo.userdata.encoding": "base64"}


@dataclass
class Site:
    """One vCenter and what a test needs to look at it from both sides."""

    process: VCenterProcess
    stack: AsyncExitStack
    seen: list[frozenset[str]] = field(default_factory=list)
    """What ``on_change`` was called with."""

    @property
    def endpoint(self) -> Endpoint:
        return self.endpoint_with(Trust(ca_bundle=self.process.ca_file.read_text()))

    def endpoint_with(self, trust: Trust) -> Endpoint:
        return Endpoint(self.process.address, self.process.user, trust)

    async def connect(self, **settings: Any) -> VCenter:
        """Connect and wait for the first sync."""
        vcenter = await self.connect_only(**settings)
        await vcenter.wait_synced(60)
        return vcenter

    async def connect_only(
        self, *, endpoint: Endpoint | None = None, password: str | None = None, **settings: Any
    ) -> VCenter:
        settings.setdefault("installation", INSTALLATION)
        settings.setdefault("on_change", self.seen.append)
        vcenter = await VCenter.connect(
            endpoint or self.endpoint,
            self.process.password if password is None else password,
            **settings,
        )
        self.stack.push_async_callback(vcenter.close)
        return vcenter

    async def stranger(self) -> Session:
        """A bare session with which tests do what somebody else would do by hand."""
        session = Session(self.endpoint, self.process.password, Limits())
        self.stack.callback(session.close)
        return session

    def calls(self) -> dict[str, int]:
        """Calls by method since the last reset, as vCenter counted them."""
        calls: dict[str, int] = self.process.control.counters()["calls"]
        return calls

    def vms(self) -> dict[str, dict[str, Any]]:
        """The witness's VMs by name, templates left out."""
        return {
            vm["path"].rpartition("/")[2]: vm
            for vm in self.process.control.inventory()["vms"]
            if not vm.get("template")
        }


async def until(check: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait until ``check`` gives something true, and return it."""
    value = None
    with anyio.move_on_after(timeout_s):
        while not (value := check()):  # noqa: ASYNC110 - the other side is a process
            await anyio.sleep(0.02)
    assert value, f"not within {timeout_s} s"
    return value


def a_mark(uid: str, **changes: Any) -> OwnerMark:
    return OwnerMark(**{"installation": INSTALLATION, "kind": "Machine", "uid": uid, **changes})


def a_request(target: ResolvedTarget, **changes: Any) -> CloneRequest:
    uid = changes.pop("uid", None) or new_uid()
    values: dict[str, Any] = {
        "uid": uid,
        "name": f"m-{uid[:10]}",
        "target": target,
        "cpus": 2,
        "memory_mib": 4096,
        "mark": a_mark(uid),
        "guestinfo": USERDATA,
    }
    return CloneRequest(**{**values, **changes})


async def clone_and_wait(vcenter: VCenter, request: CloneRequest) -> VM:
    """Clone, and return the VM once it is found."""
    await vcenter.clone(request)
    found = await until(lambda: is_found(vcenter, request.uid))
    return found.vm


def is_found(vcenter: VCenter, uid: str, moref: str | None = None) -> Found | None:
    seen = vcenter.find(uid, moref)
    return seen if isinstance(seen, Found) else None


async def power_on_and_wait(vcenter: VCenter, vm: VM) -> VM:
    assert vm.owner is not None
    uid = vm.owner.uid
    await vcenter.power_on(vm)

    def running() -> VM | None:
        found = is_found(vcenter, uid)
        return found.vm if found and found.vm.power is Power.ON else None

    return await until(running)


async def raw_task(session: Session, start: Callable[[], Any]) -> str | None:
    """Start a task as somebody else would, wait for its end, return its result's moref."""
    task = await session.call("do it by hand", lambda: moref(start()))
    assert task is not None
    while True:
        want = Want(vim.Task, [task], ["info.state", "info.result", "info.error"])
        got = await session.call("look", lambda: retrieve(session, [want]))  # noqa: B023
        values = got[task]
        if str(values["info.state"]) not in ("queued", "running"):
            assert str(values["info.state"]) == "success", values.get("info.error")
            result = values.get("info.result")
            return moref(result) if hasattr(result, "_moId") else None
        await anyio.sleep(0.02)


def task_over(vcenter: VCenter, moref: str | None) -> Callable[[], Any]:
    def check() -> Any:
        task = vcenter.task(moref or "")
        return task if task is not None and task.state is not TaskState.RUNNING else None

    return check
