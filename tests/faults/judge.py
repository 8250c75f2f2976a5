"""The oracle: vCenter's ledger and inventory, and both stores, against what they were before."""

import re
from dataclasses import dataclass, field
from typing import Any

from moorage.vsphere.types import OWNER_KEY
from tests.faults.site import FOLDER, Site

_LEDGER_KINDS = ("Folder", "ResourcePool", "VirtualMachineSnapshot", "Rule", "Group", "Category",
                 "Tag", "TagAttachment")  # fmt: skip
_DATABASE_FILE = re.compile(r".*\.db(-wal|-shm|-journal)?")
"""SQLite makes and removes these as it likes."""


@dataclass
class Verdict:
    """What one run, or many, showed."""

    runs: int = 0
    duplicates: int = 0
    orphans: int = 0
    leaks: int = 0
    stuck: int = 0
    kills: int = 0
    """Processes that died."""
    reached: int = 0
    missed: int = 0
    """Enumerated kills whose passage a step came to, or did not: the order of passes varies."""
    replays: list[str] = field(default_factory=list)
    """Of the runs that went wrong: what plays them again."""

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing went wrong."""
        return not (self.duplicates or self.orphans or self.leaks or self.stuck)

    def add(self, other: "Verdict") -> None:
        """Take in another run."""
        for name in ("runs", "duplicates", "orphans", "leaks", "stuck", "kills", "reached",
                     "missed"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.replays.extend(other.replays)

    def line(self) -> str:
        """Return the last line of a long run."""
        return (
            f"{self.runs} runs, {self.duplicates} duplicates, {self.orphans} orphans, "
            f"{self.leaks} leaks, {self.stuck} stuck"
        )


@dataclass
class Strangers:
    """VMs that somebody made by hand in our folder: nobody's to touch but that person's."""

    site: Site
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By moref: the whole VM as it was when it was made."""
    backups: dict[str, str] = field(default_factory=dict)
    """UID of a machine -> moref of a copy from which it can be restored."""

    def appear(self, name: str) -> None:
        """Make a VM of somebody else, a copy of a node, and a restored backup of that node.

        The first has a name as we give, and no mark. The others bear the mark of the node; its
        instance UUID is taken, so that vCenter gives them others.
        """
        control, ours = self.site.vcenter.control, self.site.nodes()
        uid, moref = min(ours.items())
        self._make(control.clone_vm(self.site.template(), f"{name}-workers-0123456789",
                                    folder=FOLDER))  # fmt: skip
        self._make(control.clone_vm(moref, f"copy of a node of {name}"))
        self._make(control.clone_vm(moref, f"{name}-workers-9876543210", instance_uuid=uid))

    def back_up(self, name: str) -> None:
        """Copy each node, so that it can be restored when it is gone."""
        for number, (uid, moref) in enumerate(sorted(self.site.nodes().items())):
            copy = self.site.vcenter.control.clone_vm(moref, f"backup {number} of {name}")
            self.backups[uid] = self._make(copy)

    def restore(self, name: str) -> None:
        """Restore each node that is gone: with the instance UUID that its mark names."""
        living = set(self.site.machines().values())
        for number, (uid, moref) in enumerate(sorted(self.backups.items())):
            if uid not in living:
                self._make(
                    self.site.vcenter.control.clone_vm(
                        moref, f"restored {number} of {name}", instance_uuid=uid
                    )
                )
        self.backups.clear()

    def leave(self) -> list[str]:
        """Remove them; return what became of those that are not as they were."""
        now = {vm["moref"]: vm for vm in self.site.listed()}
        for moref in self.seen.keys() & now.keys():
            self.site.vcenter.control.destroy_vm(moref)
        return [
            f"{'changed' if moref in now else 'lost'}: {vm['name']}, which was not ours to touch"
            for moref, vm in self.seen.items()
            if now.get(moref) != vm
        ]

    def _make(self, moref: str) -> str:
        (self.seen[moref],) = (vm for vm in self.site.listed() if vm["moref"] == moref)
        return moref


