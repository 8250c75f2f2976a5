"""One vCenter account, as the rest of Moorage sees it: asynchronous, in plain values."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

import anyio.to_thread

from moorage.kit.clock import Clock
from moorage.kit.errors import (
    MoorageError,
    NotFoundError,
    UnavailableError,
)
from moorage.vsphere import power
from moorage.vsphere.access import Access
from moorage.vsphere.addresses import Addresses
from moorage.vsphere.clearing import Clearing
from moorage.vsphere.clocks import Clocks
from moorage.vsphere.effects import Effects
from moorage.vsphere.endpoint import Endpoint
from moorage.vsphere.estate import Estate
from moorage.vsphere.folders import Folders
from moorage.vsphere.health import Health
from moorage.vsphere.imports import Imports
from moorage.vsphere.inventory import Inventory
from moorage.vsphere.limits import Limits
from moorage.vsphere.lookup import Lookup
from moorage.vsphere.marks import Marks
from moorage.vsphere.originals import Originals
from moorage.vsphere.ownership import Ownership
from moorage.vsphere.replicas import Replicas
from moorage.vsphere.rest import Rest
from moorage.vsphere.rules import Rules
from moorage.vsphere.session import Session, SessionNote
from moorage.vsphere.stream import Stream
from moorage.vsphere.tasks import Tasks
from moorage.vsphere.template import TemplateInfo
from moorage.vsphere.templates import read_macs
from moorage.vsphere.turns import Turns
from moorage.vsphere.types import (
    OWNER_KEY,
    VM,
    CloneRequest,
    Counters,
    OwnerMark,
    Power,
    Presence,
    ResolvedTarget,
    State,
    Target,
    Task,
    TaskRef,
)
from moorage.vsphere.zones import Zones
from moorage.vsphere.zoning import Zoning

_JOIN_S = 10.0


class VCenter:
    """Everything that is done with one vCenter by one user. Make it with ``connect``."""

    def __init__(
        self,
        session: Session,
        owner_key: str,
        installation: str | None,
        on_change: Callable[[frozenset[str]], None],
        rest_note: SessionNote | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._session = session
        self._rest = Rest(session, rest_note)
        self._notify = on_change
        self.clocks = Clocks(self._session)
        """Whether ours agrees with vCenter's."""
        turns = turns or Turns(session.limits, on_change, session.endpoint.server)
        self.health = Health(self._session, self.clocks, turns)
        """Whether it answers as it should."""
        self._inventory = Inventory(owner_key)
        self._ownership = Ownership(self._inventory, installation)
        self._tasks = Tasks()
        self._stream = Stream(self._session, self._inventory, self._tasks, self._changed)
        self._effects = Effects(self._session, self._tasks, self._ownership, turns)
        self._clearing = Clearing(self._session, self._inventory, self._effects)
        self.rules = Rules(self._session, self._stream, self._tasks, self._effects)
        """Rules of DRS that keep machines apart."""
        self.estate = Estate(self._session, self._stream, self.rules)
        """Hosts and datastores, for who plans."""
        self._lookup = Lookup(session, self._stream, self._ownership, self._effects, self.estate)
        self.folders = Folders(self._session, self._stream, self._tasks, self._effects)
        """The folders of clusters."""
        self.replicas = Replicas(session, self._effects, self._ownership, self._lookup)
        """Snapshots of templates' replicas, and who uses them."""
        self.originals = Originals(session, self._stream, self._effects)
        """Templates that people name, and VMs that become some."""
        self.imports = Imports(session, self._rest, self._effects, self._inventory)
        """OVAs that become templates."""
        self.marks = Marks(self._session, self._stream, self._ownership)
        """Which VMs bear the mark of a cluster, and with which epoch."""
        self.addresses = Addresses(self._session, self._inventory)
        """Which VM says that it has an address."""
        self.access = Access(session, self._stream, self._ownership, self.estate.each_datastore)
        """Which privileges the account lacks."""
        self.zones = Zones(self._session, self._stream, self._rest)
        """Which regions and zones tags tell."""
        self.zoning = Zoning(self._session, self._stream, self._rest, self.zones)
        """Makes such tags."""

    @classmethod
    async def connect(
        cls,
        endpoint: Endpoint,
        password: str,
        *,
        owner_key: str = OWNER_KEY,
        installation: str | None = None,
        on_change: Callable[[frozenset[str]], None] = lambda _: None,
        on_state: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        note: SessionNote | None = None,
        rest_note: SessionNote | None = None,
        turns: Turns | None = None,
    ) -> "VCenter":
        """Log in, and begin to follow the inventory.

        What vCenter or the network answers is no exception here but ``state`` and ``message``:
        the object goes on trying by itself, except with a password that was refused once.
        ``check`` raises what is wrong now.

        Args:
            endpoint: Where, who, and how the certificate is verified.
            password: Kept in memory, for later logins.
            owner_key: ``extraConfig`` key of the owner mark.
            installation: Marks of other installations are then foreign.
            on_change: Gets the UIDs whose VM or task changed; called from other threads.
            on_state: Called from other threads when ``state`` has changed.
            limits: How much may be asked of vCenter at a time.
            clock: Ours, to be compared with vCenter's.
            note: Names the session of a killed process, which is ended.
            rest_note: The same of its session over REST.
            turns: Places for clones that other accounts of this vCenter share.

        Raises:
            InvalidError: The trust cannot be used at all, such as an unreadable CA bundle.
        """
        session = Session(endpoint, password, limits or Limits(), on_state, clock, note)
        vcenter = cls(session, owner_key, installation, on_change, rest_note, turns)
        with suppress(MoorageError):  # it stands in `state` and `message`
            await vcenter._session.call("log in", lambda: None)
        if vcenter._rest.is_left_open:
            with suppress(MoorageError):  # then the next session over REST ends it
                await vcenter._session.call("end a session over REST", vcenter._rest.tidy)
        vcenter._stream.start()
        return vcenter

    async def close(self) -> None:
        """Stop the stream and log out. May be repeated."""

        def close() -> None:
            self._stream.stop()
            self._rest.close()
            self._session.close()
            self._stream.join(_JOIN_S)
            self._effects.close()

        await anyio.to_thread.run_sync(close)

    # What the account is like

    @property
    def endpoint(self) -> Endpoint:
        """Where, and who."""
        return self._session.endpoint

    @property
    def state(self) -> State:
        """What the connection is like now; fits as a condition's reason."""
        return self.health.state

    @property
    def message(self) -> str:
        """What ``state`` means, for people."""
        return self.health.message

    @property
    def api_version(self) -> str | None:
        """VCenter's API version, such as ``8.0.3.0``; ``None`` before the first login."""
        return self._session.api_version

    @property
    def product(self) -> str | None:
        """Full name and build of the vCenter."""
        return self._session.product

    @property
    def instance_uuid(self) -> str | None:
        """Identity of the vCenter itself."""
        return self._session.instance_uuid

    @property
    def counters(self) -> Counters:
        """What was asked of vCenter so far."""
        return self._stream.counters()

    def check(self) -> None:
        """Raise what is wrong with the connection now; asks nobody."""
        self.health.check()

    async def set_password(self, password: str) -> None:
        """Take a new password, and try it."""
        self._session.set_password(password)
        self._stream.nudge()
        await self._session.call("log in", lambda: None)

    async def wait_synced(self, timeout_s: float) -> None:
        """Wait for a complete inventory; raises ``UnavailableError`` when it takes longer."""
        synced = await anyio.to_thread.run_sync(
            self._inventory.synced.wait, timeout_s, abandon_on_cancel=True
        )
        if not synced:
            self.check()
            raise UnavailableError(
                f"the inventory of vCenter {self.endpoint.host} was not complete within "
                f"{timeout_s:g} s: {self._inventory.why_not}"
            )

    # What is there

    def find(self, uid: str, moref: str | None = None) -> Presence:
        """Look for our VM in memory.

        Absent is good enough to clone on, because the VM's name is a lock besides. Before
        anything is released or forgotten, ask ``prove_absent``.

        Args:
            uid: Of the Machine, or whatever the VM was made for.
            moref: Recorded earlier for it: a VM that bears our mark there is ours even if its
                instance UUID was changed.
        """
        return self._lookup.find(uid, moref)

    async def prove_absent(
        self,
        uid: str,
        moref: str | None = None,
        folder: str | None = None,
        name: str = "",
    ) -> Presence:
        """Search vCenter itself, by instance UUID and by moref.

        Absent means: the inventory is complete and does not have it, both searches found
        nothing, no clone of it is running, and the account could still read the folder.

        Args:
            uid: What the VM was made for.
            moref: Recorded for it, if any.
            folder: Moref of the VM's folder; the one that was cloned into, or else the root.
            name: For texts only.
        """
        return await self._lookup.prove_absent(uid, moref, folder, name)

    def copies(self) -> list[VM]:
        """Return VMs that bear our mark but are not ours: shown to people, never touched."""
        return self._ownership.copies()

    def owned(self) -> list[VM]:
        """Return every VM that is what its owner mark says."""
        return self._ownership.owned()

    async def templates(self, datacenter: str | None = None) -> list[TemplateInfo]:
        """Return the templates that the account can see, by path; from memory."""
        return self._lookup.templates(datacenter)

    async def resolve(self, target: Target) -> ResolvedTarget:
        """Turn names and paths into morefs that fit together.

        Names come from memory; details of template and network are fetched in one call and
        kept for a minute.

        Raises:
            InvalidError: With all faults, at the caller's field paths.
            UnavailableError: The inventory is not complete now.
        """
        return await self._lookup.resolve(target)

    # What is done

    def task(self, moref: str, uid: str = "") -> Task | None:
        """Return how far a task is, as last pushed.

        A task of an earlier process is followed from now on: it reads as running until vCenter
        says what became of it. ``uid`` is then who hears of it.
        """
        return self._effects.task(moref, uid)

    def why_clone_waits(self, uid: str) -> str | None:
        """Say why a clone that was asked for waits; ``None`` when it is its turn, or not known."""
        return self._effects.turns.why_wait(uid)

    def is_cloning(self, cluster: str) -> bool:
        """Tell whether more VMs of a cluster (by its UID) are about to appear."""
        return any(not self._inventory.of(uid) for uid in self._effects.turns.running(cluster))

    def ask_to_clone(self, request: CloneRequest) -> str | None:
        """Keep a place for a clone, or say why it waits; ``on_change`` then gets the UID later.

        Places are shared fairly between the clusters that the marks name; inside of one they go
        by rank. The request's ``guestinfo`` may be empty yet.
        """
        return self._effects.turns.ask(self._effects.claim(request))

    def give_up_clone(self, uid: str) -> None:
        """Let others have the place of a machine that shall not be cloned any more."""
        self._effects.turns.leave(uid)

    async def clone(self, request: CloneRequest, *, deadline_s: float | None = None) -> TaskRef:
        """Start to clone, or return what was started already for this UID.

        Raises:
            BusyError: It is not its turn: as many clones as allowed are running; ``on_change``
                gets the UID when there is a place for it.
            TerminalError: ``NameTaken`` by a VM that is not ours, or an impossible request.
        """
        try:
            return await self._effects.clone(request, deadline_s)
        except NotFoundError:
            self._lookup.forget_details()
            raise

    async def power_on(self, vm: VM, *, deadline_s: float | None = None) -> TaskRef:
        """Start to power on; raises once what made the last try fail."""
        done = partial(self._has_power, vm.moref, Power.ON)
        return await self._effects.start("power on", power.power_on, vm, done, deadline_s)

    async def power_off(self, vm: VM, *, deadline_s: float | None = None) -> TaskRef:
        """Start to power off, hard; raises once what made the last try fail."""
        done = partial(self._has_power, vm.moref, Power.OFF)
        return await self._effects.start("power off", power.power_off, vm, done, deadline_s)

    async def destroy(self, vm: VM, *, deadline_s: float | None = None) -> TaskRef:
        """Start to delete a VM with its disks, after reading its mark once more.

        Raises:
            ForbiddenError: It is not ours, or no longer.
        """
        self._ownership.check(vm)
        try:
            gone = partial(self._is_gone, vm.moref)
            return await self._effects.start("destroy", power.destroy, vm, gone, deadline_s)
        except NotFoundError:
            return TaskRef(None, vm.moref)

    async def set_identity(
        self, vm: VM, mark: OwnerMark, *, deadline_s: float | None = None
    ) -> TaskRef:
        """Set instance UUID and mark: vCenter changed the UUID, or our epoch is a higher one."""
        self._ownership.check(vm)
        start = partial(power.set_identity, mark=mark)
        done = partial(self.marks.shows, vm.moref, mark)
        return await self._effects.start("set the identity of", start, vm, done, deadline_s)

    async def set_guestinfo(
        self, vm: VM, values: Mapping[str, str], *, deadline_s: float | None = None
    ) -> TaskRef:
        """Start to set ``extraConfig`` keys; empty ones go. Nothing secret: events keep it."""
        return await self._clearing.set(vm, values, None, deadline_s)

    async def macs(self, vm: VM) -> tuple[str, ...]:
        """Return the MAC addresses of a VM's network cards, in the order of the cards."""
        what = f"read the network cards of VM {vm.name}"
        return await self._session.call(what, partial(read_macs, self._session, vm.moref))

    async def read_extra_config(self, vm: VM, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of these ``extraConfig`` keys, read from vCenter now."""
        return await self._clearing.read(vm, keys)

    async def clear_guestinfo(self, vm: VM, keys: Iterable[str]) -> list[str]:
        """Empty keys; returns those that may still be there. Ask again until there are none.

        Two calls in all: one starts the change; when vCenter has shown that it is made, the other
        reads back.
        """
        return await self._clearing.clear(vm, keys)

    # Smaller parts

    def _changed(self, uids: frozenset[str]) -> None:
        self._effects.changed(uids)
        self._notify(uids | self.rules.changed())

    def _has_power(self, moref: str, wanted: Power) -> bool:
        vm = self._inventory.get(moref)
        return vm is not None and vm.power is wanted

    def _is_gone(self, moref: str) -> bool:
        return self._inventory.synced.is_set() and self._inventory.get(moref) is None
