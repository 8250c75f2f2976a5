"""A chain of records that shows what was altered: canonical JSON, digests, signed checkpoints.

Each record names the digest of the one before, and its own digest covers that. A checkpoint is
a signature over the number and digest of one record, and so over all before it. ``Chain`` reads
records and checkpoints, one at a time, and says by number what does not hold.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from moorage.kit.errors import InvalidError

Line = Mapping[str, Any]
"""One line of an export: a ``start``, a ``record`` or a ``checkpoint``, as ``type`` says."""

_NOT_COVERED = frozenset({"type", "digest"})
_STATEMENT = b"moorage audit checkpoint 1\n"
_PRIVATE_HEAD, _PUBLIC_HEAD = "-----BEGIN PRIVATE KEY-----", "-----BEGIN PUBLIC KEY-----"


def canonical(value: Any) -> bytes:
    """Return the one way in which a JSON value is written here: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode("utf-8", "surrogatepass")


def digest_of(record: Line) -> str:
    """Return the SHA-256, in hex, of all of a record but its digest."""
    covered = {name: value for name, value in record.items() if name not in _NOT_COVERED}
    return hashlib.sha256(canonical(covered)).hexdigest()


def statement_of(checkpoint: Line) -> bytes:
    """Return what the signature of a checkpoint covers."""
    names = ("installation", "id", "digest", "at")
    return _STATEMENT + canonical({name: checkpoint.get(name) for name in names})


class ChainKey:
    """A private Ed25519 key that signs checkpoints."""

    def __init__(self, pem: bytes) -> None:

        key = load_pem_private_key(pem, None)
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidError("the key that signs the audit trail is no Ed25519 key")
        self._key = key
        self.public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
        """The public half, 32 bytes in base64: checkpoints carry it."""

    @staticmethod
    def generate() -> bytes:
        """Return a new private key as PEM."""
        return Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )

    def sign(self, checkpoint: Line) -> str:
        """Return the signature of a checkpoint, in base64."""
        return base64.b64encode(self._key.sign(statement_of(checkpoint))).decode()


def public_pem(public: str) -> str:
    """Return a checkpoint's public key as PEM."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_public_pems(text: str) -> frozenset[str]:
    """Return the public keys of a file as checkpoints write them; raises ``InvalidError``."""
    if _PRIVATE_HEAD in text:
        raise InvalidError("this file holds a private key: give the public one")
    found = set()
    for part in text.split(_PUBLIC_HEAD)[1:]:
        try:
            key = load_pem_public_key(f"{_PUBLIC_HEAD}{part}".encode())
        except ValueError as error:
            raise InvalidError(f"a public key cannot be read: {error}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidError("a public key is no Ed25519 key")
        found.add(base64.b64encode(key.public_bytes_raw()).decode())
    if not found:
        raise InvalidError("there is no public key (PEM) in it")
    return frozenset(found)


def is_signed(checkpoint: Line) -> bool:
    """Tell whether the signature of a checkpoint is that of the key which it names."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(str(checkpoint["publicKey"])))
        key.verify(base64.b64decode(str(checkpoint["signature"])), statement_of(checkpoint))
    except (InvalidSignature, ValueError, KeyError):
        return False
    return True


class Finding(NamedTuple):
    """Something that does not hold."""

    id: int
    """Number of the record that it is about; 0: none."""
    message: str


@dataclass(slots=True)
class Report:
    """What was read, and what does not hold."""

    records: int = 0
    first: int = 0
    last: int = 0
    signed_upto: int = 0
    """The newest record that a checkpoint covers; those after it could be cut off unseen."""
    keys: dict[str, int] = field(default_factory=dict)
    """Public key -> how many checkpoints it signed."""
    findings: list[Finding] = field(default_factory=list)


