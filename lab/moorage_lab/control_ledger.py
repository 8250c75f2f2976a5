"""The vCenter's account of all that was made and destroyed, and what oracles ask of it."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

_FOREVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Entry:
    """The life of one thing. Numbers say what came before what."""

    kind: str
    """`VirtualMachine`, `Folder`, `ResourcePool`, `VirtualMachineSnapshot`, `Rule`, `Group`,
    `Category`, `Tag`, `TagAttachment`, `Session` or `RestSession`."""
    id: str
    name: str
    by: str
    made: int
    gone: int | None
    is_initial: bool
    """The inventory file brought it."""
    facts: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_alive(self) -> bool:
        return self.gone is None

    def overlaps(self, other: "Entry") -> bool:
        """Tell whether there was a moment when both were there."""
        mine, theirs = self.gone or _FOREVER, other.gone or _FOREVER
        return self.made < theirs and other.made < mine


@dataclass(frozen=True, slots=True)
class Ledger:
    """The whole account."""

    entries: tuple[Entry, ...]
    files: frozenset[str]
    """Disks on the datastores now."""

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Ledger":
        """Read an answer of `GET /ledger`."""
        entries = tuple(
            Entry(
                kind=one["kind"],
                id=one["id"],
                name=one.get("name", ""),
                by=one.get("by", ""),
                made=one["made"]["seq"],
                gone=one["gone"]["seq"] if one.get("gone") else None,
                is_initial=one.get("initial", False),
                facts=one,
            )
            for one in answer["entries"]
        )
        return cls(entries, frozenset(answer["files"]))

    def of_kind(self, kind: str, *, alive: bool = False) -> list[Entry]:
        """Entries of a kind that the inventory file did not bring."""
        return [
            one
            for one in self.entries
            if one.kind == kind and not one.is_initial and (one.is_alive or not alive)
        ]

    def owned(self, key: str) -> dict[str, list[Entry]]:
        """VMs by the UID of their owner.

        A VM is its owner's when its mark names the VM's own instance UUID: a copy that somebody
        made by hand bears the same mark, but another UUID.

        Args:
            key: The option that holds the mark, a JSON object with `uid` and `instanceUuid`.
        """
        owned: dict[str, list[Entry]] = {}
        for vm in self.of_kind("VirtualMachine"):
            for uid in {mark["uid"] for mark in _marks(vm, key)}:
                owned.setdefault(uid, []).append(vm)
        return owned

    def duplicates(self, key: str) -> list[tuple[str, str, str]]:
        """UID and morefs of each two VMs of one owner that were alive at the same time."""
        return [
            (uid, one.id, other.id)
            for uid, vms in self.owned(key).items()
            for one, other in combinations(vms, 2)
            if one.overlaps(other)
        ]

    def orphans(self, key: str, wanted: Collection[str]) -> list[tuple[str, str]]:
        """UID and moref of each VM that lives though nobody wants its owner any more."""
        return [
            (uid, vm.id)
            for uid, vms in self.owned(key).items()
            if uid not in wanted
            for vm in vms
            if vm.is_alive
        ]

    def stray_files(self) -> list[str]:
        """Disks on a datastore that belong to no VM."""
        living = {
            disk
            for vm in self.entries
            if vm.kind == "VirtualMachine" and vm.is_alive
            for disk in vm.facts.get("disks", ())
        }
        return sorted(self.files - living)


def _marks(vm: Entry, key: str) -> Iterator[dict[str, Any]]:
    for mark in vm.facts.get("marks", ()):
        if mark["key"] != key or not mark.get("value"):
            continue
        try:
            value = json.loads(mark["value"])
        except ValueError:
            continue
        if isinstance(value, dict) and value.get("uid"):
            uuid = str(value.get("instanceUuid", "")).lower()
            if uuid in ("", vm.facts.get("instanceUuid")):
                yield value
