"""What planning has to know of hosts and datastores: read when machines are placed, not streamed.

Consumed memory and free space change all the time: streamed, they would wake the gateway for
nothing, most of the time. What is in or out of service is in memory, pushed by the stream.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import anyio
from pyVmomi import vim

from moorage.kit.errors import FieldFault, InvalidError, UnavailableError
from moorage.planning.estate import Datastore, Domain, Host, Pool, Reserved
from moorage.resources.estate import EstateDatacenter
from moorage.vsphere.capacity import Capacity
from moorage.vsphere.outline import outline
from moorage.vsphere.places import POOLS, Place, Places, encode
from moorage.vsphere.policies import MIRRORS, Policies, settle
from moorage.vsphere.promised import Promised
from moorage.vsphere.properties import Values, Want, retrieve
from moorage.vsphere.reserving import left_to_reserve, note_reservations, want_of_hosts
from moorage.vsphere.resolve import Resolver, each_datastore
from moorage.vsphere.rules import Rules
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.template import TemplateInfo
from moorage.vsphere.types import DiskStorage, ResolvedTarget, Target

_MIB = 1024**2
_FRESH_S = 15.0
"""vCenter's own figures are averages of 20 s; what was placed since is added by who plans."""
_HOST = ("summary.hardware.memorySize", "summary.quickStats.overallMemoryUsage")
_DATASTORE = ("summary.capacity", "summary.freeSpace", "summary.type")
_POOL = (
    "config.memoryAllocation.limit",
    "runtime.memory.overallUsage",
    "runtime.memory.unreservedForVm",
    "runtime.cpu.unreservedForVm",
)
_VSAN = "vsan"


