"""OVAs into vCenter: sent to a content library of their own, and deployed from it.

Nothing of it outlives the import: neither library nor update session. The virtual machine bears a
private name, made of the UID, until its owner mark stands in it; what is found under that name
without a mark was left by an attempt that nobody has finished, and goes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from pyVmomi import vim

from moorage.engine import lease
from moorage.kit.errors import ForbiddenError, MoorageError, TerminalError, UnavailableError
from moorage.vsphere.effects import Effects
from moorage.vsphere.faults import NETWORK_ERRORS
from moorage.vsphere.fetch import Incoming
from moorage.vsphere.inventory import Inventory
from moorage.vsphere.library import ContentLibrary, Deployment
from moorage.vsphere.ova import Descriptor, OvaReader
from moorage.vsphere.power import check_still_ours
from moorage.vsphere.properties import Want, keyed, moref, retrieve, text
from moorage.vsphere.rest import Rest, RestCalls
from moorage.vsphere.session import Session
from moorage.vsphere.types import OWNER_KEY, VM, OwnerMark, TaskRef

T = TypeVar("T")

CALL_S: Final = 60.0
PIECE_S: Final = 120.0
"""How long vCenter may take for one piece of an upload."""
READY_S: Final = 1800.0
"""How long it may take to check and store what was sent."""
DEPLOY_S: Final = 7200.0
_LOOK_S: Final = 1.0
_TASK_S: Final = 0.2
_AT_A_TIME: Final = 4
_FILE: Final = "template.ova"


@dataclass(slots=True)
class Transfer:
    """One upload under way; read by others while it goes on."""

    total: int = 0
    """Bytes."""
    done: int = 0
    stopped: Event = field(default_factory=Event)
    """Set by whoever wants it to end."""


class Imports:
    """Brings OVAs in. Uploads have threads and connections of their own."""

    def __init__(
        self, session: Session, rest: Rest, effects: Effects, inventory: Inventory
    ) -> None:
        self._session = session
        self._rest = rest
        self._effects = effects
        self._inventory = inventory
        self._threads = anyio.CapacityLimiter(_AT_A_TIME)

    async def upload(
        self,
        uid: str,
        datastore: str,
        opened: Callable[[], AbstractContextManager[Incoming]],
        sha256: str | None,
        transfer: Transfer,
    ) -> Descriptor:
        """Send an OVA into a library of its own, from its beginning; return what its OVF says.

        What an earlier attempt has left is taken away first, and what this one makes if it fails.

        Args:
            uid: Of the import.
            datastore: Moref: the library lies on it.
            opened: Opens the OVA.
            sha256: Of the whole OVA, lower case; ``None``: only its manifest is compared.
            transfer: Told how far it is. Its ``stopped`` ends it.

        Raises:
            TerminalError: The OVA is damaged, not the one that was asked for, or none.
            UnavailableError: Source or vCenter was cut off, or it was stopped.
        """

        def work() -> Descriptor:
            with self._open() as calls, self._session.effect("import an OVA"):
                library = ContentLibrary(calls)
                library.remove(uid)
                try:
                    with opened() as incoming:
                        transfer.total, transfer.done = incoming.size, 0
                        return self._send(calls, uid, datastore, incoming, sha256, transfer)
                except BaseException:
                    self._soon(CALL_S)
                    with suppress(MoorageError, *NETWORK_ERRORS):  # else the next attempt does it
                        library.remove(uid)
                    raise

        return await self._beside("import an OVA", work, transfer)

    async def deploy(self, uid: str, wanted: Deployment, mark: OwnerMark) -> str | None:
        """Deploy what was uploaded, or a named item; set identity and mark; return the moref.

        ``None``: the library is not there any more. Raises ``TerminalError`` for what vCenter
        refuses.
        """

        def work() -> str | None:
            with self._open() as calls, self._session.effect("deploy an OVA"):
                library, networks = ContentLibrary(calls), wanted.networks
                if wanted.source is not None:
                    item: str | None = library.named(*wanted.source)
                else:
                    items = [library.item_of(one) for one in library.find(uid)]
                    item = next((one for one in items if one is not None), None)
                if item is None:
                    return None
                if wanted.source is not None:
                    found = library.networks_of(item, wanted.resource_pool, wanted.folder)
                    networks = tuple(found)
                self._soon(DEPLOY_S)
                made = library.deploy(item, wanted, networks)
                self._adopt(made, mark)
                return made

        return await self._beside("deploy an OVA", work, Transfer())

    async def remove_library(self, uid: str) -> None:
        """Take away the import's library and update sessions, if there are any."""

        def work() -> None:
            with self._open() as calls, self._session.effect("delete a content library"):
                ContentLibrary(calls).remove(uid)

        await self._beside("delete a content library", work, Transfer())

    async def check_name(self, folder: str, name: str) -> None:
        """Raise ``TerminalError`` where the folder has something of that name."""

        def work() -> bool:
            return self._child(folder, name) is not None

        if await self._session.call(f"look whether {name} is taken", work):
            raise name_taken(name)

    async def rename(self, vm: VM, name: str) -> TaskRef:
        """Start to give a VM of ours its name; raises once what made the last try fail."""

        def start(session: Session, vm: VM) -> Any:
            check_still_ours(session, vm)
            return session.ref(vim.VirtualMachine, vm.moref).Rename_Task(name)

        def is_done() -> bool:
            seen = self._inventory.get(vm.moref)
            return seen is not None and seen.name == name

        return await self._effects.start("rename", start, vm, is_done, None)

    async def remove_debris(self, folder: str, name: str, uid: str) -> str:
        """Destroy what an unfinished attempt has left under the private name.

        It is known by that name, and by the UID in its annotation: it has no owner mark yet. One
        that has is waited for.

        Returns what is waited for; ``""`` when there is nothing. Raises ``ForbiddenError`` for a
        virtual machine of that name that is another one.
        """

        def work() -> str:
            child = self._child(folder, name)
            if child is None:
                return ""
            found = moref(child) or ""
            paths = ["config.annotation", keyed(OWNER_KEY)]
            wanted = [Want(vim.VirtualMachine, [found], paths)]
            values = retrieve(self._session, wanted).get(found) or {}
            mark = OwnerMark.parse(text(values.get(keyed(OWNER_KEY))))
            if mark is not None and mark.uid == uid:
                return f"vCenter is about to show {name}"
            if uid not in text(values.get("config.annotation")):
                raise ForbiddenError(
                    f"VM {name} is not what the import has left: it is not touched. Rename it"
                )
            child.Destroy_Task()
            return f"what an unfinished attempt has left is destroyed ({name})"

        return await self._effects.under_lease(f"look for {name}", work)

    def _child(self, folder: str, name: str) -> Any:
        inside = self._session.ref(vim.Folder, folder)
        return self._session.content.searchIndex.FindChild(inside, name)

    # Inside of the upload's thread

    def _send(
        self,
        calls: RestCalls,
        uid: str,
        datastore: str,
        incoming: Incoming,
        sha256: str | None,
        transfer: Transfer,
    ) -> Descriptor:
        library, reader = ContentLibrary(calls), OvaReader()
        self._soon(CALL_S)
        made = library.create(uid, datastore, f"Import {uid} of Moorage; it goes by itself")
        update = library.begin_update(library.create_item(made))
        where = urlsplit(library.add_file(update, _FILE, incoming.size))
        # Whatever host vCenter names: it is sent to the one that was verified.
        path = where.path + (f"?{where.query}" if where.query else "")
        calls.put(path, incoming.size, self._pieces(incoming, reader, transfer))
        found = reader.sha256.hexdigest()
        if sha256 not in {None, found}:
            raise TerminalError(
                "ChecksumMismatch", f"the OVA has the SHA-256 {found}, and {sha256} was asked for"
            )
        descriptor = reader.finish()
        self._soon(CALL_S)
        library.complete(update)
        until = time.monotonic() + READY_S
        while library.state(update) != "DONE":
            if time.monotonic() > until or transfer.stopped.wait(_LOOK_S):
                raise UnavailableError("vCenter has not taken in what was sent: tried again")
            self._soon(CALL_S)
        return descriptor

    def _pieces(self, incoming: Incoming, reader: OvaReader, transfer: Transfer) -> Iterator[bytes]:
        for piece in incoming.pieces:
            if transfer.stopped.is_set():
                raise UnavailableError("the import was stopped")
            reader.feed(piece)
            self._soon(PIECE_S)
            yield piece
            transfer.done += len(piece)
        self._soon(READY_S)  # vCenter may look at it before it answers

    def _adopt(self, vm: str, mark: OwnerMark) -> None:
        """Set identity and mark, and stay until they are: without them it would be debris."""
        self._soon(CALL_S)
        task = moref(
            self._session.ref(vim.VirtualMachine, vm).ReconfigVM_Task(
                vim.vm.ConfigSpec(
                    instanceUuid=mark.uid,
                    extraConfig=[vim.option.OptionValue(key=OWNER_KEY, value=mark.to_json())],
                )
            )
        )
        state, until = "", time.monotonic() + CALL_S
        while state != "success":
            if state == "error" or time.monotonic() > until:
                raise UnavailableError(f"vCenter could not set the identity of {vm}: tried again")
            time.sleep(_TASK_S)
            self._soon(CALL_S)
            wanted = [Want(vim.Task, [str(task)], ["info.state"])]
            state = str(retrieve(self._session, wanted).get(str(task), {}).get("info.state"))

    @contextmanager
    def _open(self) -> Iterator[RestCalls]:
        with self._rest.open() as calls:
            try:
                yield calls
            finally:
                self._soon(CALL_S)

    def _soon(self, within_s: float) -> None:
        """Give the next call of this thread a deadline of its own."""
        self._session.stub.deadline.at = time.monotonic() + within_s

    async def _beside(self, what: str, work: Callable[[], T], transfer: Transfer) -> T:
        """Work in a thread that takes no place of other calls; it ends soon after the caller."""
        await lease.hold(timedelta(seconds=CALL_S))

        def run() -> T:
            return self._session.run(what, work, deadline=time.monotonic() + CALL_S)

        try:
            return await anyio.to_thread.run_sync(
                run, limiter=self._threads, abandon_on_cancel=True
            )
        finally:
            transfer.stopped.set()


def name_taken(name: str) -> TerminalError:
    """Return the error for a name that the folder has already."""
    return TerminalError(
        "NameTaken",
        f"the folder has something called {name} already: remove it, or choose another name",
    )