class Chain:
    """Verifies a trail that is handed over line by line.

    Args:
        keys: Public keys that are trusted, as checkpoints write them; ``None``: any, so that
            only agreement is shown, not who signed.
    """

    def __init__(self, *, keys: frozenset[str] | None = None) -> None:
        self._trusted = keys
        self._report = Report()
        self._next: int | None = None
        self._missing: set[int] = set()
        self._tails: dict[int, str] = {}
        """Digests of records whose successor has not come."""
        self._wanted: dict[int, tuple[int, str]] = {}
        """Record that has not come -> its successor, and the digest that this one names."""
        self._bad: set[int] = set()
        self._promised: dict[int, list[tuple[str, str]]] = {}
        """Record that has not come -> digests that it must have, and who says so."""
        self._start = (0, "")
        self._last = (0, "")
        self._start_is_signed = False

    def expect(self, lines: Iterable[Line], where: str) -> None:
        """Insist on what an earlier export said: its checkpoints and its last record."""
        last: Line | None = None
        for line in lines:
            kind = line.get("type")
            if kind == "record":
                last = line
            elif kind == "checkpoint" and self._holds(line):
                self._promise(line, f"a checkpoint in {where}")
        if last is not None:
            self._promise(last, where)

    def read(self, line: Line) -> None:
        """Take in the next line."""
        match line.get("type"):
            case "start":
                after = line.get("after") or {}
                self._start = (int(after.get("id", 0)), str(after.get("digest", "")))
                self._last = self._start
                self._begin()
            case "record" if isinstance(line.get("id"), int):
                self._record(line)
            case "checkpoint" if isinstance(line.get("id"), int):
                self._checkpoint(line)
            case _:
                self._find(0, f"a line is no record and no checkpoint: {str(dict(line))[:120]}")

    def finish(self) -> Report:
        """Return what was found, when all lines were read."""
        report, last = self._report, self._report.last or self._start[0]
        for first, end in _ranges(self._missing):
            self._find(
                first, "is missing" if first == end else f"and those up to {end} are missing"
            )
        for number in sorted(self._promised):
            sources = ", ".join(sorted({source for _, source in self._promised[number]}))
            if number > last:
                self._find(
                    last + 1,
                    f"and those up to {number} are missing at the end: {sources} names record "
                    f"{number}",
                )
        if self._start[0] and not self._start_is_signed:
            self._find(
                self._start[0],
                "and all before it are missing, and no signed checkpoint says that they were "
                "let go",
            )
        report.findings.sort()
        return report

    def _begin(self) -> None:
        self._next = self._start[0] + 1
        self._tails[self._start[0]] = self._start[1]
        said = self._promised.get(self._start[0], ())
        self._start_is_signed = any(digest == self._start[1] for digest, _ in said)
        for number in [n for n in self._promised if n < self._start[0]]:
            del self._promised[number]  # let go since then
        self._keep_promises(*self._start)

    def _record(self, line: Line) -> None:
        if self._next is None:
            self._begin()
        number, digest, report = line["id"], str(line.get("digest", "")), self._report
        report.records += 1
        expected = self._next or 1
        if number >= expected:
            self._missing.update(range(expected, number))
            self._next = number + 1
        elif number in self._missing:
            self._missing.remove(number)
            self._find(number, f"stands after record {expected - 1}: the order was changed")
        else:
            self._find(number, "is there more than once, or before the chain's start")
            return
        report.first = report.first or number
        report.last = max(report.last, number)
        if _digest_or_none(line) != digest:
            self._bad.add(number)
            self._find(number, "was edited: what it says does not give its digest")
        self._link(number, digest, str(line.get("previous", "")))
        self._last = (number, digest)
        self._keep_promises(number, digest)

    def _link(self, number: int, digest: str, previous: str) -> None:
        before = number - 1
        if before in self._tails:
            self._compare(before, self._tails.pop(before), number, previous)
        else:
            self._wanted[before] = (number, previous)
        if number in self._wanted:
            after, named = self._wanted.pop(number)
            self._compare(number, digest, after, named)
        else:
            self._tails[number] = digest

    def _compare(self, number: int, digest: str, after: int, named: str) -> None:
        if digest != named and not self._bad & {number, after}:
            self._bad.add(number)
            self._find(number, f"was replaced: record {after} follows from another one")

    def _checkpoint(self, line: Line) -> None:
        number, public = line["id"], str(line.get("publicKey", ""))
        if not self._holds(line):
            return
        self._report.keys[public] = self._report.keys.get(public, 0) + 1
        source = f"the checkpoint of {line.get('at')}"
        if number == self._start[0]:
            self._start_is_signed |= line.get("digest") == self._start[1]
        elif number == self._last[0] or number >= (self._next or 1):
            self._promise(line, source)
            self._keep_promises(*self._last)
        else:
            self._find(number, f"is named by {source}, which stands in another place")

    def _holds(self, line: Line) -> bool:
        public = str(line.get("publicKey", ""))
        if not is_signed(line):
            self._find(int(line.get("id", 0)), "has a checkpoint whose signature does not hold")
            return False
        if self._trusted is not None and public not in self._trusted:
            self._find(int(line["id"]), f"has a checkpoint signed by an unknown key, {public}")
            return False
        return True

    def _promise(self, line: Line, source: str) -> None:
        self._promised.setdefault(int(line["id"]), []).append((str(line.get("digest")), source))

    def _keep_promises(self, number: int, digest: str) -> None:
        for promised, source in self._promised.pop(number, ()):
            if promised == digest:
                self._report.signed_upto = max(self._report.signed_upto, number)
                continue
            self._find(
                number,
                f"is not the one that {source} names: it, or one after record "
                f"{self._report.signed_upto}, was replaced with all that follow",
            )

    def _find(self, number: int, message: str) -> None:
        self._report.findings.append(Finding(number, message))


def _digest_or_none(line: Line) -> str | None:
    try:
        return digest_of(line)
    except ValueError:  # NaN: never written by us
        return None


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of numbers."""
    first = last = None
    for number in sorted(numbers):
        if last is not None and first is not None and number != last + 1:
            yield first, last
            first = number
        first = number if first is None else first
        last = number
    if first is not None and last is not None:
        yield first, last
