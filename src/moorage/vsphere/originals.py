"""Templates that people name: found where they lie, and made of virtual machines."""

from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from pyVmomi import vim

from moorage.kit.errors import InvalidError, NotFoundError, TerminalError, UnavailableError
from moorage.vsphere.effects import Effects
from moorage.vsphere.fitness import unfit_for_all
from moorage.vsphere.places import Place, encode, split_path
from moorage.vsphere.properties import moref
from moorage.vsphere.resolve import Resolver
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.template import Original
from moorage.vsphere.templates import read_original
from moorage.vsphere.types import VM, Target

_DEFAULT_FOLDERS = ("spectro-templates", "templates")
"""Where templates go of which nobody says more: to Palette's folder where there is one."""


@dataclass(frozen=True, slots=True)
class Located:
    """A template or virtual machine, with its place."""

    original: Original
    path: str
    """Below the datacenter's VM folder, as a cluster's ``template`` takes it."""


@dataclass(frozen=True, slots=True)
class ImportPlace:
    """Where something is imported to: morefs."""

    folder: str
    resource_pool: str
    datastore: str
    network: str
    network_kind: str
    """vSphere's type of the network."""
    hosts: tuple[str, ...] = ()
    """Those in service that reach datastore and network."""

    def host_for(self, uid: str) -> str | None:
        """Return the host that an import is made on: another one for each UID, more or less.

        A compute cluster without DRS wants one to be named, and the others take one.
        """
        return self.hosts[UUID(uid).int % len(self.hosts)] if self.hosts else None


class Originals:
    """Finds what people named, and marks it as a template."""

    def __init__(self, session: Session, stream: Stream, effects: Effects) -> None:
        self._session = session
        self._stream = stream
        self._effects = effects

    def default_folder(self, datacenter: str) -> str:
        """Return the VM folder for templates of a datacenter where none is named."""
        for name in _DEFAULT_FOLDERS:
            if self._resolver(datacenter, folder=name).resolve_folder() is not None:
                return name
        return _DEFAULT_FOLDERS[-1]

    def place(self, target: Target) -> ImportPlace:
        """Turn the names of a target without a template into morefs that fit together.

        Raises:
            InvalidError: With all faults, at the caller's field paths.
            UnavailableError: The inventory is not complete now.
        """
        self._ensure_synced()
        resolver = Resolver(self._stream.places, (), target)
        chosen = resolver.resolve(template=False)
        where = (chosen.folder, chosen.resource_pool, chosen.datastore, chosen.network)
        if resolver.faults or any(one is None for one in where):
            raise InvalidError("vCenter has not what is asked for", tuple(resolver.faults))
        folder, pool, datastore, network = (one for one in where if one is not None)
        compute = chosen.compute_cluster.moref if chosen.compute_cluster is not None else ""
        return ImportPlace(
            folder.moref,
            pool.moref,
            datastore.moref,
            network.moref,
            network.kind,
            tuple(
                host.moref
                for host in self._stream.places.hosts(compute)
                if host.is_usable()
                and datastore.moref in host.morefs("datastore")
                and network.moref in host.morefs("network")
            ),
        )

    def path_of(self, vm: VM) -> str:
        """Return the path of a virtual machine below its datacenter's VM folder."""
        places = self._stream.places
        datacenter = places.datacenter_of(vm.folder)
        folder = places.get(vm.folder)
        root = str(datacenter.facts.get("vmFolder")) if datacenter is not None else ""
        above = places.path(folder, root) if folder is not None and folder.moref != root else ""
        return f"{above}/{encode(vm.name)}".lstrip("/")

    def _ensure_synced(self) -> None:
        inventory = self._stream.inventory
        if not inventory.synced.is_set():
            raise UnavailableError(f"the inventory is not complete: {inventory.why_not}")

    async def locate(self, datacenter: str, path: str) -> Located:
        """Look for a virtual machine or template by its path, and read it; two calls.

        Raises:
            InvalidError: There is no such datacenter, or nothing of that path.
            UnavailableError: The inventory is not complete now.
        """
        self._ensure_synced()
        resolver = self._resolver(datacenter)
        place = resolver.find_datacenter()
        if place is None:
            raise InvalidError("there is no such datacenter", tuple(resolver.faults))
        root = self._stream.places.get(str(place.facts.get("vmFolder")))
        within = self._below(path, place, root)
        full = f"{self._stream.places.path(place)}/{root.name if root else 'vm'}/{within}"
        found = await self._session.call(f"look for {path}", partial(self._find, full))
        if found is None:
            raise InvalidError(
                f"no virtual machine or template {path!r} is seen in datacenter {place.name}: "
                "give its path below the VM folder, such as templates/ubuntu"
            )
        return Located(found, within)

    async def mark(self, located: Located) -> None:
        """Make a virtual machine a template; one that is a template already stays so.

        Raises ``TerminalError`` with everything that is against it.
        """
        moref_ = located.original.template.moref

        def work() -> None:
            one = read_original(self._session, moref_)  # as it is right before
            if one.is_template:
                return
            faults = self._against(one)
            if faults:
                raise TerminalError(
                    "MarkRefused",
                    f"VM {located.path} cannot be a template for machines: {'; '.join(faults)}",
                )
            self._session.ref(vim.VirtualMachine, moref_).MarkAsTemplate()

        await self._effects.under_lease(f"mark {located.path} as template", work)

    def is_shown(self, moref_: str) -> bool:
        """Tell whether the inventory has it as a template by now."""
        vm = self._stream.inventory.get(moref_)
        return vm is not None and vm.template

    def _against(self, one: Original) -> list[str]:
        faults = []
        if one.owner:
            faults.append(f"it belongs to Moorage itself ({one.owner})")
        if not one.is_off:
            faults.append("it is not powered off: shut it down first")
        if one.template.snapshot is not None:
            faults.append("it has snapshots: remove them, clones would hang on the last one")
        return faults + unfit_for_all(one.template, self._session.api_version or "")

    def _find(self, path: str) -> Original | None:
        found: Any = self._session.content.searchIndex.FindByInventoryPath(path)
        if not isinstance(found, vim.VirtualMachine):
            return None
        try:
            return read_original(self._session, str(moref(found)))
        except NotFoundError:
            return None

    def _below(self, path: str, datacenter: Place, root: Place | None) -> str:
        """Take off what an absolute path (``/dc1/vm/…``) says before."""
        parts = split_path(path)
        if path.startswith("/") and root is not None:
            above = (*split_path(self._stream.places.path(datacenter)), root.name)
            parts = parts[len(above) :] if parts[: len(above)] == above else parts
        return "/".join(encode(part) for part in parts)

    def _resolver(self, datacenter: str, folder: str = "") -> Resolver:
        target = Target(
            datacenter=datacenter,
            folder=folder,
            template="",
            compute_cluster="",
            datastore="",
            network="",
            path="spec",
            shared_path="spec",
        )
        return Resolver(self._stream.places, (), target)
