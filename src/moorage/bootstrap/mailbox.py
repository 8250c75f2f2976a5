"""What passes between gateway and node through guestinfo: requests, replies, progress.

Whatever a guest writes is untrusted: it is shown to people, and decides nothing.
"""

import base64
import gzip
import hashlib
import hmac
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moorage.bootstrap.cloudinit import MAX_GUESTINFO_BYTES
from moorage.bootstrap.pki import ClusterPKI, helper_key
from moorage.kit.errors import InvalidError

REQUEST_KEY = "guestinfo.moorage.request"
REPLY_KEY = "guestinfo.moorage.reply"
PROGRESS_KEY = "guestinfo.moorage.progress"

COLLECT_LOGS = "collect-logs"

_MAX_TEXT_BYTES = 8 * 1024 * 1024
"""A reply that unpacks to more is not from our helper."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a node's helper answered. ``text`` is for people."""

    machine: str
    counter: int
    verb: str
    ok: bool
    message: str
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The last word of a node while it boots."""

    phase: str
    at: str
    detail: str
    failed: bool


def render_request(
    pki: ClusterPKI, machine_uid: str, counter: int, verb: str, args: Mapping[str, Any]
) -> str:
    """Render a signed request. The counter must be higher than any used for this machine."""
    request = {"args": dict(args), "counter": counter, "machine": machine_uid, "verb": verb}
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    signature = hmac.new(helper_key(pki, machine_uid), text.encode(), hashlib.sha256).hexdigest()
    rendered = json.dumps({**request, "hmac": signature}, sort_keys=True)
    if len(rendered) > MAX_GUESTINFO_BYTES:
        raise InvalidError(
            f"request {verb} has {len(rendered)} bytes; a guest can read {MAX_GUESTINFO_BYTES}"
        )
    return rendered


def counter_of(request: str | None) -> int:
    """Return the counter of the request that lies in a mailbox; 0 for anything else."""
    try:
        return int(json.loads(request or "")["counter"])
    except (ValueError, KeyError, TypeError):
        return 0


def parse_reply(text: str) -> Reply:
    """Read a reply; raises ``InvalidError`` for anything that the helper does not write."""
    try:
        document = json.loads(text)
        data = base64.b64decode(document["data"], validate=True)
        return Reply(
            machine=str(document["machine"]),
            counter=int(document["counter"]),
            verb=str(document["verb"]),
            ok=document["ok"] is True,
            message=_printable(str(document["message"])),
            text=_printable(_unpack(data).decode("utf-8", "replace")),
        )
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        raise InvalidError(f"{REPLY_KEY} does not hold a helper's reply: {error}") from error


def parse_progress(text: str) -> Progress | None:
    """Read a node's progress; ``None`` for anything that the boot script does not write."""
    try:
        document = json.loads(text)
        return Progress(
            phase=_printable(str(document["phase"]))[:64],
            at=_printable(str(document["at"]))[:32],
            detail=_printable(str(document["detail"]))[:1024],
            failed=document.get("failed") is True,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _unpack(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        unpacked = packed.read(_MAX_TEXT_BYTES + 1)
    if len(unpacked) > _MAX_TEXT_BYTES:
        raise ValueError(f"it unpacks to more than {_MAX_TEXT_BYTES} bytes")
    return unpacked


def _printable(text: str) -> str:
    """Leave out control characters, which could drive a terminal."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
