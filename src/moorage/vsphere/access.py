"""Which privileges the account lacks: one question to vCenter about many objects."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pyVmomi import vim
from pyVmomi.VmomiSupport import GuessWsdlType

from moorage.kit.errors import ForbiddenError, UnavailableError
from moorage.permissions import READ, STANDARD, Feature, On, Subject, judge, needed, rows_for
from moorage.resources.permission import CheckResult
from moorage.vsphere.ownership import Ownership
from moorage.vsphere.places import Place, encode, split_path
from moorage.vsphere.properties import Collector, Want, moref, retrieve, text
from moorage.vsphere.resolve import Chosen, Resolver
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.types import VM, Target

_FIELDS = {
    "datacenter": On.DATACENTER,
    "compute_cluster": On.COMPUTE_CLUSTER,
    "resource_pool": On.RESOURCE_POOL,
    "datastore": On.DATASTORE,
    "network": On.NETWORK,
}
_PORT_GROUP = "DistributedVirtualPortgroup"
_SWITCH = "config.distributedVirtualSwitch"


class Access:
    """Compares what the account may do with what machines in some places need."""

    def __init__(
        self,
        session: Session,
        stream: Stream,
        ownership: Ownership,
        each_datastore: Callable[[Target], Awaitable[list[Target]]],
    ) -> None:
        self._look_up = each_datastore
        self._session = session
        self._stream = stream
        self._ownership = ownership

    async def check(
        self, targets: Sequence[Target], features: Collection[Feature] = STANDARD
    ) -> CheckResult:
        """Say what is missing on which object, and which objects the account does not see.

        One call for all privileges, whatever the number of targets, and for distributed port
        groups one that finds their switches; one more for each object of which the account sees
        the name and nothing else.

        Raises:
            UnavailableError: The inventory is not complete now, so that nothing can be said.
            NotFoundError: An object went away meanwhile: ask again.
        """
        inventory, session = self._stream.inventory, self._session
        if not inventory.synced.is_set():
            raise UnavailableError(
                f"the inventory of vCenter {session.endpoint.host} is not complete: "
                f"{inventory.why_not}"
            )
        every = [one for asked in targets for one in await self._each_datastore(asked)]
        subjects = list(dict.fromkeys(self._subjects(every)))
        return await session.call(
            f"ask which privileges {session.endpoint.username} has on {len(subjects)} objects",
            partial(self._ask, subjects, features),
        )

    async def _each_datastore(self, target: Target) -> list[Target]:
        try:
            return await self._look_up(target)
        except ForbiddenError:
            return [target]  # that it may not see the policy is found with all else

    def _ask(self, subjects: list[Subject], features: Collection[Feature]) -> CheckResult:
        session = self._session
        subjects = subjects + list(self._switches(subjects))
        rows = rows_for(session.api_version or "", features)
        if any(row.on is On.ROOT for row in rows):
            subjects.append(Subject(On.ROOT, "/", moref(session.content.rootFolder), "Folder"))
        asked = [one for one in subjects if one.on is not On.HOST]
        wanted = needed(asked, rows)
        held = held_privileges(session, {one.moref: one.kind for one in asked if one.moref}, wanted)
        # What the stream could read of a host needs no question.
        held |= {one.moref: {READ} for one in subjects if one.on is On.HOST and one.moref}
        return judge(subjects, held, rows, session.api_version or "")

    # From names to objects, by what is in memory

    def _subjects(self, targets: Sequence[Target]) -> Iterator[Subject]:
        templates = self._stream.inventory.originals()
        ours = {vm.folder: vm for vm in self._ownership.owned()}
        for target in dict.fromkeys(targets):
            resolver = Resolver(self._stream.places, templates, target)
            chosen = resolver.resolve()
            faults = {fault.path: fault.message for fault in resolver.faults}
            yield from self._of_target(target, chosen, faults, ours)

    def _of_target(
        self,
        target: Target,
        chosen: Chosen,
        faults: Mapping[str, str],
        ours: Mapping[str | None, VM],
    ) -> Iterator[Subject]:
        def unseen(field: str, on: On) -> Subject:
            instead = {
                "resource_pool": f"resource pool of {target.compute_cluster}",
                "datastore": f"datastores that satisfy storage policy {target.storage_policy}",
            }
            asked = getattr(target, field) or instead[field]
            why = faults.get(target.field_path(field), "the account does not see it")
            return Subject(on, asked, why=why)

        for field, on in _FIELDS.items():
            place: Place | None = getattr(chosen, field)
            if place is not None:
                yield Subject(on, self._path(place), place.moref, place.kind)
            elif field == "datacenter":
                yield unseen(field, on)
                return  # nothing of it can be looked for
            elif field != "resource_pool" or chosen.compute_cluster is not None:
                yield unseen(field, on)
        if chosen.template is not None:
            yield self._of_vm(chosen.template, On.TEMPLATE)
        else:
            yield unseen("template", On.TEMPLATE)
        if chosen.folder is None:
            yield unseen("folder", On.FOLDER)
        else:
            place = chosen.folder
            yield Subject(On.FOLDER, self._path(place), place.moref, place.kind)
            if place.moref in ours:
                yield self._of_vm(ours[place.moref], On.VM)
            else:
                why = "no machine is there yet; one would have what the folder passes on"
                yield Subject(On.VM, self._path(place), place.moref, place.kind, why)
        if chosen.compute_cluster is not None:
            yield from self._hosts(chosen.compute_cluster)

    def _hosts(self, cluster: Place) -> Iterator[Subject]:
        hosts = self._stream.places.hosts(cluster.moref)
        for host in hosts:
            can_read = "runtime.connectionState" in host.facts
            why = "" if can_read else "the account sees its name, and nothing else of it"
            yield Subject(On.HOST, self._path(host), host.moref if can_read else None, why=why)
        if not hosts:
            path = self._path(cluster)
            why = "the account sees none: the permission on the compute cluster must propagate"
            yield Subject(On.HOST, f"hosts of {path}", why=why)

    def _of_vm(self, vm: VM, on: On) -> Subject:
        above = self._stream.places.get(vm.folder)
        name = encode(vm.name)
        path = f"{self._path(above)}/{name}" if above is not None else name
        return Subject(on, path, vm.moref, "VirtualMachine")

    def _path(self, place: Place) -> str:
        return f"/{self._stream.places.path(place)}"

    # What only vCenter knows

    def _switches(self, subjects: Sequence[Subject]) -> Iterator[Subject]:
        """Find the switches of distributed port groups, which the stream does not follow."""
        groups = {one.moref: one for one in subjects if one.moref and one.kind == _PORT_GROUP}
        kind = vim.dvs.DistributedVirtualPortgroup
        switch_of = Collector.TraversalSpec(name="switch", type=kind, path=_SWITCH, skip=False)
        also = {vim.DistributedVirtualSwitch: ["name", "parent"]}
        want = Want(kind, list(groups), [_SWITCH], via=[switch_of], also=also)
        named = retrieve(self._session, [want])
        found = {
            switch: group
            for one, group in groups.items()
            if (switch := moref(named.get(one, {}).get(_SWITCH))) is not None
        }
        for switch, group in found.items():
            values = named.get(switch, {})
            above = self._stream.places.get(moref(values.get("parent")))
            if "name" not in values:
                why = f"the switch of {group.path} ({switch}) is not seen"
                yield Subject(On.SWITCH, f"switch of {group.path}", why=why)
                continue
            name = encode("".join(split_path(text(values["name"]))))
            path = f"{self._path(above)}/{name}" if above is not None else name
            yield Subject(On.SWITCH, path, switch, "DistributedVirtualSwitch")


def held_privileges(
    session: Session, kinds: Mapping[str, str], wanted: Mapping[str, set[str]]
) -> dict[str, set[str]]:
    """Return which of the wanted privileges the session has on each object.

    vCenter answers only about objects that the account may read, and names one that it may not:
    it is left out the next time. Nothing is held there, or else ``System.Read`` would be.
    """
    manager: Any = session.content.authorizationManager
    left = list(wanted)
    while left:
        try:
            answers = manager.HasPrivilegeOnEntities(
                entity=[session.ref(GuessWsdlType(kinds[one]), one) for one in left],
                sessionId=session.key,
                privId=sorted(set[str]().union(*wanted.values())),
            )
        except vim.fault.NotAuthenticated:
            raise
        except vim.fault.NoPermission as fault:
            unreadable = moref(fault.object)
            if unreadable not in left:
                raise
            left.remove(unreadable)
            continue
        return {
            str(moref(answer.entity)): {
                one.privId for one in answer.privAvailability if one.isGranted
            }
            for answer in answers
        }
    return {}
