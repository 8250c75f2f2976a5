"""The estate around the VMs: datacenters, folders, compute clusters, hosts, datastores, networks.

Names and what is connected to what, pushed by the stream. Turning a user's name or path into a
moref costs vCenter nothing.
"""

import difflib
import re
import threading
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moorage.vsphere.properties import moref, morefs, text

CLUSTER = "ClusterComputeResource"
COMPUTE = (CLUSTER, "ComputeResource")
FOLDERS = ("Folder", "StoragePod")
POOLS = ("ResourcePool", "VirtualApp")
NETWORKS = ("Network", "DistributedVirtualPortgroup", "OpaqueNetwork")

_ESCAPE = re.compile(r"%(2f|5c|25)", re.IGNORECASE)
_PLAIN = {"2f": "/", "5c": "\\", "25": "%"}

PATHS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "Folder": {},
    "Datacenter": {
        "vmFolder": moref,
        "hostFolder": moref,
        "datastoreFolder": moref,
        "networkFolder": moref,
    },
    "ComputeResource": {"resourcePool": moref},
    "ResourcePool": {},
    "HostSystem": {
        "runtime.connectionState": text,
        "runtime.inMaintenanceMode": bool,
        "datastore": morefs,
        "network": morefs,
    },
    "Datastore": {"summary.accessible": bool, "summary.maintenanceMode": text},
    "Network": {},
}
"""Watched paths by vSphere type, beside ``name`` and ``parent``; subtypes are meant too."""

_COMMON: dict[str, Callable[[Any], Any]] = {"name": text, "parent": moref}
_ALL = {**_COMMON, **{path: make for paths in PATHS.values() for path, make in paths.items()}}


def plain(name: str) -> str:
    """Return a name in one form of Unicode: what looks equal to people is equal."""
    return unicodedata.normalize("NFC", name)


def decode(name: str) -> str:
    """Undo vSphere's escapes in a name: ``%2f``, ``%5c`` and ``%25``."""
    return plain(_ESCAPE.sub(lambda match: _PLAIN[match[1].lower()], name))


def encode(name: str) -> str:
    """Escape a name as a path component."""
    return decode(name).replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


def split_path(path: str) -> tuple[str, ...]:
    """Split an inventory path into decoded names."""
    return tuple(decode(part) for part in path.split("/") if part)


@dataclass(frozen=True, slots=True)
class Place:
    """One object of the estate."""

    moref: str
    kind: str
    """vSphere's type, such as ``ClusterComputeResource``."""
    name: str
    parent: str | None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def morefs(self, path: str) -> tuple[str, ...]:
        """Return an array of morefs among the facts."""
        found: tuple[str, ...] = self.facts.get(path, ())
        return found

    def is_usable(self) -> bool:
        """Tell whether VMs can be put here now: hosts and datastores can be out of service."""
        return not self.out_of_service()

    def out_of_service(self) -> str:
        """Return why no VM can be put here now, such as ``in maintenance mode``, else ``""``."""
        if self.kind == "HostSystem":
            state = self.facts.get("runtime.connectionState")
            if state != "connected":
                return "not responding" if state == "notResponding" else "disconnected"
            return "in maintenance mode" if self.facts.get("runtime.inMaintenanceMode") else ""
        if self.kind == "Datastore":
            if not self.facts.get("summary.accessible", True):
                return "not accessible"
            mode = self.facts.get("summary.maintenanceMode", "normal")
            return "" if mode in ("", "normal") else "in maintenance mode"
        return ""


def make_place(moref_: str, kind: str, values: Mapping[str, Any]) -> Place:
    """Return a place from fetched properties."""
    facts = {path: _ALL[path](value) for path, value in values.items() if path in _ALL}
    name, parent = facts.pop("name", ""), facts.pop("parent", None)
    return Place(moref_, kind, decode(name), parent, facts)


def changed_place(old: Place, values: Mapping[str, Any]) -> Place:
    """Return the place after changes."""
    facts = {path: _ALL[path](value) for path, value in values.items() if path in _ALL}
    name = decode(facts.pop("name")) if "name" in facts else old.name
    parent = facts.pop("parent") if "parent" in facts else old.parent
    return Place(old.moref, old.kind, name, parent, {**old.facts, **facts})


class Places:
    """All places, as a tree."""

    def __init__(self, places: Iterable[Place] = ()) -> None:
        self._lock = threading.Lock()
        self._places = {place.moref: place for place in places}
        self._children: dict[str | None, list[Place]] | None = None

    def put(self, place: Place) -> None:
        """Insert or replace."""
        with self._lock:
            self._places[place.moref] = place
            self._children = None

    def drop(self, moref_: str) -> None:
        """Remove."""
        with self._lock:
            self._places.pop(moref_, None)
            self._children = None

    def get(self, moref_: str | None) -> Place | None:
        """Return the place with that moref."""
        return self._places.get(moref_) if moref_ else None

    def of_kind(self, kinds: Collection[str]) -> list[Place]:
        """Return all places of these types, by name."""
        with self._lock:
            found = [place for place in self._places.values() if place.kind in kinds]
        return sorted(found, key=lambda place: (place.name, place.moref))

    def children(self, parent: str | None) -> list[Place]:
        """Return what is directly below a place."""
        with self._lock:
            if self._children is None:
                self._children = {}
                for place in self._places.values():
                    self._children.setdefault(place.parent, []).append(place)
            return list(self._children.get(parent, ()))

    def is_compute_cluster(self, moref_: str | None) -> bool:
        """Tell a compute cluster, which may have DRS and rules, from a standalone host."""
        place = self.get(moref_)
        return place is not None and place.kind == CLUSTER

    def hosts(self, compute_cluster: str) -> list[Place]:
        """Return the hosts of a compute cluster."""
        return [place for place in self.children(compute_cluster) if place.kind == "HostSystem"]

    def below(self, root: str, kinds: Collection[str], through: Collection[str]) -> list[Place]:
        """Return the places of these types below ``root``, however deep."""
        found: list[Place] = []
        todo = [root]
        while todo:
            for place in self.children(todo.pop()):
                if place.kind in kinds:
                    found.append(place)
                if place.kind in through:
                    todo.append(place.moref)
        return sorted(found, key=lambda place: (place.name, place.moref))

    def path(self, place: Place, root: str | None = None) -> str:
        """Return the inventory path below ``root``, in vSphere's escaping."""
        parts = [encode(place.name)]
        above = place.parent
        while above is not None and above != root:
            parent = self._places.get(above)
            if parent is None:  # the root folder, which no view contains
                break
            parts.append(encode(parent.name))
            above = parent.parent
        return "/".join(reversed(parts))

    def datacenter_of(self, moref_: str | None) -> Place | None:
        """Return the datacenter above an object whose parent is ``moref_``."""
        while moref_ is not None:
            place = self._places.get(moref_)
            if place is None or place.kind == "Datacenter":
                return place
            moref_ = place.parent
        return None


def near(wanted: str, known: Collection[str]) -> str:
    """Return a sentence that names what was perhaps meant, or else what there is."""
    ordered = sorted(known)
    if not ordered:
        return "there is none that the account can see"
    lowered = {name.lower(): name for name in ordered}
    close = difflib.get_close_matches(wanted.lower(), lowered, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(lowered[name] for name in close)}?"
    few = 8
    more = f" and {len(ordered) - few} more" if len(ordered) > few else ""
    return f"there is {', '.join(ordered[:few])}{more}"
