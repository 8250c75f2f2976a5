"""The gateway's end of the link: dials the hub, again and again, and replicates with it."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal, NoReturn

import anyio
import structlog

from moorage.engine.lease import ensure_held
from moorage.engine.store import LeaseLostError, Store
from moorage.engine.tenure import Tenure
from moorage.kit.clock import Clock, SystemClock
from moorage.kit.identity import PrivateIdentity
from moorage.kit.ids import new_uid
from moorage.kit.skew import PeerClock
from moorage.link import metrics
from moorage.link.dial import Dial, GatewayTransport, open_link, receive_first
from moorage.link.frames import (
    PROTOCOL,
    Challenge,
    Frame,
    Hello,
    Notice,
    Refuse,
    Reject,
    Restored,
    Sequenced,
    Welcome,
    encode,
    hello_statement,
)
from moorage.link.gateway_side import HubView, apply_down, read_released, read_up
from moorage.link.held import read_offered
from moorage.link.replicate import NEWER_MAY_TAKE
from moorage.link.session import LinkClosedError, Session, Transport
from moorage.link.trust import RecoveryKeys
from moorage.resources import KINDS, Ownership

log = structlog.get_logger(__name__)

STORE_ID = "link.store"
RESTORED = "link.restored"
POSITION = "link.down"
ACKNOWLEDGED = "link.acknowledged"

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 15.0
REFUSED_DELAY_S = 30.0
"""Least wait after the hub said no: asking sooner would hardly be answered otherwise."""
LEAST_BEAT_S, LONGEST_BEAT_S = 0.05, 300.0
NOTE_S = 0.2
"""How often at most the other replicas are told how much the hub has acknowledged."""
STEADY_S = 2.0
"""A connection that lived this long makes the next delay the first again."""


_CAPABILITIES = [
    f"kind:{name}" for name, kind in KINDS.items() if kind.ownership is Ownership.INTENT
]
_SAID_NO = frozenset({"NotEnrolled", "ProtocolMismatch", "Replaced", "WrongInstallation"})


async def begin_anew(store: Store) -> None:
    """Have the hub send back all that it mirrors and asks for: what is stored here may be older."""
    async with store.transaction() as inside:
        await inside.set_value(STORE_ID, new_uid())
        await inside.set_value(RESTORED, "")
        await inside.set_value(POSITION, "")


@dataclass(frozen=True, slots=True)
class LinkState:
    """What a health page says of the link."""

    state: Literal["Connected", "Disconnected", "Standby"]
    reason: str
    message: str
    since: datetime


@dataclass(slots=True)
class _Position:
    """How far the gateway has stored what the hub sent; written with what it speaks of."""

    incarnation: str = ""
    sequence: int = 0
    rejected_by: str = ""
    """Version of the gateway that could not take a frame: another one asks for all again."""

    @classmethod
    async def load(cls, store: Store) -> "_Position":
        text = await store.get_value(POSITION)
        return cls(**json.loads(text)) if text else cls()

    async def save(self, store: Store) -> None:
        await store.set_value(POSITION, json.dumps(asdict(self)))


class _UnderLease:
    """A transport on which nothing is sent once the lease on the link has ended."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    async def send(self, message: str) -> None:
        try:
            ensure_held()
        except LeaseLostError as error:
            raise LinkClosedError("LeaseLost", str(error)) from error
        await self._inner.send(message)

    async def receive(self) -> str:
        return await self._inner.receive()


