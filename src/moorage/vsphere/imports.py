"""OVAs into vCenter: sent to a content library of their own, and deployed from it.

``nfc`` is the other way; what follows an import, and what it leaves, is here for both.

Nothing of it outlives the import: neither library nor update session. The virtual machine bears a
private name, made of the UID, until its owner mark stands in it; what is found under that name
without a mark was left by an attempt that nobody has finished, and goes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

from pyVmomi import vim

from moorage.kit.errors import (
    DeferredError,
    ForbiddenError,
    MoorageError,
    TerminalError,
    UnavailableError,
)
from moorage.vsphere.effects import Effects
from moorage.vsphere.faults import NETWORK_ERRORS
from moorage.vsphere.fetch import Incoming
from moorage.vsphere.inventory import Inventory
from moorage.vsphere.library import ContentLibrary, Deployment
from moorage.vsphere.longcall import (
    CALL_S,
    PIECE_S,
    READY_S,
    LongCalls,
    Transfer,
    check_whole,
)
from moorage.vsphere.nfc import LeaseImports
from moorage.vsphere.ova import Descriptor, OvaReader
from moorage.vsphere.power import check_still_ours
from moorage.vsphere.properties import Want, keyed, moref, retrieve, text
from moorage.vsphere.rest import Rest, RestCalls
from moorage.vsphere.session import Session
from moorage.vsphere.types import OWNER_KEY, VM, OwnerMark, TaskRef

DEPLOY_S: Final = 7200.0
_LOOK_S: Final = 1.0
_LEASED_AGAIN_S: Final = 10.0
_DESTROY: Final = "Destroy_Task"
_FILE: Final = "template.ova"


class Imports:
    """Brings OVAs in. Uploads have threads and connections of their own."""

    def __init__(
        self, session: Session, rest: Rest, effects: Effects, inventory: Inventory
    ) -> None:
        self._session = session
        self._rest = rest
        self._effects = effects
        self._inventory = inventory
        self._long = LongCalls(session)
        self.leases = LeaseImports(session, self._long)
        """The way without a content library."""

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
                    self._long.soon(CALL_S)
                    with suppress(MoorageError, *NETWORK_ERRORS):  # else the next attempt does it
                        library.remove(uid)
                    raise

        return await self._long.run("import an OVA", work, transfer)

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
                self._long.soon(DEPLOY_S)
                made = library.deploy(item, wanted, networks)
                self._long.adopt(made, mark)
                return made

        return await self._long.run("deploy an OVA", work, Transfer())

    async def remove_library(self, uid: str) -> None:
        """Take away the import's library and update sessions, if there are any."""

        def work() -> None:
            with self._open() as calls, self._session.effect("delete a content library"):
                ContentLibrary(calls).remove(uid)

        await self._long.run("delete a content library", work, Transfer())

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

        Returns what is waited for; ``""`` when there is nothing.

        Raises:
            DeferredError: A lease covers it, which vCenter ends by itself.
            ForbiddenError: A virtual machine of that name is another one.
        """

        def work() -> str:
            child = self._child(folder, name)
            if child is None:
                return ""
            found = moref(child) or ""
            paths = ["config.annotation", "disabledMethod", keyed(OWNER_KEY)]
            wanted = [Want(vim.VirtualMachine, [found], paths)]
            values = retrieve(self._session, wanted).get(found) or {}
            mark = OwnerMark.parse(text(values.get(keyed(OWNER_KEY))))
            if mark is not None and mark.uid == uid:
                return f"vCenter is about to show {name}"
            if uid not in text(values.get("config.annotation")):
                raise ForbiddenError(
                    f"VM {name} is not what the import has left: it is not touched. Rename it"
                )
            if _DESTROY in (values.get("disabledMethod") or ()):
                raise DeferredError(
                    "RemovingRemains",
                    f"{name} is covered by the lease of an attempt that was cut off: vCenter "
                    "removes it when that has timed out, in a few minutes",
                    _LEASED_AGAIN_S,
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
        self._long.soon(CALL_S)
        made = library.create(uid, datastore, f"Import {uid} of Moorage; it goes by itself")
        update = library.begin_update(library.create_item(made))
        where = urlsplit(library.add_file(update, _FILE, incoming.size))
        # Whatever host vCenter names: it is sent to the one that was verified.
        path = where.path + (f"?{where.query}" if where.query else "")
        calls.put(path, incoming.size, self._pieces(incoming, reader, transfer))
        check_whole(reader, sha256)
        descriptor = reader.finish()
        self._long.soon(CALL_S)
        library.complete(update)
        until = time.monotonic() + READY_S
        while library.state(update) != "DONE":
            if time.monotonic() > until or transfer.stopped.wait(_LOOK_S):
                raise UnavailableError("vCenter has not taken in what was sent: tried again")
            self._long.soon(CALL_S)
        return descriptor

    def _pieces(self, incoming: Incoming, reader: OvaReader, transfer: Transfer) -> Iterator[bytes]:
        for piece in incoming.pieces:
            transfer.ensure_wanted()
            reader.feed(piece)
            self._long.soon(PIECE_S)
            yield piece
            transfer.done += len(piece)
        self._long.soon(READY_S)  # vCenter may look at it before it answers

    @contextmanager
    def _open(self) -> Iterator[RestCalls]:
        with self._rest.open() as calls:
            try:
                yield calls
            finally:
                self._long.soon(CALL_S)


def name_taken(name: str) -> TerminalError:
    """Return the error for a name that the folder has already."""
    return TerminalError(
        "NameTaken",
        f"the folder has something called {name} already: remove it, or choose another name",
    )