class Estate:
    """Reads the hosts and datastores of failure domains, several in one call."""

    def __init__(self, session: Session, stream: Stream, rules: Rules) -> None:
        self.policies = Policies(session)
        """Storage policies."""
        self.capacity = Capacity(session, stream)
        """How much there is in all."""
        self._session = session
        self._stream = stream
        self._rules = rules
        self._turn = anyio.Lock()
        self._read: dict[str, tuple[float, Values]] = {}
        self.promised = Promised(stream.inventory)
        """What was placed a moment ago."""

    async def domains(
        self,
        targets: Mapping[str, Sequence[ResolvedTarget]],
        *,
        reserving: bool = False,
        for_disks: Sequence[DiskStorage] = (),
    ) -> list[Domain]:
        """Return failure domains as they are now.

        Args:
            targets: By name; each with a target for each of its datastores.
            reserving: Whether machines there want anything reserved.
            for_disks: Where extra disks of machines there may lie.

        One call at most for all of them; none when everything was read a moment ago. What the
        account may do with rules is asked besides, once for many minutes.
        """
        places, every = self._stream.places, list(chain.from_iterable(targets.values()))
        kept = {
            one.compute_cluster
            for one in every
            if places.is_compute_cluster(one.compute_cluster)
            and await self._rules.keeps(one.compute_cluster)
        }
        async with self._turn:
            wanted = {
                moref: kind
                for one in every
                for moref, kind in self._objects(one, reserving).items()
            } | {moref: "Datastore" for disk in for_disks for moref in disk.paths}
            chosen = {
                host.moref
                for one in every
                if reserving and one.compute_cluster not in kept
                for host in places.hosts(one.compute_cluster)
            }
            lacking = self._lacking(wanted, chosen)
            if lacking:
                asked_at = time.monotonic()
                what = "read hosts and datastores"
                wants = [*_wants(lacking, chosen), *self.promised.wants()]
                found = await self._session.call(what, partial(retrieve, self._session, wants))
                self.take(found, wants, asked_at)
        disks = tuple(
            self._datastore(moref, disk.copies) for disk in for_disks for moref in disk.paths
        )
        return [
            replace(
                self._domain(
                    name,
                    there,
                    places,
                    keeps_rules=there[0].compute_cluster in kept,
                    reserving=reserving,
                ),
                disk_datastores=disks,
            )
            for name, there in targets.items()
            if there
        ]

    def _lacking(self, wanted: Mapping[str, str], chosen: Collection[str]) -> dict[str, str]:
        """Return what has to be read of some objects, given with their types.

        Args:
            wanted: By moref.
            chosen: Hosts of which has to be known what they can still reserve.
        """
        old = time.monotonic() - _FRESH_S
        return {
            moref: kind
            for moref, kind in wanted.items()
            if self._read.get(moref, (old - 1.0, {}))[0] < old
            or (moref in chosen and left_to_reserve(self._values(moref)) is None)
        }

    async def each_datastore(self, target: Target) -> list[Target]:
        """Return the target with each datastore of its datastore cluster or storage policy.

        From memory; who satisfies a policy is asked now and then. The target itself, where it
        names neither, or what is not there.
        """
        fitting = None
        if target.storage_policy is not None:
            found = await self.policies.called(target.storage_policy)
            fitting = found[0].datastores if len(found) == 1 else None
        return each_datastore(self._stream.places, target, fitting)

    async def disk_storage(self, targets: Sequence[Target]) -> DiskStorage:
        """Return where an extra disk may lie; some host of one failure domain reaches each.

        From memory; who satisfies a policy is asked now and then.

        Args:
            targets: Failure domains of one datacenter, each with datastore and policy of the disk.

        Raises:
            InvalidError: With all faults, at the field paths of the targets.
            UnavailableError: The inventory is not complete now.
        """
        inventory, where = self._stream.inventory, f"vCenter {self._session.endpoint.host}"
        if not inventory.synced.is_set():
            raise UnavailableError(f"the inventory of {where} is not complete: {inventory.why_not}")
        faults: dict[tuple[str, str], FieldFault] = {}
        found: dict[str, tuple[str, Place]] = {}
        policy = None
        for one in [each for asked in targets for each in await self.each_datastore(asked)]:
            resolver = Resolver(self._stream.places, (), one)
            place = resolver.datastore_of_disk()
            if one.storage_policy is not None:
                named = await self.policies.called(one.storage_policy)
                policy = settle(named, self.policies.names, resolver, place) or policy
            faults |= {(fault.path, fault.message): fault for fault in resolver.faults}
            if place is not None and not resolver.faults:
                found[place.moref] = one.datastore, place
        if not found:
            raise InvalidError(f"{where} has not what is asked for", tuple(faults.values()))
        return DiskStorage(
            paths={moref: path for moref, (path, _) in found.items()},
            names={moref: encode(place.name) for moref, (_, place) in found.items()},
            profile=policy.profile if policy is not None else "",
            copies=policy.copies if policy is not None else None,
        )

    def wants(self, datastore: str, network: str) -> list[Want]:
        """Return what to read of a datastore, and of the hosts that reach it and a network.

        For who reads other things anyway: such are the hosts of a cluster's failure domains.
        """
        hosts = {
            host.moref: "HostSystem"
            for host in self._stream.places.of_kind(("HostSystem",))
            if datastore in host.morefs("datastore") and network in host.morefs("network")
        }
        return [*_wants({**hosts, datastore: "Datastore"}), *self.promised.wants()]

    def take(self, found: Mapping[str, Values], wants: Iterable[Want], asked_at: float) -> None:
        """Keep what was read of some objects.

        Args:
            found: By moref; others may be in it.
            wants: What was asked for; objects that were not found are known to be gone.
            asked_at: When (``time.monotonic``).
        """
        morefs = [
            one for want in wants if want.kind is not vim.VirtualMachine for one in want.morefs
        ]
        note_reservations(found)
        self._read.update({moref: (asked_at, found.get(moref, {})) for moref in morefs})
        self.promised.take(found, morefs)

    def forget(self) -> None:
        """Read everything again next time: vCenter has just refused what the figures let expect."""
        self._read.clear()
        self._rules.doubt()
        self.policies.forget()

    def host_called(self, name: str) -> str | None:
        """Return the moref of the one host that has this name, or this moref."""
        hosts = self._stream.places.of_kind(("HostSystem",))
        found = [host.moref for host in hosts if name in (host.moref, host.name)]
        return found[0] if len(found) == 1 else None

    def host_name(self, host: str) -> str:
        """Return the name of a host, as vCenter shows it."""
        place = self._stream.places.get(host)
        return place.name if place is not None else host

    def outline(self, templates: Iterable[TemplateInfo]) -> list[EstateDatacenter]:
        """Return what a placement can name, templates given; from memory."""
        return outline(self._stream.places, templates)

    def out_of_service(self, host: str) -> str:
        """Return why a host takes no VM now, such as ``in maintenance mode``, else ``""``."""
        place = self._stream.places.get(host)
        return place.out_of_service() if place is not None else "gone from vCenter"

    def _domain(
        self,
        name: str,
        targets: Sequence[ResolvedTarget],
        places: Places,
        *,
        keeps_rules: bool,
        reserving: bool,
    ) -> Domain:
        target = targets[0]  # they differ in the datastore only
        return Domain(
            name=name,
            hosts=tuple(self._host(host) for host in places.hosts(target.compute_cluster)),
            datastores=tuple(self._datastore(one.datastore, one.storage_copies) for one in targets),
            network=target.network.moref,
            more_networks=frozenset(one.moref for one in target.more_networks),
            # DRS keeps machines apart by our rules; where there can be none, it does not.
            pins_host=places.is_compute_cluster(target.compute_cluster) and not keeps_rules,
            pools=tuple(self._pools(target, reserving)),
        )

    def _host(self, place: Place) -> Host:
        values = self._values(place.moref)
        size, used = (values.get(path) or 0 for path in _HOST)
        return Host(
            ref=place.moref,
            name=place.name,
            memory_mib=int(size) // _MIB,
            memory_used_mib=int(used),
            datastores=frozenset(place.morefs("datastore")),
            networks=frozenset(place.morefs("network")),
            out_of_service=place.out_of_service(),
            unreserved=left_to_reserve(values),
        )

    def _datastore(self, moref: str, copies: float | None) -> Datastore:
        values, place = self._values(moref), self._stream.places.get(moref)
        capacity, free = (int(values.get(path) or 0) for path in _DATASTORE[:2])
        is_vsan = str(values.get("summary.type")).lower() == _VSAN
        return Datastore(
            ref=moref,
            name=place.name if place is not None else moref,
            capacity_bytes=capacity,
            free_bytes=free,
            out_of_service=place.out_of_service() if place is not None else "gone from vCenter",
            copies=(copies or MIRRORS) if is_vsan else 1.0,
        )

    def _values(self, moref: str) -> Values:
        return self._read.get(moref, (0.0, {}))[1]

    def _objects(self, target: ResolvedTarget, reserving: bool) -> dict[str, str]:
        """Return moref -> type of what is read of one failure domain."""
        hosts = self._stream.places.hosts(target.compute_cluster)
        found = {**{host.moref: "HostSystem" for host in hosts}, target.datastore: "Datastore"}
        pools = self._pools_above(target)
        if reserving or len(pools) > 1:  # root pools are the hosts themselves
            found |= dict.fromkeys((pool.moref for pool in pools), "ResourcePool")
        return found

    def _pools_above(self, target: ResolvedTarget) -> list[Place]:
        """Return the resource pool, and those that it lies in; the last is the root pool."""
        found: list[Place] = []
        place = self._stream.places.get(target.resource_pool)
        while place is not None and place.kind in POOLS:
            found.append(place)
            place = self._stream.places.get(place.parent)
        return found

    def _pools(self, target: ResolvedTarget, reserving: bool) -> Iterator[Pool]:
        """Yield those that limit something; one whose figures may not be read says nothing."""
        for place in self._pools_above(target):
            limit, used, mib, mhz = (self._values(place.moref).get(path) for path in _POOL)
            unreserved = None
            if reserving and place.moref == target.resource_pool and mib is not None:
                unreserved = Reserved(int(mib) // _MIB, int(mhz or 0))
            is_limited = place.parent != target.compute_cluster and int(limit or 0) > 0
            if is_limited or unreserved is not None:
                yield Pool(
                    ref=place.moref,
                    name=place.name,
                    limit_mib=int(limit or 0) if is_limited else None,
                    used_mib=int(used or 0) // _MIB,
                    unreserved=unreserved,
                )


def _wants(objects: Mapping[str, str], chosen: Collection[str] = ()) -> list[Want]:
    """Return what to read of objects, given by moref with their types.

    Args:
        objects: All of them.
        chosen: Hosts of which has to be known what they can still reserve.
    """
    with_vms = [moref for moref in objects if moref in chosen]
    kinds: tuple[tuple[str, type[Any], Sequence[str]], ...] = (
        ("HostSystem", vim.HostSystem, _HOST),
        ("Datastore", vim.Datastore, _DATASTORE),
        ("ResourcePool", vim.ResourcePool, _POOL),
    )
    plain = {moref: kind for moref, kind in objects.items() if moref not in chosen}
    wants = [
        Want(type_, [moref for moref, of in plain.items() if of == kind], paths)
        for kind, type_, paths in kinds
    ]
    return [*wants, want_of_hosts(with_vms, _HOST)] if with_vms else wants
