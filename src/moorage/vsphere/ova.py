"""Read an OVA as it passes by: digests of all that is in it, and what its descriptor says.

An OVA is a tar archive whose first file is an OVF descriptor (DSP0243, "OVF package"). A manifest
(``.mf``) beside it holds the digests of the other files.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, Protocol
from xml.etree import ElementTree as ET

from moorage.kit.errors import TerminalError

_BLOCK: Final = 512
_MOST_TEXT: Final = 4 * 1024 * 1024
"""Of a descriptor or manifest: they are kept whole until the end."""
_TEXTS: Final = (".ovf", ".mf", ".cert")
_FILE_TYPES: Final = (b"0", b"\0")
_ALGORITHMS: Final = ("sha1", "sha256", "sha512")
_LINE = re.compile(r"^(SHA\d+)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)$")
_OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


def invalid(message: str) -> TerminalError:
    """Return the error for an OVA that can never be imported."""
    return TerminalError("OVAInvalid", message)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What the OVF descriptor says that an import needs to know."""

    name: str
    """Of its file."""
    networks: tuple[str, ...]
    files: tuple[str, ...]
    """Names of the files that belong to it."""


@dataclass(slots=True)
class _Member:
    name: str
    size: int
    left: int
    hashes: dict[str, _Hash]
    kept: bytearray | None


class Sink(Protocol):
    """Takes the files of an OVA that are no texts, one after the other, as they pass by."""

    def begin(self, name: str, size: int) -> None:
        """Hear that a file of so many bytes begins."""

    def data(self, piece: memoryview) -> None:
        """Take its next bytes."""

    def end(self) -> None:
        """Hear that it is over."""


