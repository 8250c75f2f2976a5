"""What there is: in memory first, and where much rests on it, asked of vCenter directly."""

import time
from functools import partial

from pyVmomi import vim

from moorage.kit.errors import InvalidError, NotFoundError, UnavailableError
from moorage.vsphere.effects import Effects
from moorage.vsphere.estate import Estate
from moorage.vsphere.inventory import Inventory, make_vm
from moorage.vsphere.ownership import Ownership
from moorage.vsphere.places import Place, encode, split_path
from moorage.vsphere.policies import Policy, settle
from moorage.vsphere.properties import Want, moref, retrieve
from moorage.vsphere.resolve import Resolver
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.template import NetworkBacking, Template, TemplateInfo
from moorage.vsphere.templates import (
    STORAGE_DRS,
    moves_disks,
    read_network,
    read_template_and_network,
)
from moorage.vsphere.types import (
    VM,
    Absent,
    Found,
    Presence,
    ResolvedTarget,
    Target,
    Unknown,
)

_SEEN_WITHIN_S = 10.0


class Lookup:
    """Answers found, absent or unknown, and turns names into morefs."""

    def __init__(
        self,
        session: Session,
        stream: Stream,
        ownership: Ownership,
        effects: Effects,
        estate: Estate,
    ) -> None:
        self._session = session
        self._stream = stream
        self._inventory: Inventory = stream.inventory
        self._ownership = ownership
        self._effects = effects
        self._estate = estate
        self._backings: dict[str, tuple[float, NetworkBacking]] = {}
        self._details: dict[tuple[str, str, str], tuple[float, Template, NetworkBacking, str]] = {}
        """By template, network and datastore cluster; when it was read stands first."""

    def find(self, uid: str, recorded: str | None) -> Presence:
        """See ``VCenter.find``."""
        if not self._inventory.synced.is_set():
            return Unknown(self._inventory.why_not)
        running = self._effects.running_clone(uid)
        if running is not None:
            return Unknown(f"vCenter is cloning it (task {running})", reason="Cloning")
        vm = self._ownership.find(uid, recorded)
        if vm is not None:
            if vm.moref == recorded:
                self._ownership.made.setdefault(uid, recorded)
            self._effects.note_folder(uid, vm.folder)
            return Found(vm)
        unmarked = self._ownership.unmarked(uid)
        if unmarked is not None:
            return Unknown(
                f"VM {unmarked.name} ({unmarked.moref}) has this instance UUID but bears no owner "
                "mark: it is being made, or somebody took the mark away"
            )
        if self._effects.made_lately(uid, _SEEN_WITHIN_S):
            return Unknown("vCenter has made it a moment ago, and not shown it yet")
        return Absent("no VM in vCenter's inventory bears its mark")

    async def prove_absent(
        self, uid: str, recorded: str | None, folder: str | None, name: str
    ) -> Presence:
        """See ``VCenter.prove_absent``."""
        seen = self.find(uid, recorded)
        if not isinstance(seen, Absent):
            return seen
        found, readable = await self._session.call(
            f"look for VM {name or uid}", partial(self._search, uid, recorded, folder)
        )
        if not readable:
            return Unknown("the account cannot read the VM's folder: a missing VM proves nothing")
        for vm in found:
            if self._ownership.is_ours(vm, uid, recorded):
                return Found(vm)
        foreign = next((vm for vm in found if vm.instance_uuid == uid), None)
        if foreign is not None:
            return Unknown(
                f"VM {foreign.name} ({foreign.moref}) has this instance UUID without our mark: "
                "give it the mark again, or remove it"
            )
        return Absent("searched by instance UUID and by moref: vCenter has no such VM")

    def _search(self, uid: str, recorded: str | None, folder: str | None) -> tuple[list[VM], bool]:
        session = self._session
        index = session.content.searchIndex
        by_uuid = moref(index.FindByUuid(None, uid, vmSearch=True, instanceUuid=True))
        known = recorded or self._ownership.made.get(uid)
        wanted = list(dict.fromkeys(one for one in (by_uuid, known) if one))
        place = folder or self._effects.folder_of(uid) or moref(session.content.rootFolder) or ""
        values = retrieve(
            session,
            [
                Want(vim.VirtualMachine, wanted, [*self._inventory.paths]),
                Want(vim.Folder, [place], ["name"]),
            ],
        )
        readable = bool(values.pop(place, None))
        vms = [make_vm(one, got, self._inventory.paths) for one, got in values.items()]
        return vms, readable

    def templates(self, datacenter: str | None) -> list[TemplateInfo]:
        """See ``VCenter.templates``."""
        places = self._stream.places
        found = []
        for vm in self._inventory.originals():
            home = places.datacenter_of(vm.folder)
            if home is None or datacenter not in (None, home.name):
                continue
            above = places.get(vm.folder)
            root = home.facts.get("vmFolder")
            inside = above is not None and above.moref != root
            path = f"{places.path(above, root)}/{vm.name}" if inside and above else vm.name
            found.append(TemplateInfo(vm.name, path, vm.moref, home.name))
        return sorted(found, key=lambda info: (info.datacenter, info.path))

    async def resolve(self, target: Target) -> ResolvedTarget:
        """See ``VCenter.resolve``."""
        where = f"vCenter {self._session.endpoint.host}"
        if not self._inventory.synced.is_set():
            raise UnavailableError(
                f"the inventory of {where} is not complete: {self._inventory.why_not}"
            )
        resolver = Resolver(self._stream.places, self._inventory.originals(), target)
        chosen = resolver.resolve()
        template, network = chosen.template, chosen.network
        policy = await self._policy(resolver, chosen.datastore)
        if template is None and chosen.datacenter is not None:
            await self._explain_template(resolver, chosen.datacenter)
        if resolver.faults or not (
            chosen.datacenter
            and chosen.folder
            and template
            and chosen.compute_cluster
            and chosen.resource_pool
            and chosen.datastore
            and network
        ):
            raise InvalidError(f"{where} has not what is asked for", tuple(resolver.faults))
        details, backing, moved_by = await self._detail(template.moref, network, chosen.datastore)
        more = [await self._backing(place) for place in chosen.more_networks if place is not None]
        if details.unfit:
            resolver.fault("template", f"template {details.name} {details.unfit}")
            raise InvalidError("the template cannot be used", tuple(resolver.faults))
        return ResolvedTarget(
            datacenter=chosen.datacenter.moref,
            folder=chosen.folder.moref,
            template=details,
            compute_cluster=chosen.compute_cluster.moref,
            resource_pool=chosen.resource_pool.moref,
            datastore=chosen.datastore.moref,
            network=backing,
            more_networks=tuple(more),
            storage_drs=moved_by,
            storage_profile=policy.profile if policy is not None else "",
            storage_copies=policy.copies if policy is not None else None,
        )

    async def template(self, moref_: str, target: ResolvedTarget) -> Template:
        """Return what cloning another template to the same place needs to know of it.

        Kept for as long as what ``resolve`` reads. Raises ``NotFoundError`` when it is gone.
        """
        network = self._stream.places.get(target.network.moref)
        datastore = self._stream.places.get(target.datastore)
        if network is None or datastore is None:
            gone = f"network {target.network.name}" if network is None else target.datastore
            raise NotFoundError(f"{gone} is no longer in vCenter")
        try:
            details, _, _ = await self._detail(moref_, network, datastore)
        except NotFoundError:
            self.forget_details()
            raise
        return details

    async def _policy(self, resolver: Resolver, datastore: Place | None) -> Policy | None:
        name = resolver.target.storage_policy
        if name is None:
            return None
        policies = self._estate.policies
        return settle(await policies.called(name), policies.names, resolver, datastore)

    async def _explain_template(self, resolver: Resolver, datacenter: Place) -> None:
        """Tell a VM that is no template from a name that is nothing."""
        asked = resolver.target.template
        path = "/".join(encode(part) for part in split_path(asked))
        if not asked.startswith("/"):
            path = f"{self._stream.places.path(datacenter)}/vm/{path}"

        def is_vm() -> bool:
            found = self._session.content.searchIndex.FindByInventoryPath(path)
            return isinstance(found, vim.VirtualMachine)

        if await self._session.call(f"look for {asked}", is_vm):
            resolver.replace_fault(
                "template",
                f"{asked} is a virtual machine, not a template: convert it to a template",
            )

    async def _detail(
        self, template: str, network: Place, datastore: Place
    ) -> tuple[Template, NetworkBacking, str]:
        """Return also the datastore cluster that moves disks away, or ``""``."""
        pod = self._stream.places.get(datastore.parent)
        if pod is not None and pod.kind != "StoragePod":
            pod = None
        key = (template, network.moref, pod.moref if pod is not None else "")
        known = self._details.get(key)
        ttl = self._session.limits.template_ttl_s
        if known is not None and time.monotonic() - known[0] < ttl:
            return known[1:]
        # Who resolves a place will place machines there next: one call for both.
        wants, asked_at = self._estate.wants(datastore.moref, network.moref), time.monotonic()
        details, backing, found = await self._session.call(
            f"read template {template} and network {network.moref}",
            partial(
                read_template_and_network,
                self._session,
                template,
                network.moref,
                network.kind,
                beside=[*wants, *([Want(vim.StoragePod, [pod.moref], STORAGE_DRS)] if pod else [])],
            ),
        )
        automated = pod is not None and moves_disks(found.get(pod.moref, {}))
        moved_by = pod.name if pod is not None and automated else ""
        self._estate.take(found, wants, asked_at)
        self._details[key] = (time.monotonic(), details, backing, moved_by)
        return details, backing, moved_by

    async def _backing(self, network: Place) -> NetworkBacking:
        """Read the network of a further card; those of first cards come with the template."""
        known = self._backings.get(network.moref)
        if known is not None and time.monotonic() - known[0] < self._session.limits.template_ttl_s:
            return known[1]
        asked_at = time.monotonic()
        backing = await self._session.call(
            f"read network {network.moref}",
            partial(read_network, self._session, network.moref, network.kind),
        )
        self._backings[network.moref] = asked_at, backing
        return backing

    def forget_details(self) -> None:
        """Read templates and networks again: something of them is gone."""
        self._details.clear()
        self._backings.clear()
