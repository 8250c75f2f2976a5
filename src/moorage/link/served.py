"""One gateway's connection at the hub, from its proven hello to its end."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import anyio
import structlog

from moorage.engine.store import Change, Store
from moorage.kit.errors import ForbiddenError, StorageFullError
from moorage.kit.skew import PeerClock, describe_skew
from moorage.link import metrics
from moorage.link.door import HubTransport, LinkSettings, identity_key
from moorage.link.frames import (
    Drop,
    Dropped,
    Frame,
    Hello,
    Notice,
    Reject,
    Sequenced,
    Welcome,
    encode,
)
from moorage.link.held import tell_deletions
from moorage.link.hub_side import apply_up, read_down, read_restore
from moorage.link.replicate import INTENT_CONFLICT, NEWER_MAY_TAKE
from moorage.link.session import LinkClosedError, Session
from moorage.resources import KINDS, Gateway, Handover, Ownership

log = structlog.get_logger(__name__)

RECOVERY_KEY_CONDITION = "RecoveryKeyAccepted"
CLOCK_AGREES = "ClockAgrees"
"""Condition of a gateway whose clock was once seen to be off."""


@dataclass(slots=True)
class _Position:
    """How far the hub has stored what a gateway sent; written with what it speaks of."""

    store: str = ""
    sequence: int = 0
    session: str = ""
    """The one connection that may write. It is a fence: a replaced one loses its right."""
    rejected_by: str = ""
    """Version of the hub that could not take a frame: another one asks for all again."""

    kinds: list[str] = field(default_factory=list)
    """What the gateway could take when it was last here: if it can take more now, it gets all."""

    @classmethod
    async def load(cls, store: Store, gateway: str) -> "_Position":
        text = await store.get_value(f"link.up.{gateway}")
        return cls(**json.loads(text)) if text else cls()

    async def save(self, store: Store, gateway: str) -> None:
        await store.set_value(f"link.up.{gateway}", json.dumps(asdict(self)))


class _Bell:
    """Wakes one waiter; a ring that nobody waits for yet is kept."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        self._event.set()

    async def rings(self) -> None:
        await self._event.wait()
        self._event = anyio.Event()


