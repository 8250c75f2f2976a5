"""Region and zone of a compute cluster, by the tags on it or on what stands above it.

The vSphere cloud provider and CSI driver look upwards the same way, from the host: compute
cluster, folders, datacenter. The nearest object with a tag of the category counts.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio

from moorage.kit.errors import ForbiddenError, NotFoundError, UnavailableError
from moorage.vsphere.places import Place, Places
from moorage.vsphere.resolve import Resolver
from moorage.vsphere.rest import Rest
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.tagging import Tagging
from moorage.vsphere.types import Target

LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""What a node's label can say, as the vendor documents it for these tags; not empty here."""

_STANDALONE = "ComputeResource"
"""Compute resource of one host without a cluster: the Client shows, and tags, the host."""


@dataclass(frozen=True, slots=True)
class Categories:
    """Names of the tag categories."""

    region: str = "k8s-region"
    zone: str = "k8s-zone"


@dataclass(frozen=True, slots=True)
class Told:
    """What the tags of one category say of a place."""

    value: str = ""
    """Empty: there is no tag, or none that can be used."""
    on: str = ""
    """Inventory path of the object that bears the tag."""
    fault: str = ""
    """Why the tag that is there cannot be used."""


@dataclass(frozen=True, slots=True)
class Topology:
    """What tags say of one compute cluster."""

    region: Told = field(default_factory=Told)
    zone: Told = field(default_factory=Told)
    unread: tuple[str, ...] = ()
    """Inventory paths of objects whose tags the account may not read."""


Attached = Mapping[str, Sequence[tuple[str, str]] | None]
"""Moref -> category and name of each tag on it; ``None``: the account may not read them."""


class Zones:
    """Reads the tags of places, a few calls for all that are asked for at a time."""

    def __init__(self, session: Session, stream: Stream, rest: Rest) -> None:
        self._session = session
        self._stream = stream
        self._rest = rest
        self._known: dict[str, tuple[float, list[tuple[str, str]] | None]] = {}
        self._turn = anyio.Lock()

    async def read(
        self, targets: Sequence[Target], categories: Categories | None = None
    ) -> list[Topology]:
        """Say what the tags tell of each target's compute cluster, as of some minutes ago.

        Raises:
            UnavailableError: The inventory is not complete, or vCenter cannot say now.
            ForbiddenError: The automation API refused the login.
        """
        inventory, places = self._stream.inventory, self._stream.places
        if not inventory.synced.is_set():
            raise UnavailableError(
                f"the inventory of vCenter {self._session.endpoint.host} is not complete: "
                f"{inventory.why_not}"
            )
        chains = [list(self._chain(target)) for target in targets]
        attached = await self.tags({one.moref: one for chain in chains for one in chain})
        names = categories or Categories()
        return [topology(chain, attached, names, places) for chain in chains]

    async def tags(self, objects: Mapping[str, Place]) -> Attached:
        """Return the tags of some objects, by moref."""
        async with self._turn:  # whoever waited finds what the one before has read
            old = time.monotonic() - self._session.limits.zone_ttl_s
            unknown = [
                place
                for moref, place in objects.items()
                if moref not in self._known or self._known[moref][0] < old
            ]
            if unknown:
                what = f"read the region and zone tags of {len(unknown)} objects"
                found = await self._session.call(what, partial(self._fetch, unknown))
                now = time.monotonic()
                self._known |= {moref: (now, tags) for moref, tags in found.items()}
            return {moref: self._known[moref][1] for moref in objects}

    def forget(self) -> None:
        """Read the tags anew the next time: some were changed."""
        self._known.clear()

    def _fetch(self, objects: Sequence[Place]) -> dict[str, list[tuple[str, str]] | None]:
        with self._rest.open() as calls:
            tagging = Tagging(calls)
            attached = tagging.attached(objects)
            identifiers = {one for tags in attached.values() for one in tags or ()}
            categories: dict[str, str] = {}
            named: dict[str, tuple[str, str]] = {}
            for identifier in sorted(identifiers):
                try:
                    tag = tagging.tag(identifier)
                    if tag.category not in categories:
                        categories[tag.category] = tagging.category(tag.category).name
                except (ForbiddenError, NotFoundError):
                    continue  # not for this account to read, or deleted meanwhile
                named[identifier] = (categories[tag.category], tag.name)
        return {
            moref: None if tags is None else sorted(named[one] for one in tags if one in named)
            for moref, tags in attached.items()
        }

    def _chain(self, target: Target) -> Iterator[Place]:
        """Yield the compute cluster of a target and what is above it, the nearest first."""
        places = self._stream.places
        cluster = Resolver(places, (), target).resolve().compute_cluster
        if cluster is None:
            raise UnavailableError(
                f"compute cluster {target.compute_cluster} is not seen in vCenter "
                f"{self._session.endpoint.host} any more"
            )
        return chain_of(places, cluster)


def chain_of(places: Places, place: Place) -> Iterator[Place]:
    """Yield an object and what is above it, the nearest first, without vCenter's root folder.

    A standalone host stands for its compute resource. A datacenter's own folder of hosts is left
    out: the Client does not show it, and a permission on the datacenter does not have to reach it.
    """
    if place.kind == _STANDALONE:
        yield from places.hosts(place.moref)
    else:
        yield place
    above = places.get(place.parent)
    while above is not None:
        parent = places.get(above.parent)
        if parent is None or parent.kind != "Datacenter":
            yield above
        above = parent


def topology(
    chain: Sequence[Place], attached: Attached, categories: Categories, places: Places
) -> Topology:
    """Say what tags tell of the first of a chain of objects, each above the one before: pure."""
    paths = {one.moref: f"/{places.path(one)}" for one in chain}
    unread = [paths[one.moref] for one in chain if attached.get(one.moref) is None]
    return Topology(
        _nearest(chain, attached, categories.region, paths),
        _nearest(chain, attached, categories.zone, paths),
        tuple(unread),
    )


def _nearest(
    chain: Iterable[Place], attached: Attached, category: str, paths: Mapping[str, str]
) -> Told:
    for place in chain:
        values = [name for kind, name in attached.get(place.moref) or () if kind == category]
        path = paths[place.moref]
        if len(values) > 1:
            return Told(
                on=path,
                fault=f"{path} has {len(values)} tags of category {category} "
                f"({', '.join(values)}): leave one",
            )
        if values and not LABEL_VALUE.fullmatch(values[0]):
            return Told(
                on=path,
                fault=f"tag {values[0]!r} of category {category} on {path} cannot be the value of "
                "a node's label: it must be at most 63 letters, digits, '-', '_' and '.', and "
                "begin and end with a letter or digit",
            )
        if values:
            return Told(values[0], path)
    return Told()
