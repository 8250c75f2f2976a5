"""What vCenter says about a VM, and what the hypervisor remembers of it."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from moorage_lab.errors import LabError
from moorage_lab.network import Nic
from moorage_lab.process import write_atomically

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_T = TypeVar("_T")


class InvalidDocumentError(LabError):
    """A message breaks the protocol; the text names the field."""


def check_uuid(text: str) -> str:
    """A BIOS UUID as the protocol wants it: it becomes a directory's name."""
    if not _UUID.fullmatch(text):
        raise InvalidDocumentError(f"{text!r} is no BIOS UUID in lower case")
    return text


def _get(body: dict[str, Any], key: str, kind: type[_T]) -> _T:
    value = body.get(key)
    if not isinstance(value, kind) or isinstance(value, bool) or not value:
        raise InvalidDocumentError(f"{key} is {value!r}, wanted: {kind.__name__}")
    return value


def _nic(body: Any, index: int) -> Nic:
    mac = str(body.get("mac", "") if isinstance(body, dict) else "").lower()
    if not _MAC.fullmatch(mac):
        raise InvalidDocumentError(f"nics[{index}] is {body!r}: it has no MAC address")
    return Nic(mac, connected=bool(body.get("connected", True)))


def guestinfo_of(body: Any) -> dict[str, str | None]:
    """Check an object of guestinfo values; `None` removes a key."""
    if not isinstance(body, dict):
        raise InvalidDocumentError("guestinfo is an object")
    for key, value in body.items():
        if value is not None and not isinstance(value, str):
            raise InvalidDocumentError(f"{key} is {value!r}, wanted: text or null")
    return body


@dataclass(frozen=True, slots=True)
class Document:
    """A VM as vCenter configured it (lab/README.md, `VM document`)."""

    uuid: str
    name: str
    image: str
    cpus: int
    memory_mib: int
    nics: tuple[Nic, ...]

    @classmethod
    def parse(cls, uuid: str, body: Any) -> "Document":
        """Check a document.

        Raises:
            InvalidDocumentError: It breaks the protocol.
        """
        if not isinstance(body, dict):
            raise InvalidDocumentError("a VM document is an object")
        if body.get("uuid", uuid) != uuid:
            raise InvalidDocumentError(f"uuid is {body['uuid']!r}, but the path says {uuid!r}")
        nics = body.get("nics") or []
        if not isinstance(nics, list):
            raise InvalidDocumentError(f"nics is {nics!r}, wanted: list")
        return cls(
            uuid=check_uuid(uuid),
            name=_get(body, "name", str),
            image=_get(body, "image", str),
            cpus=_get(body, "cpus", int),
            memory_mib=_get(body, "memoryMib", int),
            nics=tuple(_nic(nic, index) for index, nic in enumerate(nics)),
        )

    def dump(self) -> dict[str, Any]:
        """The document again, as `parse` reads it."""
        return {
            "uuid": self.uuid,
            "name": self.name,
            "image": self.image,
            "cpus": self.cpus,
            "memoryMib": self.memory_mib,
            "nics": [{"mac": nic.mac, "connected": nic.connected} for nic in self.nics],
        }

    @property
    def hostname(self) -> str:
        """A name for the container: what the VM is called, as far as a host name allows."""
        name = re.sub(r"[^a-z0-9-]+", "-", self.name.lower())[:63].strip("-")
        return name or f"vm-{self.uuid[:8]}"


@dataclass(slots=True)
class Record:
    """One VM as it is kept on disk."""

    document: Document
    guestinfo: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    """Keys that the guest wrote and vCenter has not changed since."""
    tools: dict[str, Any] | None = None
    """The guest's last word about its name and addresses in this run."""
    on: bool = False
    """Whether vCenter believes the VM to be powered on."""

    def accept(self, document: Document, guestinfo: dict[str, str | None]) -> None:
        """Take a new document; what the guest wrote and vCenter may not know yet stays."""
        self.document = document
        own = {key: self.guestinfo[key] for key in self.told if key in self.guestinfo}
        self.guestinfo = {key: text for key, text in guestinfo.items() if text is not None} | own

    def change(self, guestinfo: dict[str, str | None]) -> None:
        """Take vCenter's changes of some keys."""
        for key, text in guestinfo.items():
            self.told.discard(key)
            if text is None:
                self.guestinfo.pop(key, None)
            else:
                self.guestinfo[key] = text

    def save(self, path: Path) -> None:
        state = {
            "document": self.document.dump(),
            "guestinfo": self.guestinfo,
            "told": sorted(self.told),
            "tools": self.tools,
            "on": self.on,
        }
        write_atomically(path, json.dumps(state))

    @classmethod
    def load(cls, path: Path) -> "Record":
        state = json.loads(path.read_text())
        return cls(
            document=Document.parse(state["document"]["uuid"], state["document"]),
            guestinfo=state["guestinfo"],
            told=set(state["told"]),
            tools=state["tools"],
            on=state["on"],
        )
