"""One connection of the link, as both ends see it: a writer, a reader, a pump, and a pulse.

The reader never sends: it posts to the writer, so that two ends which both have much to say
cannot block each other. What may be under way without an ack is limited in the pump.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, NoReturn, Protocol

import anyio
import structlog

from moorage.engine.store import Change, Store
from moorage.kit.errors import InvalidError, StorageFullError, UnavailableError
from moorage.kit.skew import PeerClock
from moorage.link import metrics
from moorage.link.frames import (
    BATCH_BYTES,
    BATCH_FRAMES,
    MAX_FRAME_BYTES,
    Ack,
    Frame,
    Mark,
    Ping,
    Pong,
    Sequenced,
    decode,
    encode_one,
    join,
)
from moorage.link.replicate import Outgoing

log = structlog.get_logger(__name__)

WINDOW = 8
"""Messages that may be under way without an ack."""
PACE_S = 0.05
"""Least time between two looks at the store: what changes often is sent in its last form only."""
FULL_PAUSE_S = 2.0
"""Between two attempts to store what came while the own disk is full."""
SILENCE_BEATS = 3
"""Heartbeats without a word after which the peer counts as gone."""


class LinkClosedError(UnavailableError):
    """The connection has ended. ``reason`` is one UpperCamel word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Transport(Protocol):
    """A WebSocket, whichever library it comes from."""

    async def send(self, message: str) -> None:
        """Send one text message; raises ``LinkClosedError``."""
        ...

    async def receive(self) -> str:
        """Wait for one text message; raises ``LinkClosedError``."""
        ...


Read = Callable[[int], Awaitable[Outgoing]]
Apply = Callable[[Sequence[Frame]], Awaitable[list[Frame]]]
"""Applies and commits what came in one message; returns what to answer beside the ack."""


