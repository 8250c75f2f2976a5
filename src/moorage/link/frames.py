"""What hub and gateway say to each other.

A WebSocket text message is a JSON array of frames. The frames of one message are applied in one
transaction and acknowledged together, by the sequence of the last one. ``sequence`` is the
sender's own count of changes; it rises from frame to frame, with gaps.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from moorage.kit.errors import InvalidError
from moorage.resources import KINDS, Resource
from moorage.resources.meta import Document, Model, Status

M = TypeVar("M", bound=Model)

PROTOCOL = 1
"""Raised when an older peer could no longer understand; new optional fields do not need it."""

MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_MESSAGE_BYTES = 6 * 1024 * 1024
BATCH_BYTES = 512 * 1024
"""A message is closed when it has grown to this size."""
BATCH_FRAMES = 100
MAX_HELLO_BYTES = 16 * 1024
"""What a peer may send before it has shown who it is."""


class _Frame(BaseModel):
    # Unknown fields are ignored: the peer may be one release newer.
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )


class Challenge(_Frame):
    """Hub, first: sign this."""

    type: Literal["challenge"] = "challenge"
    nonce: str
    installation: str
    hub_version: str
    protocol: int = PROTOCOL


class Hello(_Frame):
    """Gateway, first: who it is, proven by a signature, and how far it has read."""

    type: Literal["hello"] = "hello"
    gateway: str = Field(max_length=63)
    signature: str
    """Of ``hello_statement``, by the identity key."""
    version: str = Field(max_length=128)
    protocol: int = PROTOCOL
    capabilities: list[str] = Field(default_factory=list, max_length=256)
    """``kind:NAME`` for each kind of intent that the gateway knows; others are not sent to it."""
    since: int = Field(default=0, ge=0)
    """Highest hub sequence that the gateway has stored, of the hub's ``incarnation`` below."""
    incarnation: str = Field(default="", max_length=64)
    store: str = Field(max_length=64)
    """Names the gateway's own sequence: another one after its database was lost."""
    restored: bool = False
    """The gateway has once received everything that the hub mirrors of it."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of intents that the gateway knows."""
        named = (word.partition(":") for word in self.capabilities)
        return frozenset(name for what, _, name in named if what == "kind")


class Welcome(_Frame):
    """Hub: come in; send what you changed since."""

    type: Literal["welcome"] = "welcome"
    since: int
    """Highest gateway sequence that the hub has stored."""
    start: int
    """The hub sends what it changed since this; 0 when the gateway's position is of no use."""
    incarnation: str
    """Names the hub's sequence: another one after the hub was restored from a backup."""
    heartbeat_s: float
    at: AwareDatetime | None = None
    """What the hub's clock shows; an older one does not say."""
    recovery_key: str | None = None
    """PEM of the installation's public recovery key."""


class Refuse(_Frame):
    """Hub, before it closes: why."""

    type: Literal["refuse"] = "refuse"
    reason: Literal["NotEnrolled", "ProtocolMismatch", "BadHello", "Replaced", "Stopping"]
    message: str


class Put(_Frame):
    """The whole resource. Down: an intent. Up: a derived resource."""

    type: Literal["put"] = "put"
    sequence: int
    resource: Document


class StatusOf(_Frame):
    """Up: what the gateway saw of an intent resource, and whether it still holds it."""

    type: Literal["status"] = "status"
    sequence: int
    kind: str
    project: str
    name: str
    uid: str
    status: Document
    released: bool = False
    """The resource is being deleted, and the gateway is done with it."""


class Delete(_Frame):
    """A tombstone. Sequence 0: an answer to a status of what is long gone."""

    type: Literal["delete"] = "delete"
    sequence: int
    kind: str
    project: str
    name: str
    uid: str


class Restore(_Frame):
    """Down, before anything else, to a gateway that lost its store: what it once mirrored."""

    type: Literal["restore"] = "restore"
    resource: Document


class Restored(_Frame):
    """Down: all that could be restored was sent; told until the gateway's hello says so."""

    type: Literal["restored"] = "restored"


class Drop(_Frame):
    """Down: another gateway has it now. Let go of the copies without any teardown.

    Told until ``Dropped`` answers. It is about what is held under an epoch below ``epoch`` only.
    """

    type: Literal["drop"] = "drop"
    kind: Literal["Cluster", "IPPool", "CloudAccount"]
    project: str
    name: str
    uid: str
    epoch: int


