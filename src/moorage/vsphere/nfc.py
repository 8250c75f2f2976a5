"""OVAs into vCenter by NFC leases: disks go straight to an ESXi host, in one pass.

vCenter makes the virtual machine, and a lease that covers it until the disks are there. Ended any
other way than by completing it (aborted, or timed out since nobody reported progress), vCenter
removes what it has made. So the lease is completed only after everything was compared; until then
there is nothing that somebody could take for a template.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Final

import anyio
from pyVmomi import vim, vmodl

from moorage.kit.errors import MoorageError, TerminalError, UnavailableError
from moorage.vsphere.faults import NETWORK_ERRORS, fault_text, translate
from moorage.vsphere.fetch import Incoming
from moorage.vsphere.longcall import (
    CALL_S,
    PIECE_S,
    READY_S,
    LongCalls,
    Transfer,
    check_whole,
)
from moorage.vsphere.nfchost import HostUpload
from moorage.vsphere.originals import ImportPlace
from moorage.vsphere.ova import OvaReader, invalid, read_descriptor
from moorage.vsphere.properties import Want, moref, retrieve
from moorage.vsphere.session import Session
from moorage.vsphere.types import OwnerMark

_LOOK_S: Final = 0.5
_TELL_MOST_S: Final = 15.0
_TELLS: Final = 10
"""How often progress is reported at least, before the lease would time out."""
_NETWORKS: Final[dict[str, Any]] = {
    "Network": vim.Network,
    "DistributedVirtualPortgroup": vim.dvs.DistributedVirtualPortgroup,
    "OpaqueNetwork": vim.OpaqueNetwork,
}


class LeaseImports:
    """Brings OVAs in without a content library."""

    def __init__(self, session: Session, long: LongCalls) -> None:
        self._session = session
        self._long = long

    async def bring_in(
        self,
        name: str,
        annotation: str,
        place: ImportPlace,
        opened: Callable[[], AbstractContextManager[Incoming]],
        sha256: str | None,
        transfer: Transfer,
        mark: OwnerMark,
    ) -> str:
        """Make a virtual machine of an OVA, set identity and mark; return its moref.

        Args:
            name: Of the virtual machine.
            annotation: Of it; has the UID of the import, by which debris is known.
            place: Where it is made.
            opened: Opens the OVA.
            sha256: Of the whole OVA, lower case; ``None``: only its manifest is compared.
            transfer: Told how far it is. Its ``stopped`` ends it.
            mark: Set when all is there.

        Raises:
            TerminalError: The OVA is damaged, not the one that was asked for, or none; or vCenter
                refuses it; or the host cannot be verified.
            UnavailableError: Source, host or vCenter was cut off, or it was stopped.
        """
        host = place.host_for(mark.uid)
        run = _Run(self._long, name, annotation, place, host, transfer)
        failure: MoorageError | None = None
        made = ""

        def work() -> str:
            with self._session.effect("import an OVA"), opened() as incoming:
                vm = run.take(incoming, sha256)
            with self._session.effect("mark what was imported"):
                self._long.adopt(vm, mark)
            return vm

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._report, run, transfer)
            try:
                made = await self._long.run("import an OVA", work, transfer)
            except MoorageError as error:
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return made

    async def _report(self, run: "_Run", transfer: Transfer) -> None:
        """Keep the lease alive, also while source or host are slow."""
        while True:
            await anyio.sleep(run.tell_every_s)
            held, share = run.ready, 100 * transfer.done // max(1, transfer.total)
            if held is None:
                continue

            def tell(held: str = held, share: int = share) -> None:
                with self._session.effect("report progress"):
                    self._session.ref(vim.HttpNfcLease, held).HttpNfcLeaseProgress(share)

            with suppress(MoorageError):  # the next one may get through, and the end will tell
                await self._session.call("report the progress of an import", tell)


class _Run:
    """One attempt, inside of the upload's thread: takes the OVA's files as they pass by."""

    def __init__(
        self,
        long: LongCalls,
        name: str,
        annotation: str,
        place: ImportPlace,
        host: str | None,
        transfer: Transfer,
    ) -> None:
        self.ready: str | None = None
        """Moref of the lease, while it wants progress."""
        self.tell_every_s = 1.0
        self._long = long
        self._session = long.session
        self._name = name
        self._annotation = annotation
        self._place = place
        self._host = host
        self._transfer = transfer
        self._reader = OvaReader(sink=self)
        self._lease: str | None = None
        self._vm = ""
        self._devices: dict[str, vim.HttpNfcLease.DeviceUrl] = {}
        self._upload: HostUpload | None = None

    def take(self, incoming: Incoming, sha256: str | None) -> str:
        """Pass an OVA on from its beginning; return the moref of what vCenter made of it."""
        transfer = self._transfer
        self._reader = OvaReader(sink=self)
        transfer.total, transfer.done = incoming.size, 0
        try:
            for piece in incoming.pieces:
                transfer.ensure_wanted()
                self._reader.feed(piece)
                transfer.done += len(piece)
            check_whole(self._reader, sha256)
            self._reader.finish()
            self._complete()
        except BaseException:
            self._abort()
            raise
        return self._vm

    # What the reader calls

    def begin(self, name: str, size: int) -> None:
        """Connect to the host for a file that vCenter wants."""
        if self._lease is None:
            self._open()
        device = self._devices.get(name)
        if device is not None:
            self._upload = HostUpload(
                device.url,
                device.sslThumbprint or "",
                self._session.endpoint,
                size=size,
                is_disk=bool(device.disk),
                timeout_s=PIECE_S,
            )

    def data(self, piece: memoryview) -> None:
        """Send a piece of it."""
        if self._upload is not None:
            self._upload.send(piece)

    def end(self) -> None:
        """Wait until the host has it."""
        if self._upload is not None:
            self._upload.finish(READY_S)
            self._upload = None

    # The lease

    def _open(self) -> None:
        """Let vCenter make the machine that the descriptor tells of, and say where disks go."""
        spec, files = self._import_spec()
        spec.configSpec.annotation = self._annotation
        self._long.soon(CALL_S)
        session, place = self._session, self._place
        host = session.ref(vim.HostSystem, self._host) if self._host else None
        pool = session.ref(vim.ResourcePool, place.resource_pool)
        folder = session.ref(vim.Folder, place.folder)
        self._lease = moref(pool.ImportVApp(spec, folder, host))
        info = self._wait_until_ready(str(self._lease))
        self._vm = moref(info.entity) or ""
        self.tell_every_s = min(_TELL_MOST_S, info.leaseTimeout / _TELLS)
        self.ready = self._lease
        by_key = {device.importKey: device for device in info.deviceUrl}
        missing = [one.path for one in files if one.deviceId not in by_key]
        if missing:
            raise UnavailableError(f"vCenter does not say where to send {missing}")
        self._devices = {one.path: by_key[one.deviceId] for one in files}

    def _import_spec(self) -> tuple[Any, list[vim.OvfManager.FileItem]]:
        name, text = self._reader.descriptor()
        descriptor = read_descriptor(name, text)
        session, place = self._session, self._place
        network = session.ref(_NETWORKS[place.network_kind], place.network)
        self._long.soon(CALL_S)
        answered = session.content.ovfManager.CreateImportSpec(
            text.decode(errors="replace"),
            session.ref(vim.ResourcePool, place.resource_pool),
            session.ref(vim.Datastore, place.datastore),
            vim.OvfManager.CreateImportSpecParams(
                locale="",
                deploymentOption="",
                entityName=self._name,
                diskProvisioning="thin",
                networkMapping=[
                    vim.OvfManager.NetworkMapping(name=one, network=network)
                    for one in descriptor.networks
                ],
            ),
        )
        if answered.error:
            why = "; ".join(fault_text(one) for one in answered.error)
            raise TerminalError("DeployRefused", f"vCenter cannot deploy the OVA: {why}")
        files = list(answered.fileItem or ())
        packed = [one.path for one in files if one.compressionMethod or one.chunkSize]
        if packed:
            raise invalid(f"{packed} are compressed or split: import it by content library")
        return answered.importSpec, files

    def _wait_until_ready(self, held: str) -> vim.HttpNfcLease.Info:
        until = time.monotonic() + READY_S
        while True:
            self._long.soon(CALL_S)
            wanted = [Want(vim.HttpNfcLease, [held], ["state", "info", "error"])]
            values = retrieve(self._session, wanted).get(held, {})
            state = str(values.get("state"))
            if state == "ready":
                info: vim.HttpNfcLease.Info = values["info"]
                return info
            if state == "error":
                self._lease = None  # it has ended by itself
                raise translate(values["error"], f"make the virtual machine {self._name}")
            if time.monotonic() > until or self._transfer.stopped.wait(_LOOK_S):
                raise UnavailableError(f"vCenter does not get {self._name} ready ({state})")

    def _complete(self) -> None:
        if self._lease is None:
            raise invalid("there is no disk in it")
        held, self.ready = self._lease, None
        self._long.soon(READY_S)
        self._session.ref(vim.HttpNfcLease, held).HttpNfcLeaseComplete()
        self._lease = None

    def _abort(self) -> None:
        """Have vCenter remove what it has made; where it cannot be told, the lease times out."""
        self.ready = None
        if self._upload is not None:
            self._upload.close()
            self._upload = None
        if self._lease is None:
            return
        held, self._lease = self._lease, None
        self._long.soon(CALL_S)
        with suppress(MoorageError, vmodl.MethodFault, *NETWORK_ERRORS):
            self._session.ref(vim.HttpNfcLease, held).HttpNfcLeaseAbort()
