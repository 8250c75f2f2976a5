"""Whether a vCenter that we are connected to also answers as it should."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from moorage.kit.errors import (
    DeferredError,
    ForbiddenError,
    MoorageError,
    TerminalError,
    UnavailableError,
)
from moorage.resources.estate import VCenterBudget
from moorage.vsphere.clocks import Clocks
from moorage.vsphere.session import Session
from moorage.vsphere.turns import Turns
from moorage.vsphere.types import State

_ERRORS: dict[State, Callable[[str], MoorageError]] = {
    State.INVALID_CREDENTIALS: ForbiddenError,
    State.UNTRUSTED_CERTIFICATE: partial(TerminalError, "UntrustedCertificate"),
    State.NOT_VCENTER: partial(TerminalError, "NotVCenter"),
    State.TOO_OLD: partial(TerminalError, "VCenterTooOld"),
}


@dataclass(frozen=True, slots=True)
class Health:
    """Of one session, by its breaker."""

    _session: Session
    _clocks: Clocks
    _turns: Turns

    def budget(self) -> VCenterBudget:
        """Return how much is asked of vCenter now, and how much may be."""
        limits = self._session.limits
        calls, calls_waiting = self._session.queue.counts()
        clones, clones_waiting = self._turns.counts()
        return VCenterBudget(
            calls=calls,
            calls_most=limits.calls,
            calls_waiting=calls_waiting,
            clones=clones,
            clones_most=limits.clones,
            clones_waiting=clones_waiting,
            ailing=self._session.breaker.message,
        )

    @property
    def is_read_only(self) -> bool:
        """Tell whether nothing may be changed in vCenter."""
        return self._session.read_only

    def set_read_only(self, *, read_only: bool) -> None:
        """Let nothing be changed in vCenter from now on, or let it again."""
        self._session.read_only = read_only

    @property
    def certificate(self) -> str | None:
        """Fingerprint that vCenter showed when it was last accepted."""
        return self._session.stub.certificate

    @property
    def state(self) -> State:
        """What the connection is like now."""
        session = self._session
        if session.state is State.CONNECTED and session.breaker.is_open:
            return State.AILING
        return session.state

    @property
    def message(self) -> str:
        """What ``state`` means, for people."""
        return self._session.breaker.message or self._session.message

    def check(self) -> None:
        """Raise what is wrong with the connection now; asks nobody."""
        session = self._session
        if session.state is not State.CONNECTED:
            raise _ERRORS.get(session.state, UnavailableError)(session.message)

    async def ensure_responsive(self) -> None:
        """Return at once if vCenter answers as it should; else ask it, if it is time to.

        Raises ``DeferredError`` with ``VCenterAiling`` while it does not.
        """
        breaker = self._session.breaker
        if not breaker.is_open:
            return
        try:
            await self._clocks.ask()
        except UnavailableError as error:
            said = breaker.message or str(error)
            raise DeferredError(State.AILING, said, max(1.0, breaker.probe_in_s)) from error
