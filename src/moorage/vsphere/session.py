"""The one session with a vCenter: login, login again, deadlines, errors. Blocking inside.

``Session.call`` is the seam between anyio and pyVmomi: everything that talks to vCenter goes
through it or, in the stream's own thread, through ``Session.run``.
"""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Protocol, TypeVar

import anyio.to_thread
import structlog
from anyio import CapacityLimiter
from pyVmomi import vim, vmodl

from moorage.kit.clock import Clock, SystemClock
from moorage.kit.errors import (
    DeferredError,
    ForbiddenError,
    MoorageError,
    TerminalError,
    UnavailableError,
)
from moorage.kit.skew import PeerClock
from moorage.vsphere.breaker import Breaker
from moorage.vsphere.callqueue import CallQueue
from moorage.vsphere.endpoint import Endpoint
from moorage.vsphere.faults import (
    NETWORK_ERRORS,
    DeadlineError,
    changed_certificate,
    fault_text,
    no_answer,
    not_let_in,
    not_vcenter,
    refused_login,
    too_old,
    translate,
)
from moorage.vsphere.limits import Limits
from moorage.vsphere.releases import is_too_old
from moorage.vsphere.types import (
    State,
)
from moorage.vsphere.wire import Stub, newest_api, server_fingerprint

log = structlog.get_logger(__name__)

T = TypeVar("T")

_CLOSE_S = 5.0
_READ_ONLY_AGAIN_S = 300.0
"""Whoever ends it wakes those that wait."""
_ONE_CALL = (TimeoutError, ConnectionResetError, BrokenPipeError)
"""Of a session that works, these say something of one call, not of the vCenter."""

_TERMINAL_STATES = {
    "UntrustedCertificate": State.UNTRUSTED_CERTIFICATE,
    "NotVCenter": State.NOT_VCENTER,
}


class SessionNote(Protocol):
    """Where the session in use is written down, for who comes after a killed process."""

    def read(self) -> str:
        """Return what was written last, ``""`` when nothing is."""

    def write(self, session: str) -> None:
        """Write in place of the one before; ``""``: there is none any more."""

    def close(self) -> None:
        """Let it go."""