@dataclass(frozen=True)
class Witness:
    """All that there is in an installation; what two of them differ in was left, or lost."""

    things: frozenset[str]

    @classmethod
    def look(cls, site: Site) -> "Witness":
        """See vCenter's objects, disks, tags and rules, guests, rows of both stores, and files."""
        ledger, control = site.vcenter.control.ledger(), site.vcenter.control
        found = {
            f"vCenter {kind} {one['path']}"
            for kind, listed in control.inventory().items()
            for one in listed
        }
        for kind in _LEDGER_KINDS:
            found |= {f"vCenter {kind} {one.name or one.id}"
                      for one in ledger.of_kind(kind, alive=True)}  # fmt: skip
        found |= {f"vCenter file {file}" for file in ledger.files}
        found |= {f"guest {guest.name}" for guest in site.vcenter.guests.guests()}
        for side in (site.hub, site.gateway):
            found |= {f"{side.name} {row}" for row in site.rows(side)}
            found |= {
                f"{side.name} file {path.relative_to(side.data)}"
                for path in side.data.rglob("*")
                if not _DATABASE_FILE.fullmatch(path.name)
            }
        return cls(frozenset(found))

    def differences(self, before: "Witness") -> list[str]:
        """Return what is there that was not, and what is gone that was (a queue may empty)."""
        left = [f"left: {one}" for one in sorted(self.things - before.things)]
        gone = sorted(one for one in before.things - self.things if " queue " not in one)
        return left + [f"gone: {one}" for one in gone]


def judge(
    site: Site, found: Verdict, told: list[str], strangers: Strangers, before: Witness
) -> None:
    """Hold what is there at the end of a life against what was there before it."""
    ours = set(site.machines().values())
    ledger = site.vcenter.control.ledger()
    duplicates = ledger.duplicates(OWNER_KEY)
    orphans = [(uid, moref) for uid, moref in ledger.orphans(OWNER_KEY, ours)
               if moref not in strangers.seen]  # fmt: skip
    wrong = strangers.leave()
    found.duplicates, found.orphans = len(duplicates), len(orphans)
    if not found.stuck:
        wrong += Witness.look(site).differences(before)
    found.leaks = len(wrong)
    told += [f"LEAK {one}" for one in wrong]
    told += [f"DUPLICATE {one}" for one in duplicates]
    told += [f"ORPHAN {one}" for one in orphans]


def judge_sessions(site: Site, found: Verdict, told: list[str]) -> None:
    """End an installation: one session while the gateway lives, and none after it has ended.

    A process that was killed cannot log out: the next one ends its session. Only one that died
    between vCenter's answer to its login and its note of that, or never got the answer, leaves a
    session; vCenter ends that by its age. Those over REST are ended after a few calls each.
    """
    spared = 2 + site.gateway.deaths // 10
    if len(open_ones := _sessions(site)) > 1 + spared:
        found.leaks += len(open_ones)
        told.append(f"LEAK {len(open_ones)} sessions after {site.gateway.deaths} deaths")
    if len(over_rest := _sessions(site, "RestSession")) > spared:
        found.leaks += len(over_rest)
        told.append(f"LEAK {len(over_rest)} REST sessions after {site.gateway.deaths} deaths")
    site.vcenter.control.expire_sessions()
    site.until(lambda: len(_sessions(site)) == 1, "one session at vCenter", 120)
    for side in (site.gateway, site.hub):
        if not side.stop(60):
            found.leaks += 1
            told.append(f"LEAK {side.name} did not end at a SIGTERM")
    if left := [*_sessions(site), *_sessions(site, "RestSession")]:
        found.leaks += len(left)
        told.append(f"LEAK sessions of a gateway that has ended: {left}")


def _sessions(site: Site, kind: str = "Session") -> list[str]:
    ledger = site.vcenter.control.ledger()
    return [one.id for one in ledger.of_kind(kind, alive=True) if one.by == site.vcenter.user]
