"""The hypervisor: virtual machines in parallel, each one operation at a time."""

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from moorage_lab.container import reap
from moorage_lab.disk import Disk
from moorage_lab.document import Document, Record, check_uuid, guestinfo_of
from moorage_lab.errors import ConflictError, LabError, UnknownVMError
from moorage_lab.guest import guest_app
from moorage_lab.httpserver import UnixServer
from moorage_lab.places import State
from moorage_lab.process import Identity
from moorage_lab.uplink import Uplink
from moorage_lab.vm import VM, FindImage

log = logging.getLogger(__name__)

_T = TypeVar("_T")


async def _in_thread(work: Callable[[], _T]) -> _T:
    return await to_thread.run_sync(work)


class Hypervisor:
    """All VMs of the lab. Its operations may be repeated."""

    def __init__(self, state: State, find_image: FindImage, uplink: Uplink) -> None:
        self._state = state
        self._find_image = find_image
        self._uplink = uplink
        self._vms: dict[str, VM] = {}
        self._locks: dict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._runs: dict[str, Identity] = {}
        """The run of each VM that we know of: another's end is old news."""
        self._servers: dict[str, UnixServer] = {}
        self._tasks: TaskGroup | None = None

    async def adopt(self, tasks: TaskGroup) -> None:
        """Take over what an earlier daemon left: running VMs go on, dead ones are reported.

        Must be awaited before any other call; watches and guests' sockets live in `tasks`.
        """
        self._tasks = tasks
        for path in sorted(self._state.vms.iterdir()):
            if (path / "vm.json").exists():
                vm = VM.load(path, self._find_image, self._state.stores)
                self._vms[vm.document.uuid] = vm
            else:  # torn while it was made or removed
                await _in_thread(Disk(path).remove)
        for uuid, vm in list(self._vms.items()):
            async with self._locks[uuid]:
                await self._adopt(vm)

    async def _adopt(self, vm: VM) -> None:
        uuid = vm.document.uuid
        supervisor = await _in_thread(vm.running)
        if supervisor is not None and vm.record.on:
            log.info("adopted %s, supervisor %s", vm.document.name, supervisor.pid)
            await self._serve_guest(vm)
            self._watch(uuid, supervisor)
            self._tell_again(vm)
        elif vm.record.on:
            await self._ended(vm)
        else:
            await _in_thread(vm.clean)

    def _tell_again(self, vm: VM) -> None:
        """Repeat the guest's words: the earlier daemon may have died before it passed them on."""
        uuid, record = vm.document.uuid, vm.record
        if told := {key: record.guestinfo[key] for key in record.told if key in record.guestinfo}:
            self._uplink.guestinfo(uuid, told)
        if record.tools is not None:
            self._uplink.state(uuid, record.tools)

    async def put(self, uuid: str, body: Any) -> None:
        """Take a VM's document."""
        document = Document.parse(uuid, body)
        guestinfo = guestinfo_of(body.get("guestinfo") or {})
        self._find_image(document.image)
        async with self._locks[uuid]:
            vm = self._vms.get(uuid)
            if vm is None:
                vm = VM(
                    self._state.vms / uuid, Record(document), self._find_image, self._state.stores
                )
                self._vms[uuid] = vm
            await _in_thread(lambda: vm.accept(document, guestinfo))

    async def change_guestinfo(self, uuid: str, body: Any) -> None:
        """Take vCenter's changes of guestinfo; a running guest reads them at once.

        A VM that was never powered on is not known yet: its document will bring them.
        """
        changes = guestinfo_of(body)
        if (vm := self._vms.get(check_uuid(uuid))) is None:
            return
        async with self._locks[uuid]:
            vm.record.change(changes)
            await _in_thread(vm.save)

    async def power_on(self, uuid: str) -> None:
        """Answers when the guest's init runs."""
        vm = self._get(uuid)
        async with self._locks[uuid]:
            self._uplink.forget_run(uuid)
            await self._boot(vm)

    async def _boot(self, vm: VM) -> None:
        uuid = vm.document.uuid
        await _in_thread(vm.prepare)
        await self._serve_guest(vm)
        try:
            supervisor = await _in_thread(vm.power_on)
        except (LabError, OSError):
            self._stop_guest(uuid)
            raise
        self._watch(uuid, supervisor)

    async def power_off(self, uuid: str) -> None:
        """Answers when no process of the VM is left; one that never was is off."""
        if (vm := self._vms.get(check_uuid(uuid))) is None:
            return
        async with self._locks[uuid]:
            self._uplink.forget_run(uuid)
            await self._halt(vm)

    async def _halt(self, vm: VM) -> None:
        uuid = vm.document.uuid
        run = self._runs.pop(uuid, None)
        self._stop_guest(uuid)
        await _in_thread(vm.power_off)
        if run is not None:
            reap(run.pid)

    async def reset(self, uuid: str) -> None:
        """Pull the plug of a running VM and start it again."""
        vm = self._get(uuid)
        async with self._locks[uuid]:
            if not vm.record.on:
                raise ConflictError(f"VM {vm.document.name} is not powered on")
            self._uplink.forget_run(uuid)
            await self._halt(vm)
            await self._boot(vm)

    async def shutdown(self, uuid: str) -> None:
        """Ask the guest to power off; its end is reported to vCenter."""
        vm = self._get(uuid)
        async with self._locks[uuid]:
            await _in_thread(vm.shutdown)

    async def reboot(self, uuid: str) -> None:
        """Ask the guest to boot again."""
        vm = self._get(uuid)
        async with self._locks[uuid]:
            await _in_thread(vm.reboot)

    async def delete(self, uuid: str) -> None:
        """Answers when nothing of the VM is left; one that never was is no error."""
        check_uuid(uuid)
        async with self._locks[uuid]:
            if (vm := self._vms.get(uuid)) is None:
                return
            await self._halt(vm)
            await _in_thread(vm.destroy)
            self._uplink.forget(uuid)
            del self._vms[uuid]

    async def delete_all(self) -> None:
        """Leave no VM: their vCenter is gone."""
        async with anyio.create_task_group() as group:
            for uuid in list(self._vms):
                group.start_soon(self.delete, uuid)

    def _get(self, uuid: str) -> VM:
        if (vm := self._vms.get(check_uuid(uuid))) is None:
            raise UnknownVMError(f"there is no VM {uuid}: PUT /vms/{uuid} comes first")
        return vm

    def _watch(self, uuid: str, supervisor: Identity) -> None:
        if self._runs.get(uuid) != supervisor:
            self._runs[uuid] = supervisor
            self._group.start_soon(self._watch_run, uuid, supervisor)

    @property
    def _group(self) -> TaskGroup:
        if self._tasks is None:
            raise LabError("the hypervisor has not adopted its VMs yet")
        return self._tasks

    async def _watch_run(self, uuid: str, supervisor: Identity) -> None:
        with supervisor.open() as descriptor:
            if descriptor is not None:
                await anyio.wait_readable(descriptor)
        async with self._locks[uuid]:
            if self._runs.get(uuid) != supervisor:
                return
            del self._runs[uuid]
            reap(supervisor.pid)
            await self._ended(self._vms[uuid])

    async def _ended(self, vm: VM) -> None:
        """The guest ended by itself: boot it again or tell vCenter."""
        uuid, name = vm.document.uuid, vm.document.name
        self._stop_guest(uuid)
        try:
            if await _in_thread(vm.wants_reboot):
                log.info("%s reboots", name)
                hostname = (vm.record.tools or {}).get("hostName", "")
                state = {"hostName": hostname, "toolsRunning": False, "nics": []}
                self._uplink.state(uuid, state)
                await self._boot(vm)
                return
            log.info("%s is off: its container ended with %s", name, vm.container.exit_code())
            await _in_thread(vm.power_off)
        except (LabError, OSError):
            log.exception("%s ended, and what it left could not be put in order", name)
        self._uplink.power(uuid, "poweredOff")

    async def _serve_guest(self, vm: VM) -> None:
        uuid = vm.document.uuid
        if uuid in self._servers:
            return
        server = UnixServer(guest_app(_Channel(self, vm)), vm.rpc_socket)
        self._servers[uuid] = server
        await self._group.start(server.run_here)

    def _stop_guest(self, uuid: str) -> None:
        if (server := self._servers.pop(uuid, None)) is not None:
            server.stop()

    async def keep_guest_value(self, vm: VM, key: str, value: str) -> None:
        """The guest wrote a guestinfo value."""
        async with self._locks[vm.document.uuid]:
            if vm.document.uuid not in self._servers:  # pulled the plug meanwhile
                return
            vm.record.guestinfo[key] = value
            vm.record.told.add(key)
            await _in_thread(vm.save)
        self._uplink.guestinfo(vm.document.uuid, {key: value})

    async def keep_tools(self, vm: VM, tools: dict[str, Any]) -> None:
        """The guest's tools reported name and addresses."""
        async with self._locks[vm.document.uuid]:
            if vm.document.uuid not in self._servers:
                return
            vm.record.tools = {"toolsRunning": True, **tools}
            await _in_thread(vm.save)
        self._uplink.state(vm.document.uuid, {"toolsRunning": True, **tools})


class _Channel:
    """One guest's view of the hypervisor."""

    def __init__(self, hypervisor: Hypervisor, vm: VM) -> None:
        self._hypervisor = hypervisor
        self._vm = vm

    def read(self, key: str) -> str | None:
        return self._vm.record.guestinfo.get(key)

    async def write(self, key: str, value: str) -> None:
        await self._hypervisor.keep_guest_value(self._vm, key, value)

    async def report(self, tools: dict[str, Any]) -> None:
        await self._hypervisor.keep_tools(self._vm, tools)
