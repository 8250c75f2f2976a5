"""HTTP whose clients have to be done with a request in time.

uvicorn waits for ever for the rest of a header or body, so a few thousand connections that dribble
would keep everybody else out. Here the whole request has to be there within a deadline, counted
from its first byte, or from the connection; how long the answer takes is not limited.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_INCOMPLETE = (h11.IDLE, h11.SEND_BODY)


class PunctualProtocol(H11Protocol):
    """uvicorn's protocol, with a deadline for requests."""

    deadline_s = 30.0
    """A body of the largest size that is taken needs 35 KiB a second."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes in; more of them do not move the deadline."""
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Let the connection go: WebSockets have a heartbeat of their own."""
        self._stop()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        waits: Any = self.conn.their_state
        if waits not in _INCOMPLETE or self.transport.get_protocol() is not self:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.deadline_s, self._end)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        self.logger.info("a request did not arrive in time")
        self.transport.abort()