@dataclass(slots=True)
class OvaReader:
    """Takes an OVA in pieces of any size, in order; ``finish`` judges it."""

    sink: Sink | None = None
    sha256: _Hash = field(default_factory=hashlib.sha256)
    """Over the whole file."""
    _texts: dict[str, bytes] = field(default_factory=dict)
    _digests: dict[str, dict[str, str]] = field(default_factory=dict)
    _member: _Member | None = None
    _header: bytearray = field(default_factory=bytearray)
    _skip: int = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece; raises ``TerminalError`` for what is no OVA."""
        self.sha256.update(data)
        view = memoryview(data)
        while view:
            if self._skip:
                taken = min(self._skip, len(view))
                self._skip -= taken
            elif self._member is not None:
                taken = self._take(self._member, view)
            else:
                taken = min(_BLOCK - len(self._header), len(view))
                self._header += view[:taken]
                if len(self._header) == _BLOCK:
                    self._begin(bytes(self._header))
                    self._header.clear()
            view = view[taken:]

    def descriptor(self) -> tuple[str, bytes]:
        """Return name and text of the OVF descriptor, which comes before all other files.

        Raises ``TerminalError`` where it has not come, or there are several.
        """
        found = [(name, text) for name, text in self._texts.items() if name.endswith(".ovf")]
        if len(found) != 1:
            raise invalid(f"an OVA begins with one OVF descriptor; this has {len(found)}")
        return found[0]

    def finish(self) -> Descriptor:
        """Check the manifest, once everything has passed by, and return what the OVF says.

        Raises ``TerminalError``: it is cut off, a file is missing, or a digest is another one.
        """
        if self._member is not None or self._header:
            raise invalid("the OVA is cut off in the middle of a file")
        descriptor = read_descriptor(*self.descriptor())
        missing = [name for name in descriptor.files if name not in self._digests]
        if missing:
            raise invalid(f"the OVF descriptor names files that are not there: {missing}")
        for name, text in self._texts.items():
            if name.endswith(".mf"):
                self._check(name, text)
        return descriptor

    def _begin(self, header: bytes) -> None:
        if not header.strip(b"\0"):
            return  # the two empty blocks at the end
        if header[257:262] != b"ustar":
            raise invalid("it is no OVA: there is no tar archive (ustar) in it")
        try:
            raw = header[124:136]
            binary = raw[0] & 0x80
            size = int.from_bytes(raw[1:], "big") if binary else int(raw.strip(b"\0 ") or b"0", 8)
            name = header[:100].rstrip(b"\0").decode()
        except ValueError as error:
            raise invalid(f"a header of its tar archive cannot be read: {error}") from error
        if header[156:157] not in _FILE_TYPES:
            self._skip = -(-size // _BLOCK) * _BLOCK  # names of owners and the like
            return
        if name in self._digests:
            raise invalid(f"file {name} is in it twice")
        is_text = name.endswith(_TEXTS)
        if is_text and size > _MOST_TEXT:
            raise invalid(f"{name} has {size} bytes, more than any descriptor needs")
        # Which digests the manifest has is known for what comes after it.
        wanted = _ALGORITHMS if is_text else self._wanted(name)
        member = _Member(
            name,
            size,
            size,
            {one: hashlib.new(one, usedforsecurity=False) for one in wanted},
            bytearray() if is_text else None,
        )
        self._member = member
        if self.sink is not None and not is_text:
            self.sink.begin(name, size)
        if size == 0:
            self._end(member)

    def _wanted(self, name: str) -> tuple[str, ...]:
        for manifest, text in self._texts.items():
            if manifest.endswith(".mf"):
                named = [algorithm for algorithm, of, _ in _lines(text) if of == name]
                return tuple(dict.fromkeys(one for one in named if one in _ALGORITHMS))
        return _ALGORITHMS

    def _take(self, member: _Member, view: memoryview) -> int:
        taken = min(member.left, len(view))
        piece = view[:taken]
        for one in member.hashes.values():
            one.update(piece)
        if member.kept is not None:
            member.kept += piece
        elif self.sink is not None:
            self.sink.data(piece)
        member.left -= taken
        if member.left == 0:
            self._end(member)
        return taken

    def _end(self, member: _Member) -> None:
        self._digests[member.name] = {
            algorithm: one.hexdigest() for algorithm, one in member.hashes.items()
        }
        if member.kept is not None:
            self._texts[member.name] = bytes(member.kept)
        elif self.sink is not None:
            self.sink.end()
        self._member = None
        self._skip = -member.size % _BLOCK

    def _check(self, manifest: str, text: bytes) -> None:
        for algorithm, name, wanted in _lines(text):
            found = self._digests.get(name)
            if found is None:
                raise invalid(f"{manifest} names {name}, which is not in the OVA")
            if algorithm not in _ALGORITHMS:
                raise invalid(f"{manifest} has a digest by {algorithm}, which is not known")
            if found[algorithm] != wanted:
                raise TerminalError(
                    "ChecksumMismatch",
                    f"{name} has the {algorithm} {found[algorithm]}, and {manifest} says {wanted}: "
                    "the OVA was damaged, or changed",
                )


def read_descriptor(name: str, text: bytes) -> Descriptor:
    """Read an OVF descriptor; raises ``TerminalError`` for what is none."""
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise invalid(f"{name} declares a document type, which no OVF descriptor does")
    try:
        root = ET.fromstring(text)  # noqa: S314 - no document type, so no entities
    except ET.ParseError as error:
        raise invalid(f"{name} is no XML: {error}") from error
    if root.tag != f"{_OVF}Envelope":
        raise invalid(f"{name} is no OVF descriptor: its root is {root.tag}")
    if root.find(f"{_OVF}VirtualSystem") is None:
        raise invalid(f"{name} does not describe one virtual machine")
    return Descriptor(
        name,
        tuple(one.get(f"{_OVF}name", "") for one in root.iter(f"{_OVF}Network")),
        tuple(one.get(f"{_OVF}href", "") for one in root.iterfind(f"{_OVF}References/{_OVF}File")),
    )


def _lines(text: bytes) -> list[tuple[str, str, str]]:
    """Return algorithm, file and digest of each line of a manifest."""
    matches = (_LINE.match(line.strip()) for line in text.decode(errors="replace").splitlines())
    return [(one[1].lower(), one[2], one[3].lower()) for one in matches if one is not None]