class Session:
    """Runs one connection from after the welcome to its end."""

    def __init__(
        self,
        transport: Transport,
        *,
        side: str,
        read: Read,
        apply: Apply,
        start: int,
        heartbeat_s: float,
        peer_clock: PeerClock,
        first: Sequence[Frame] = (),
    ) -> None:
        self._transport = transport
        self._side = side
        self._read = read
        self._apply = apply
        self._cursor = start
        self._heartbeat_s = heartbeat_s
        self._peer_clock = peer_clock
        self._pinged_at: float | None = None
        """When the first ping was posted that no pong has answered; by the steady clock."""
        self._outbox: deque[str] = deque()
        self._posted = anyio.Event()
        self._changed = anyio.Event()
        self._acked = anyio.Event()
        self._in_flight: deque[int] = deque()
        self._marked = start
        self.acknowledged = start
        """Highest own version up to which the peer has stored, or need not know, everything."""
        self.on_progress: Callable[[int], None] = lambda _: None
        for chunk in _chunks(first):
            self._outbox.append(join(text for _, text in chunk))

    def post(self, *frames: Frame) -> None:
        """Have frames sent soon; never waits."""
        if frames:
            self._outbox.append(join(encode_one(frame) for frame in frames))
            self._posted.set()

    def wake(self) -> None:
        """Say that the store has changed."""
        self._changed.set()

    async def run(
        self,
        store: Store,
        concerns: Callable[[Change], bool],
        *beside: Callable[[], Coroutine[Any, Any, None]],
    ) -> NoReturn:
        """Work until the connection ends; then raises ``LinkClosedError``, always.

        Args:
            store: The own store; it is watched.
            concerns: Whether a change can be news for the peer.
            beside: What else runs while the connection lives, and may end it.
        """
        try:
            async with store.watch() as changes, anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                tasks.start_soon(self._pump)
                tasks.start_soon(self._pulse)
                tasks.start_soon(self._listen)
                for work in beside:
                    tasks.start_soon(work)
                async for change in changes:
                    if change.is_resync or concerns(change):
                        self.wake()
        except BaseExceptionGroup as group:
            closed, rest = group.split(LinkClosedError)
            if closed is None or rest is not None:
                raise
            raise _first(closed) from None
        raise LinkClosedError("Disconnected", "the store stopped telling of changes")

    async def _write(self) -> None:
        while True:
            self._posted = anyio.Event()
            while self._outbox:
                await self._transport.send(self._outbox.popleft())
            await self._posted.wait()

    async def _pulse(self) -> None:
        self._ping()
        while True:
            await anyio.sleep(self._heartbeat_s)
            self._ping()
            if not self._in_flight and self._cursor > self._marked:
                # What passed without a frame did not concern the peer. Told now and then, so
                # that it need not be looked through again on the next connection.
                mark = Mark(sequence=self._cursor)
                self._put_under_way([(mark, encode_one(mark))])

    def _ping(self) -> None:
        if self._pinged_at is None:
            self._pinged_at = self._peer_clock.clock.steady()
        self.post(Ping())

    async def _listen(self) -> None:
        patience = self._heartbeat_s * SILENCE_BEATS
        while True:
            try:
                with anyio.fail_after(patience):
                    message = await self._transport.receive()
            except TimeoutError as error:
                raise LinkClosedError(
                    "Silent", f"the peer has said nothing for {patience:g} s"
                ) from error
            try:
                frames = decode(message)
            except InvalidError as error:
                raise LinkClosedError("BadMessage", str(error)) from error
            await self._take(frames)

    async def _take(self, frames: Sequence[Frame]) -> None:
        data: list[Frame] = []
        for frame in frames:
            metrics.RECEIVED.labels(self._side, frame.type).inc()
            match frame:
                case Ping():
                    self.post(Pong(at=self._peer_clock.clock.now()))
                case Pong(at=moment):
                    if moment is not None and self._pinged_at is not None:
                        self._peer_clock.heard(moment, since=self._pinged_at)
                    self._pinged_at = None
                case Ack():
                    self._take_ack(frame.sequence)
                case _:
                    data.append(frame)
        if data:
            answers = await self._store_patiently(data)
            reached = max(
                (getattr(frame, "sequence", 0) for frame in data if _moves(frame)), default=0
            )
            self.post(*([Ack(sequence=reached)] if reached else []), *answers)

    async def _store_patiently(self, frames: Sequence[Frame]) -> list[Frame]:
        """Apply frames, and wait while there is no room for them: the peer is told by no ack.

        Nothing more is read meanwhile, so the peer's own limit stops it; both pulses go on.
        """
        while True:
            try:
                return await self._apply(frames)
            except StorageFullError as error:
                log.warning("no room for what came", error=str(error), retry_s=FULL_PAUSE_S)
                await anyio.sleep(FULL_PAUSE_S)

    def _take_ack(self, sequence: int) -> None:
        while self._in_flight and self._in_flight[0] <= sequence:
            self._in_flight.popleft()
        self._progress(sequence)
        self._acked.set()

    def _progress(self, sequence: int) -> None:
        reached = max(sequence, self._cursor if not self._in_flight else 0)
        if reached > self.acknowledged:
            self.acknowledged = reached
            self.on_progress(reached)

    async def _pump(self) -> None:
        while True:
            began = anyio.current_time()
            self._changed = anyio.Event()
            found = await self._read(self._cursor)
            for chunk in _chunks(found.frames):
                await self._send_within_window(chunk)
            self._cursor = found.cursor
            self._progress(0)
            if not found.more:
                await self._changed.wait()
                await anyio.sleep_until(began + PACE_S)

    async def _send_within_window(self, chunk: Sequence[tuple[Frame, str]]) -> None:
        while len(self._in_flight) >= WINDOW:
            self._acked = anyio.Event()
            await self._acked.wait()
        self._put_under_way(chunk)

    def _put_under_way(self, chunk: Sequence[tuple[Frame, str]]) -> None:
        for frame, _ in chunk:
            metrics.SENT.labels(self._side, frame.type).inc()
        last: Frame = chunk[-1][0]
        self._marked = getattr(last, "sequence", self._marked)
        self._in_flight.append(self._marked)
        self._outbox.append(join(text for _, text in chunk))
        self._posted.set()


def _moves(frame: Frame) -> bool:
    return isinstance(frame, Sequenced)


def _chunks(frames: Iterable[Frame]) -> Iterable[list[tuple[Frame, str]]]:
    """Cut frames into messages; what is too large for the link is left out, and logged."""
    chunk: list[tuple[Frame, str]] = []
    size = 0
    for frame in frames:
        text = encode_one(frame)
        length = len(text.encode())
        if length > MAX_FRAME_BYTES:
            log.error("too large for the link, not sent", frame=text[:200], bytes=length)
            continue
        if chunk and (size + length > BATCH_BYTES or len(chunk) >= BATCH_FRAMES):
            yield chunk
            chunk, size = [], 0
        chunk.append((frame, text))
        size += length
    if chunk:
        yield chunk


def _first(group: BaseExceptionGroup[LinkClosedError]) -> LinkClosedError:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
        return error
    raise AssertionError("an exception group is never empty")