class Session:
    """One user's session with one vCenter, shared by all calls and the stream.

    Args:
        endpoint: Where, who, and how the certificate is verified.
        password: Kept in memory, for later logins.
        limits: How much may be asked of vCenter at a time.
        on_state: Called when ``state`` has changed.
        clock: Ours, to be compared with vCenter's.
        note: The session that it names is ended before the first login. Closed with this.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        password: str,
        limits: Limits,
        on_state: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        note: SessionNote | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.breaker = Breaker(endpoint.server, limits, on_state)
        # The inventory's two threads call beside the limiter; each connection is kept.
        self.stub = Stub(endpoint, limits.calls + 2, self.breaker.leave_alone)
        self.logins = 0
        self.state = State.CONNECTING
        self.message = f"connecting to vCenter {endpoint.host}:{endpoint.port}"
        self.api_version: str | None = None
        self.product: str | None = None
        self.instance_uuid: str | None = None
        self.peer_clock = PeerClock(clock or SystemClock())
        """VCenter's, as the last login or question told it."""
        self.key = ""
        """Of the session itself, by which vCenter is asked what it may do."""
        self.generation = 0
        """Counts logins: what was made in an earlier session is gone."""
        self._password = password
        self._on_state = on_state
        self._note = note
        self._left_open = note.read() if note else ""
        self._login_lock = threading.Lock()
        self._refused: str | None = None
        self._content: Any = None
        self._collector: Any = None
        self._logged_in = False
        self._closed = False
        self._login_failed_at = 0.0
        self.read_only = False
        """Whether nothing may be changed in vCenter."""
        self.queue = CallQueue(limits.calls, self.breaker)
        """Calls in flight, and those that wait."""
        self._threads = CapacityLimiter(limits.calls)

    def __repr__(self) -> str:
        return f"Session({self.endpoint.username}@{self.endpoint.host}:{self.endpoint.port})"

    # What work inside a call uses

    @property
    def content(self) -> Any:
        """VCenter's ServiceContent; only inside ``run``."""
        return self._content

    @property
    def collector(self) -> Any:
        """The session's own PropertyCollector for single reads; only inside ``run``."""
        return self._collector

    def ref(self, kind: type[T], moref: str) -> T:
        """Return a managed object to call methods on. Reading its properties is not done."""
        return kind(moref, self.stub)  # type: ignore[call-arg]

    # Calls

    async def call(self, what: str, work: Callable[[], T], *, deadline_s: float | None = None) -> T:
        """Do blocking work in a thread, when it is this call's turn.

        Args:
            what: For error texts: what is tried, on what.
            work: May be done a second time when vCenter answers that there is no session,
                which means that it has done nothing.
            deadline_s: Everything is over then, waiting for the turn included: a call whose
                deadline has passed is not sent.

        Raises:
            DeferredError: Nothing was sent, because vCenter ails.
        """
        within_s = deadline_s or self.limits.read_s
        deadline = time.monotonic() + within_s

        def watched() -> T:
            call = self.breaker.begin(what)
            return self.breaker.watch(call, lambda: self.run(what, work, deadline=deadline))

        try:
            async with self.queue.turn(what, anyio.current_time() + within_s):
                return await anyio.to_thread.run_sync(watched, limiter=self._threads)
        except DeadlineError as error:
            raise no_answer(error, self.endpoint, what) from error

    @contextmanager
    def effect(self, what: str) -> Iterator[None]:
        """Change something inside: everything that does goes through here, in its own thread.

        Nothing is sent once the running pass's lease has ended. Raises ``DeferredError`` for an
        account that is read-only.
        """
        if self.read_only:
            raise DeferredError(
                "AccountReadOnly",
                f"{what}: not done: the cloud account is read-only, so nothing is changed in "
                f"vCenter {self.endpoint.host}; `moorage accounts set-read-only NAME --off` ends "
                "that",
                _READ_ONLY_AGAIN_S,
            )
        with self.stub.deadline.with_lease():
            yield

    def run_beside(self, what: str, work: Callable[[], T], *, deadline: float) -> T:
        """Do the same in this thread, now: for the inventory's threads, which pause by themselves.

        What becomes of it tells of vCenter's health too.
        """
        call = self.breaker.begin(what, is_held_back=False)
        return self.breaker.watch(call, lambda: self.run(what, work, deadline=deadline))

    def run(self, what: str, work: Callable[[], T], *, deadline: float) -> T:
        """Do blocking work in this thread until ``deadline`` (``time.monotonic``)."""
        with self.stub.deadline.until(deadline):
            try:
                return self._with_session(work)
            except NETWORK_ERRORS as error:
                raise self._failed(error, what) from error
            except vmodl.MethodFault as fault:
                raise translate(fault, what) from fault

    def _with_session(self, work: Callable[[], T]) -> T:
        generation = self._ensure_login(None)
        try:
            return self._answered(work())
        except vim.fault.NotAuthenticated:
            if not self._closed:
                log.info("vcenter session ended", server=self.endpoint.server)
            self._ensure_login(generation)
            return self._answered(work())

    def _answered(self, result: T) -> T:
        if self.state is not State.CONNECTED and not self._closed:
            self._set_state(State.CONNECTED, f"logged in as {self.endpoint.username}")
        return result

    # Login

    def _ensure_login(self, lost: int | None) -> int:
        """Log in unless somebody has, since session ``lost`` was seen to be gone."""
        entered = time.monotonic()
        with self._turn_to_log_in():
            if self._closed:
                raise UnavailableError(f"the connection to {self.endpoint.host} was closed")
            if self._logged_in and self.generation != lost:
                return self.generation
            self._logged_in = False
            if self._refused is not None:
                raise ForbiddenError(self._refused)
            if self._login_failed_at > entered:
                # Somebody tried while this call waited: one try speaks for all who waited.
                raise UnavailableError(self.message)
            try:
                self._login()
            except (*NETWORK_ERRORS, vmodl.MethodFault) as error:
                self._login_failed_at = time.monotonic()
                if not isinstance(error, vmodl.MethodFault):
                    raise
                failure = not_let_in(error, self.endpoint)
                self._set_state(State.UNREACHABLE, str(failure))
                raise failure from error
            return self.generation

    @contextmanager
    def _turn_to_log_in(self) -> Iterator[None]:
        if not self._login_lock.acquire(timeout=self.stub.deadline.left()):
            raise DeadlineError("another call was still trying to log in")
        try:
            yield
        finally:
            self._login_lock.release()

    def _login(self) -> None:
        with self.stub.logging_in():
            root: Any = self.ref(vim.ServiceInstance, "ServiceInstance")
            content = self._content_of(root)
            about = content.about
            if about.apiType != "VirtualCenter":
                raise self._not_this(State.NOT_VCENTER, not_vcenter(self.endpoint, about))
            if is_too_old(about.apiVersion):
                raise self._not_this(State.TOO_OLD, too_old(self.endpoint, about.apiVersion))
            self._end_left_open(content)
            self.logins += 1
            asked = self.peer_clock.clock.steady()
            try:
                login = content.sessionManager.Login(self.endpoint.username, self._password, None)
            except (vim.fault.InvalidLogin, vim.fault.NoPermission) as fault:
                self._refused = refused_login(fault, self.endpoint)
                self._set_state(State.INVALID_CREDENTIALS, self._refused)
                raise ForbiddenError(self._refused) from fault
            self.peer_clock.heard(login.loginTime, since=asked)
            self._left_open = self.stub.cookie  # until all that follows has worked
            if self._note is not None:
                self._note.write(self.stub.cookie)
            self._content = content
            self._collector = content.propertyCollector.CreatePropertyCollector()
        self.key = login.key
        self.api_version = about.apiVersion
        self.product = about.fullName
        self.instance_uuid = about.instanceUuid
        self.generation += 1
        self._logged_in = True
        self._left_open = ""
        self._set_state(State.CONNECTED, f"logged in as {self.endpoint.username}")
        log.info("vcenter login", server=self.endpoint.server, product=self.product)

    def _content_of(self, root: Any) -> Any:
        """Ask in the session that was left open, if any: vCenter may refuse to open another."""
        try:
            with self.stub.as_session(self._left_open) if self._left_open else nullcontext():
                return root.RetrieveContent()
        except vmodl.fault.InvalidRequest as fault:
            # What it says of an API that is newer than its own.
            said = newest_api(self.stub) or fault_text(fault)
            raise self._not_this(State.TOO_OLD, too_old(self.endpoint, said)) from fault

    def _end_left_open(self, content: Any) -> None:
        """End the session that a killed process left, or a login of which only the half worked."""
        if not self._left_open:
            return
        with self.stub.as_session(self._left_open), suppress(vmodl.MethodFault):
            content.sessionManager.Logout()  # refused: it has ended by itself
            log.info("vcenter session left by a killed process ended", server=self.endpoint.server)
        self._left_open = ""

    def set_password(self, password: str) -> None:
        """Take a new password. A refused login is tried once more with it."""
        with self._login_lock:
            if password == self._password and self._refused is not None:
                return
            self._password = password
            self._refused = None
            if self.state is State.INVALID_CREDENTIALS:
                self._set_state(State.CONNECTING, "a new password was given")

    def password(self) -> str:
        """Return the password, for a login elsewhere; raises ``ForbiddenError`` for a refused one.

        Asked for at each use, so that nobody goes on with one that was replaced.
        """
        if self._refused is not None:
            raise ForbiddenError(self._refused)
        return self._password

    @property
    def is_refused(self) -> bool:
        """Tell whether nothing is tried until another password is given."""
        return self._refused is not None

    def _failed(self, error: BaseException, what: str) -> MoorageError:
        """Return the error for callers; note the state that it shows."""
        failure = no_answer(error, self.endpoint, what)
        if isinstance(failure, TerminalError):
            if isinstance(error, ssl.SSLCertVerificationError):
                shown = server_fingerprint(self.endpoint, 3.0)
                if shown is not None:
                    compare = changed_certificate(shown, before=self.stub.certificate)
                    failure = TerminalError(failure.reason, f"{failure} ({compare})")
            self._set_state(_TERMINAL_STATES[failure.reason], str(failure))
        elif not (self._logged_in and isinstance(error, _ONE_CALL)):
            self._set_state(State.UNREACHABLE, str(failure))
        return failure

    def _not_this(self, state: State, message: str) -> TerminalError:
        self._set_state(state, message)
        return TerminalError(state, message)

    def _set_state(self, state: State, message: str) -> None:
        if self._closed:
            return
        if state is not self.state:
            log.info("vcenter state", server=self.endpoint.server, state=state, message=message)
        changed = state is not self.state
        self.state, self.message = state, message
        if changed:
            self._on_state()

    def close(self) -> None:
        """Log out, and let nothing go out any more. May be repeated."""
        if not self._login_lock.acquire(timeout=_CLOSE_S):
            self.stub.hang_up()  # somebody tries to log in to a vCenter that is silent
            self._login_lock.acquire()
        try:
            if self._closed:
                return
            if self._logged_in:
                with self.stub.deadline.until(time.monotonic() + _CLOSE_S):
                    try:
                        self._content.sessionManager.Logout()
                        if self._note is not None:
                            self._note.write("")
                    except (*NETWORK_ERRORS, vmodl.MethodFault) as error:
                        log.info("vcenter logout failed", error=str(error))
            self._set_state(
                State.CLOSED, f"the connection to vCenter {self.endpoint.host} was closed"
            )
            self._closed = True
            self._logged_in = False
            self._password = ""
            if self._note is not None:
                self._note.close()
        finally:
            self._login_lock.release()
        self.stub.hang_up()