class Dropped(_Frame):
    """Up: nothing is left here of what was held under an epoch below ``epoch``."""

    type: Literal["dropped"] = "dropped"
    uid: str
    epoch: int


class Mark(_Frame):
    """Everything up to here was sent, or does not concern the peer."""

    type: Literal["mark"] = "mark"
    sequence: int


class Ack(_Frame):
    """Everything up to here is stored."""

    type: Literal["ack"] = "ack"
    sequence: int


class Reject(_Frame):
    """One frame was not applied. It is acknowledged all the same: the rest goes on."""

    type: Literal["reject"] = "reject"
    sequence: int
    subject: str
    reason: str
    message: str


class Notice(_Frame):
    """Something to show to administrators. Down: a new recovery key. Up: it was refused."""

    type: Literal["notice"] = "notice"
    recovery_key: str | None = None
    refused: str | None = None


class Ping(_Frame):
    type: Literal["ping"] = "ping"


class Pong(_Frame):
    """The answer to a ping, with what the clock of who answers shows."""

    type: Literal["pong"] = "pong"
    at: AwareDatetime | None = None


Frame = Annotated[
    Challenge
    | Hello
    | Welcome
    | Refuse
    | Put
    | StatusOf
    | Delete
    | Restore
    | Restored
    | Drop
    | Dropped
    | Mark
    | Ack
    | Reject
    | Notice
    | Ping
    | Pong,
    Field(discriminator="type"),
]

Sequenced = Put | StatusOf | Delete | Mark
"""Frames that carry data and move the position."""

_MESSAGE: TypeAdapter[list[Frame]] = TypeAdapter(list[Frame])


def hello_statement(challenge: Challenge, gateway: str, store: str) -> bytes:
    """Return what a gateway signs: it is bound to this hub, this connection and this name."""
    words = ("moorage link", challenge.protocol, challenge.installation, gateway, store)
    return "\n".join([*(str(word) for word in words), challenge.nonce]).encode()


def encode(frames: Sequence[Frame]) -> str:
    """Write frames as one message."""
    return join(encode_one(frame) for frame in frames)


def encode_one(frame: Frame) -> str:
    """Write one frame, to be joined with others."""
    return frame.model_dump_json(by_alias=True, exclude_none=True)


def join(frames: Iterable[str]) -> str:
    """Make a message from frames that are written already."""
    return f"[{','.join(frames)}]"


def decode(message: str, *, limit: int = MAX_MESSAGE_BYTES) -> list[Frame]:
    """Read the frames of a message; raises ``InvalidError``."""
    if len(message) > limit:
        raise InvalidError(f"a message of {len(message)} characters came; {limit} are allowed")
    try:
        return _MESSAGE.validate_json(message)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidError(f"a message is not of this protocol: {where}: {first['msg']}") from error


def read_resource(document: Document) -> Resource:
    """Turn a document into its kind, without the fields that only a newer peer knows.

    Raises ``InvalidError`` when the kind is unknown or what is left is not valid.
    """
    kind = KINDS.get(str(document.get("kind")))
    if kind is None:
        raise InvalidError(f"kind {document.get('kind')!r} is not known here")
    return _read(kind, document, kind.kind_name())


def read_status(resource: Resource, document: Document) -> Status:
    """Turn a document into a status of the resource's kind, as ``read_resource`` does."""
    model: type[Status] = type(resource.status)
    return _read(model, document, f"status of {resource}")


def _read(model: type[M], document: Document, what: str) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        unknown = [fault["loc"] for fault in error.errors() if fault["type"] == "extra_forbidden"]
        if not unknown:
            raise _invalid(what, error) from error
    known = copy.deepcopy(document)
    for place in unknown:
        _remove(known, place)
    try:
        return model.model_validate(known)
    except ValidationError as error:
        raise _invalid(what, error) from error


def _remove(document: Any, place: tuple[int | str, ...]) -> None:
    # A union puts its own words into the place; then nothing is removed, and the next look fails.
    *path, last = place
    for part in path:
        match document, part:
            case dict(), str() if part in document:
                document = document[part]
            case list(), int():
                document = document[part]
            case _:
                return
    if isinstance(document, dict):
        document.pop(str(last), None)


def _invalid(what: str, error: ValidationError) -> InvalidError:
    faults = error.errors(include_input=False, include_url=False)
    text = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:5])
    return InvalidError(f"{what} is not valid here: {text}")