class Link:
    """Keeps a gateway's store and its hub's in step for as long as ``run`` runs.

    All that it knows stands in the store: it may be killed at any moment.
    """

    def __init__(
        self,
        store: Store,
        *,
        gateway: str,
        installation: str,
        identity: PrivateIdentity,
        dial: Dial,
        version: str,
        recovery_keys: RecoveryKeys | None = None,
        clock: Clock | None = None,
        first_delay_s: float = FIRST_DELAY_S,
        longest_delay_s: float = LONGEST_DELAY_S,
        tenure: Tenure | None = None,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._installation = installation
        self._identity = identity
        self._dial = dial
        self._version = version
        self._clock = clock or SystemClock()
        self._first_delay_s = first_delay_s
        self._longest_delay_s = longest_delay_s
        self._recovery_keys = recovery_keys or RecoveryKeys(store)
        self._tenure = tenure
        self._progress = anyio.Event()
        self.hub_clock = PeerClock(self._clock)
        """What the hub's clock shows, as it last told; kept while it is away."""
        self.acknowledged = 0
        """Highest own ``resource_version`` up to which the hub has stored everything."""
        self.state = LinkState(
            "Disconnected", "NotStarted", "the link has not been started", self._clock.now()
        )

    def acked(self, version: int) -> bool:
        """Tell whether the hub has stored everything up to that ``resource_version``."""
        return self.acknowledged >= version

    async def wait_acknowledged(self, version: int) -> None:
        """Wait until ``acked(version)``; for ever, if the hub stays away."""
        while not self.acked(version):
            await self._progress.wait()

    @property
    def is_held(self) -> bool:
        """Tell whether this process is the one that talks to the hub."""
        return self._tenure is None or self._tenure.held is not None

    async def confirmed(self) -> int:
        """Return ``acknowledged`` as whichever replica holds the link knows it."""
        if self.is_held:
            return self.acknowledged
        return int(await self._store.get_value(ACKNOWLEDGED) or 0)

    async def run(self) -> None:
        """Dial, replicate, and dial again, until cancelled; as a replica, while it holds the link.

        When the lease is lost the connection is cut at once. Nothing more is sent on it then,
        and what came in is not applied, because every write to the store is made under the lease.
        """
        if self._tenure is None:
            await self._keep_dialling()
            return
        self._stand_by()
        await self._tenure.run(self._keep_dialling, self._stand_by)

    def _stand_by(self) -> None:
        self._set_state("Standby", "HeldByAnother", "another replica of this gateway has the link")

    async def _keep_dialling(self) -> None:
        self.acknowledged = 0  # others may have had the link, and the hub another history
        delay = self._first_delay_s
        while True:
            began = anyio.current_time()
            reason, message = await self._try_once()
            self._set_state("Disconnected", reason, message)
            if anyio.current_time() - began >= STEADY_S:
                delay = self._first_delay_s
            least = REFUSED_DELAY_S if reason in _SAID_NO else 0.0
            pause = max(least, random.uniform(0.5, 1.0) * delay)  # noqa: S311 - spreads load only
            log.warning("link down", reason=reason, message=message, retry_s=round(pause, 1))
            await anyio.sleep(pause)
            delay = min(delay * 2, self._longest_delay_s)

    async def _try_once(self) -> tuple[str, str]:
        try:
            transport = await open_link(self._dial, version=self._version)
        except LinkClosedError as error:
            metrics.ATTEMPTS.labels("failed").inc()
            return error.reason, str(error)
        metrics.ATTEMPTS.labels("connected").inc()
        try:
            await self._converse(transport)
        except LinkClosedError as error:
            return error.reason, str(error)
        except Exception as error:
            # Whatever went wrong with one frame or one transaction: positions are stored with
            # what they speak of, so to begin again is right. The process must not end for it.
            log.exception("link failed")
            return "Error", f"{type(error).__name__}: {error}"
        finally:
            metrics.CONNECTED.set(0)
            await transport.close()

    async def _converse(self, transport: GatewayTransport) -> NoReturn:
        challenge = await receive_first(transport, Challenge)
        if challenge.installation != self._installation:
            raise LinkClosedError(
                "WrongInstallation",
                f"{self._dial.url} is installation {challenge.installation!r}, this gateway is "
                f"enrolled at {self._installation!r}: enrol it again to change hubs",
            )
        position = await self._load_position()
        hello, asked = await self._hello(challenge, position), self._clock.steady()
        await transport.send(encode([hello]))
        welcome = await receive_first(transport, Welcome)
        if welcome.at is not None:
            self.hub_clock.heard(welcome.at, since=asked)
        if welcome.since > await self._store.version():
            await begin_anew(self._store)
            raise LinkClosedError(
                "StoreIsOlder",
                "the hub has later news of this gateway than its own database, which was "
                "restored from a backup: what is missing is asked for again",
            )
        if position.incarnation not in {"", welcome.incarnation}:
            log.warning("the hub was restored from a backup", incarnation=welcome.incarnation)
        if position.incarnation != welcome.incarnation or welcome.start < position.sequence:
            await _Position(welcome.incarnation, welcome.start).save(self._store)
        await self._run_session(transport, welcome)

    async def _run_session(self, transport: GatewayTransport, welcome: Welcome) -> NoReturn:
        view = HubView()

        async def apply(frames: Sequence[Frame]) -> list[Frame]:
            return await self._apply(frames, view)

        session = Session(
            _UnderLease(transport) if self._tenure else transport,
            side="gateway",
            read=lambda since: read_up(self._store, since, view),
            apply=apply,
            start=welcome.since,
            heartbeat_s=min(max(welcome.heartbeat_s, LEAST_BEAT_S), LONGEST_BEAT_S),
            peer_clock=self.hub_clock,
            first=await self._offer_recovery_key(welcome.recovery_key),
        )
        session.on_progress = self._set_acknowledged
        self._set_acknowledged(welcome.since)
        self._set_state("Connected", "Connected", f"connected to {self._dial.url}")
        metrics.CONNECTED.set(1)
        log.info("link up", hub=self._dial.url, since=welcome.since, start=welcome.start)

        async def repeat_released() -> None:
            session.post(*await read_released(self._store), *await read_offered(self._store))

        beside = [repeat_released, *([self._note_progress] if self._tenure else [])]
        await session.run(self._store, lambda _: True, *beside)

    async def _note_progress(self) -> NoReturn:
        """Tell other replicas, through the store, how much the hub has acknowledged."""
        noted = -1
        while True:
            progress = self._progress
            if noted != self.acknowledged:
                noted = self.acknowledged
                await self._store.set_value(ACKNOWLEDGED, str(noted))
                await anyio.sleep(NOTE_S)
            else:
                await progress.wait()

    async def _load_position(self) -> _Position:
        position = await _Position.load(self._store)
        if position.rejected_by not in {"", self._version}:
            position = _Position(incarnation=position.incarnation)
            await position.save(self._store)
        return position

    async def _hello(self, challenge: Challenge, position: _Position) -> Hello:
        store_id = await self._store.get_value(STORE_ID)
        if not store_id:
            store_id = new_uid()
            await self._store.set_value(STORE_ID, store_id)
        statement = hello_statement(challenge, self._gateway, store_id)
        return Hello(
            gateway=self._gateway,
            signature=self._identity.sign(statement),
            version=self._version,
            protocol=PROTOCOL,
            capabilities=_CAPABILITIES,
            since=position.sequence,
            incarnation=position.incarnation,
            store=store_id,
            restored=bool(await self._store.get_value(RESTORED)),
        )

    async def _apply(self, frames: Sequence[Frame], view: HubView) -> list[Frame]:
        for frame in frames:
            match frame:
                case Refuse():
                    raise LinkClosedError(frame.reason, frame.message)
                case Reject():
                    metrics.REJECTED.labels("hub", frame.reason).inc()
                    log.warning("the hub rejected a frame", **frame.model_dump())
        answers = await self._store_frames(frames, view)
        for answer in answers:
            if isinstance(answer, Reject):
                metrics.REJECTED.labels("gateway", answer.reason).inc()
                log.warning("frame of the hub rejected", **answer.model_dump())
        for frame in frames:
            if isinstance(frame, Notice):
                answers.extend(await self._offer_recovery_key(frame.recovery_key))
        return answers

    async def _store_frames(self, frames: Sequence[Frame], view: HubView) -> list[Frame]:
        async with self._store.transaction() as store:
            answers = await apply_down(store, frames, view, self._clock)
            position = await _Position.load(store)
            sequences = [frame.sequence for frame in frames if isinstance(frame, Sequenced)]
            position.sequence = max([position.sequence, *sequences])
            rejects = [answer for answer in answers if isinstance(answer, Reject)]
            if any(reject.reason in NEWER_MAY_TAKE for reject in rejects):
                position.rejected_by = self._version
            await position.save(store)
            if any(isinstance(frame, Restored) for frame in frames):
                await store.set_value(RESTORED, "yes")
        return answers

    async def _offer_recovery_key(self, pem: str | None) -> list[Frame]:
        if pem is None:
            return []
        refused = await self._recovery_keys.offer(pem)
        if refused is None:
            return []
        log.error("recovery key refused", why=refused)
        return [Notice(refused=refused)]

    def _set_acknowledged(self, version: int) -> None:
        self.acknowledged = version
        progress, self._progress = self._progress, anyio.Event()
        progress.set()

    def _set_state(
        self, state: Literal["Connected", "Disconnected", "Standby"], reason: str, message: str
    ) -> None:
        if (self.state.state, self.state.reason) != (state, reason):
            self.state = LinkState(state, reason, message, self._clock.now())