class ServedGateway:
    """Welcomes a gateway and replicates with it."""

    def __init__(
        self, store: Store, settings: LinkSettings, hello: Hello, key: str, session_id: str
    ) -> None:
        self._store = store
        self._settings = settings
        self._hello = hello
        self._key = key
        self._session_id = session_id
        self._name = hello.gateway
        self._itself_changed = _Bell()
        self._clock = PeerClock(settings.clock)

    async def run(self, transport: HubTransport) -> None:
        """Work until the connection ends; then raises ``LinkClosedError``, always."""
        welcome, restore = await self._welcome()
        await transport.send(encode([welcome]))
        await note(self._store, self._settings, self._hello, connected=True)
        log.info(
            "gateway connected",
            gateway=self._name,
            version=self._hello.version,
            since=welcome.since,
            start=welcome.start,
        )
        session = Session(
            transport,
            side="hub",
            read=lambda since: read_down(self._store, self._name, since, self._hello.kinds),
            apply=self._apply,
            start=welcome.start,
            heartbeat_s=welcome.heartbeat_s,
            peer_clock=self._clock,
            first=restore,
        )

        async def keep_allowed() -> None:
            await self._keep_allowed(session, welcome.recovery_key)

        await session.run(self._store, self._concerns, self._keep_seen, keep_allowed)

    async def leave(self) -> None:
        """Write that the gateway is gone, unless a newer connection is there.

        Where there is no room for that, the server's sweep does it later.
        """
        with suppress(StorageFullError):
            async with self._store.transaction() as store:
                position = await _Position.load(store, self._name)
                if position.session == self._session_id:
                    await note(store, self._settings, self._hello, connected=False)

    async def _welcome(self) -> tuple[Welcome, Sequence[Frame]]:
        settings, hello = self._settings, self._hello
        restore: Sequence[Frame] = ()
        async with self._store.transaction() as store:
            position = await _Position.load(store, self._name)
            if not hello.restored:
                # The gateway's database is a new one: what it mirrored here goes back first, so
                # that no controller there makes a second time what is there already.
                restore = await read_restore(store, self._name)
            if position.store != hello.store:
                position = _Position(store=hello.store)
            elif position.rejected_by not in {"", settings.hub_version}:
                position.sequence = 0
                position.rejected_by = ""
            known = hello.incarnation == settings.incarnation and hello.kinds <= {*position.kinds}
            usable = known and hello.since <= await store.version()
            position.session = self._session_id
            position.kinds = sorted(hello.kinds)
            await position.save(store, self._name)
        welcome = Welcome(
            since=position.sequence,
            start=hello.since if usable else 0,
            incarnation=settings.incarnation,
            heartbeat_s=settings.heartbeat_s,
            at=settings.clock.now(),
            recovery_key=await settings.recovery_key(),
        )
        return welcome, restore

    def _concerns(self, change: Change) -> bool:
        if change.kind == Gateway.kind_name() and change.name == self._name:
            self._itself_changed.ring()
        return change.route == self._name and change.spec_changed

    async def _keep_seen(self) -> None:
        while True:
            await anyio.sleep(self._settings.seen_every.total_seconds())
            with suppress(StorageFullError):  # the connection is worth more than the time of day
                await note(
                    self._store, self._settings, self._hello, connected=True, clock=self._clock
                )

    async def _keep_allowed(self, session: Session, recovery_key: str | None) -> None:
        """End the connection of a gateway that was deleted or enrolled anew; tell a new key."""
        while True:
            await self._tell_moved_away(session)
            with anyio.move_on_after(self._settings.seen_every.total_seconds()):
                await self._itself_changed.rings()
            try:
                key = await identity_key(self._store, self._name)
            except ForbiddenError as error:
                raise LinkClosedError("NotEnrolled", str(error)) from error
            if key != self._key:
                raise LinkClosedError("NotEnrolled", f"{self._name!r} was enrolled with a new key")
            session.post(*await tell_deletions(self._store, self._name, self._settings.clock.now()))
            if (now := await self._settings.recovery_key()) != recovery_key:
                recovery_key = now
                session.post(Notice(recovery_key=now))

    async def _tell_moved_away(self, session: Session) -> None:
        """Have the gateway drop its copies of what another one owns; again until it has."""
        if Handover.kind_name() not in self._hello.kinds:
            return
        gateway = await self._store.find(Gateway, "", self._name)
        if gateway is not None:
            session.post(*(Drop(**one.model_dump()) for one in gateway.status.moved_away))

    async def _take_dropped(self, store: Store, frame: Dropped) -> None:
        gateway = await store.get(Gateway, "", self._name)
        gateway.status.moved_away = [
            one
            for one in gateway.status.moved_away
            if (one.uid, one.epoch) != (frame.uid, frame.epoch)
        ]
        await store.put_status(gateway)

    async def _apply(self, frames: Sequence[Frame]) -> list[Frame]:
        async with self._store.transaction() as store:
            position = await _Position.load(store, self._name)
            if position.session != self._session_id:
                raise LinkClosedError("Replaced", "a newer connection of this gateway took over")
            answers = await apply_up(store, self._name, frames, self._settings.clock.now())
            for frame in frames:
                if isinstance(frame, Dropped):
                    await self._take_dropped(store, frame)
            rejected = [answer for answer in answers if isinstance(answer, Reject)]
            sequences = [frame.sequence for frame in frames if isinstance(frame, Sequenced)]
            position.sequence = max([position.sequence, *sequences])
            if any(reject.reason in NEWER_MAY_TAKE for reject in rejected):
                position.rejected_by = self._settings.hub_version
            await position.save(store, self._name)
        for reject in rejected:
            metrics.REJECTED.labels("hub", reject.reason).inc()
            log.warning("frame of a gateway rejected", gateway=self._name, **reject.model_dump())
        for frame in frames:
            match frame:
                case Notice(refused=str() as why):
                    await self._note_refused_key(why)
                case Reject():
                    await self._note_rejected(frame)
                    metrics.REJECTED.labels("gateway", frame.reason).inc()
                    log.warning(
                        "gateway rejected a frame", gateway=self._name, **frame.model_dump()
                    )
        return answers

    async def _note_rejected(self, reject: Reject) -> None:
        """Show on an intent that its gateway does not take it: nobody else would say so."""
        kind = KINDS.get(reject.subject.partition(" ")[0])
        project, _, name = reject.subject.partition(" ")[2].partition("/")
        if kind is None or kind.ownership is not Ownership.INTENT:
            return
        async with self._store.transaction() as store:
            found = await store.find(kind, project, name)
            if found is None or found.metadata.route != self._name:
                return
            found.status.set_condition(
                INTENT_CONFLICT,
                "True",
                reject.reason,
                reject.message,
                now=self._settings.clock.now(),
                generation=found.metadata.generation,
            )
            await store.put_status(found)

    async def _note_refused_key(self, why: str) -> None:
        async with self._store.transaction() as store:
            gateway = await store.get(Gateway, "", self._name)
            gateway.status.set_condition(
                RECOVERY_KEY_CONDITION,
                "False",
                "RecoveryKeyChanged",
                why,
                now=self._settings.clock.now(),
            )
            await store.put_status(gateway)


async def note(
    store: Store,
    settings: LinkSettings,
    hello: Hello,
    *,
    connected: bool,
    clock: PeerClock | None = None,
) -> None:
    """Write into the Gateway's status whether it is connected, and when it was last seen.

    ``clock`` is what it has said of its own: then it is also written whether that is right.
    """
    async with store.transaction() as inside:
        gateway = await inside.find(Gateway, "", hello.gateway)
        if gateway is None:
            return
        gateway.status.connected = connected
        gateway.status.last_seen_at = settings.clock.now()
        gateway.status.version = hello.version
        if clock is not None:
            _note_clock(gateway, clock)
        await inside.put_status(gateway)


def _note_clock(gateway: Gateway, clock: PeerClock) -> None:
    """Say that a gateway's clock is off; that it is right, only after that."""
    now, skew = clock.clock.now(), clock.skew()
    if clock.is_skewed:
        whose = f"the clock of gateway {gateway.metadata.name}"
        gateway.status.set_condition(
            CLOCK_AGREES,
            "False",
            "ClockSkewed",
            f"{describe_skew(-skew, whose, 'that of the hub')}: let both follow NTP. What either "
            "says of time is off by this; nothing else depends on it",
            now=now,
        )
    elif gateway.status.condition(CLOCK_AGREES) is not None:
        gateway.status.set_condition(CLOCK_AGREES, "True", "Done", "", now=now)
