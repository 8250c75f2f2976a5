"""The REST side of vCenter, which alone knows tags and content libraries: on SOAP's connections.

A session over REST is another one than over SOAP. It is opened for calls that belong together,
shared by all who make some at that time, and ended by the last of them: with SOAP's these are two
for each account.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog

from moorage.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    MoorageError,
    NotFoundError,
    UnavailableError,
)
from moorage.vsphere.faults import NETWORK_ERRORS, DeadlineError
from moorage.vsphere.releases import has_api
from moorage.vsphere.session import Session, SessionNote

log = structlog.get_logger(__name__)

_API_SESSION = "/api/session"
_REST_SESSION = "/rest/com/vmware/cis/session"
_API, _REST = "/api/cis/tagging/", "/rest/com/vmware/cis/tagging/"
_ANY_REST = "/rest/com/vmware/"
_TOKEN = "vmware-api-session-id"  # noqa: S105 - the name of a header
_CLOSE_S = 5.0
_MAX_ANSWER = 16 * 1024 * 1024


class Rest:
    """Opens REST sessions of one account. Everything is blocking, inside ``Session.call``.

    Args:
        session: The SOAP session whose connections, deadlines and password are used.
        note: Where the open session is written down, for who comes after a killed process: the
            session that it names is ended before the next one is opened. Closed with this.
    """

    def __init__(self, session: Session, note: SessionNote | None = None) -> None:
        self._session = session
        self._note = note
        self._left_open = note.read() if note else ""
        self._turn = threading.Lock()
        self._refused = b""
        self._closed = False
        self._users = 0
        self._session_is = ("", "")
        """Path and token of the session in use; empty when it has to be another one."""

    @contextmanager
    def open(self) -> Iterator["RestCalls"]:
        """Log in, hand out what calls are made with, and log out whatever happens inside.

        Where somebody else is inside, their session is used.

        Raises:
            ForbiddenError: The password was refused, now or before: it is not tried again.
            UnavailableError: vCenter's automation API does not serve.
        """
        path, token = self._enter()
        try:
            yield RestCalls(self, is_api=path == _API_SESSION, token=token)
        finally:
            # A call that failed may have used up its deadline: ending has one of its own.
            with self._session.stub.deadline.until(time.monotonic() + _CLOSE_S), self._turn:
                self._users -= 1
                if not self._users:
                    self._end()

    def _enter(self) -> tuple[str, str]:
        if not self._turn.acquire(timeout=self._session.stub.deadline.left()):
            raise DeadlineError("another call over REST was still logging in")
        try:
            if self._closed:
                raise UnavailableError("the connection to vCenter was closed")
            if not self._users or not self._session_is[1]:
                self._end()
                self._session_is = path, token = self._login()
                self._left_open = f"{path} {token}"
                if self._note is not None:
                    self._note.write(self._left_open)
            self._users += 1
            return self._session_is
        finally:
            self._turn.release()

    def lost(self, token: str) -> None:
        """Take note that vCenter has ended a session: who comes next opens another."""
        if self._session_is[1] == token:
            self._session_is = "", ""

    @property
    def is_left_open(self) -> bool:
        """Tell whether a session is open that a killed process, or a lost answer, has left."""
        return bool(self._left_open) and not self._users

    def tidy(self) -> None:
        """End what was left open."""
        with self._turn:
            if not self._users:
                self._end()

    def close(self) -> None:
        """Open nothing any more, and end the session in use. May be repeated."""
        if not self._turn.acquire(timeout=_CLOSE_S):
            self._session.stub.hang_up()  # somebody waits for a vCenter that is silent
            self._turn.acquire()
        try:
            if self._closed:
                return
            self._closed = True
            with self._session.stub.deadline.until(time.monotonic() + _CLOSE_S):
                self._end()
            if self._note is not None:
                self._note.close()
        finally:
            self._turn.release()

    def _end(self) -> None:
        """End the session that is noted; where vCenter does not answer, the next call tries."""
        if not self._left_open:
            return
        path, _, token = self._left_open.partition(" ")
        try:
            status, _ = self.exchange(f"DELETE {path}", path, {_TOKEN: token})
        except NETWORK_ERRORS as error:
            log.info("vcenter rest logout failed", error=str(error))
            return
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.info("vcenter rest logout failed", status=status)
            return  # anything else means that it has ended, by this or by itself
        self._left_open = ""
        self._session_is = "", ""
        if self._note is not None:
            self._note.write("")

    def _login(self) -> tuple[str, str]:
        """Return the path of the session that was opened, and its token."""
        endpoint = self._session.endpoint
        credentials = f"{endpoint.username}:{self._session.password()}".encode()
        digest = hashlib.sha256(credentials).digest()
        where = f"the automation API of vCenter {endpoint.host}:{endpoint.port}"
        refused = (
            f"{where} refused the login of {endpoint.username}, whom its Web Services API let in. "
            "It is not tried again, so that the account is not locked: give the password anew"
        )
        if digest == self._refused:
            raise ForbiddenError(refused)
        headers = {"Authorization": "Basic " + base64.b64encode(credentials).decode()}
        newer = has_api(self._session.api_version or "")
        for path in (_API_SESSION, _REST_SESSION) if newer else (_REST_SESSION,):
            status, body = self.exchange(f"POST {path}", path, headers)
            if status == HTTPStatus.NOT_FOUND and path == _API_SESSION:
                continue
            if status == HTTPStatus.UNAUTHORIZED:
                self._refused = digest
                raise ForbiddenError(refused)
            if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
                raise _error(status, body, f"log in to {where}")
            answered = _parse(body, f"log in to {where}")
            token = answered.get("value") if isinstance(answered, dict) else answered
            if not isinstance(token, str) or not token:
                raise UnavailableError(f"log in to {where}: it gave no session")
            return path, token
        raise UnavailableError(f"log in to {where}: it is not there (HTTP 404)")

    def exchange(
        self,
        name: str,
        path: str,
        headers: dict[str, str],
        body: bytes | Iterable[bytes] | None = None,
    ) -> tuple[int, bytes]:
        """Send a request on one of the account's connections; return status and answer.

        Raises what the network raises, as calls over SOAP do.

        Args:
            name: Verb, and what the call is counted as.
            path: With identifiers and query.
            headers: Beside those of every request.
            body: JSON, or pieces of what the headers announce.
        """
        stub = self._session.stub
        stub.count(name)
        connection = stub.GetConnection()
        try:
            connection.request(
                name.partition(" ")[0], path, body, {"Accept": "application/json", **headers}
            )
            answer = connection.get_answer()
            data = answer.read(_MAX_ANSWER)
        except BaseException:
            connection.close()
            raise
        if answer.isclosed():
            stub.ReturnConnection(connection)
        else:
            connection.close()
        return answer.status, data


class RestCalls:
    """Calls in one open session; of the tagging service, ``/api`` and ``/rest`` look the same."""

    def __init__(self, rest: Rest, *, is_api: bool, token: str) -> None:
        self._rest = rest
        self.is_api = is_api
        self._token = token

    def call(
        self,
        what: str,
        method: str,
        resource: str,
        *,
        identifier: str = "",
        action: str = "",
        body: dict[str, Any] | None = None,
        wrap: str = "",
    ) -> Any:
        """Make one call and return its answer.

        Args:
            what: For error texts: what is tried, on what.
            method: Of HTTP.
            resource: Such as ``tag-association``.
            identifier: Of one object of the resource.
            action: What ``POST`` does, where it does not create.
            body: What is sent, as ``/api`` takes it.
            wrap: Name under which ``/rest`` takes the body.

        Raises:
            ForbiddenError: The account lacks a privilege.
            NotFoundError: The object is not there.
            ConflictError: It is there already.
            InvalidError: vCenter does not accept what was sent.
            UnavailableError: vCenter cannot say now.
        """
        path = (_API if self.is_api else _REST) + resource
        name = f"{method} {path}{f' {action}' if action else ''}"
        if identifier:
            path += f"/{'' if self.is_api else 'id:'}{quote(identifier, safe=':')}"
        if action:
            path += f"?{'' if self.is_api else '~'}action={action}"
        headers = {_TOKEN: self._token}
        sent = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            sent = json.dumps({wrap: body} if wrap and not self.is_api else body).encode()
        value = self._answered(what, *self._rest.exchange(name, path, headers, sent))
        if self.is_api:
            return value
        return value.get("value") if isinstance(value, dict) else None

    def rest(
        self,
        what: str,
        method: str,
        resource: str,
        identifier: str = "",
        *,
        action: str = "",
        body: dict[str, Any] | None = None,
    ) -> Any:
        """Make one call in the form that all releases know, and return its answer's value.

        Args:
            what: For error texts: what is tried, on what.
            method: Of HTTP.
            resource: Such as ``content/library/item``.
            identifier: Of one object of the resource.
            action: What ``POST`` does, where it does not create.
            body: What is sent.

        Raises what ``call`` does.
        """
        path = _ANY_REST + resource
        name = f"{method} {path}{f' {action}' if action else ''}"
        path += f"/id:{quote(identifier, safe='')}" if identifier else ""
        path += f"?~action={action}" if action else ""
        headers = {_TOKEN: self._token, "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        value = self._answered(what, *self._rest.exchange(name, path, headers, sent))
        return value.get("value") if isinstance(value, dict) else None

    def put(self, path: str, size: int, pieces: Iterable[bytes]) -> None:
        """Send a file in pieces; each gets what is left of the deadline at its time."""
        headers = {
            _TOKEN: self._token,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
        }
        name = "PUT of a file"
        self._answered("send a file", *self._rest.exchange(name, path, headers, pieces))

    def _answered(self, what: str, status: int, answered: bytes) -> Any:
        if status == HTTPStatus.UNAUTHORIZED:
            self._rest.lost(self._token)
        if status // 100 != 2:  # noqa: PLR2004 - HTTP's class of success
            raise _error(status, answered, what)
        return _parse(answered, what) if answered else None


def _parse(body: bytes, what: str) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise UnavailableError(f"{what}: vCenter answered something that is not JSON") from error


def _error(status: int, body: bytes, what: str) -> MoorageError:
    """Return the error that callers understand, of an answer that is none of success."""
    kind, said = _told(body)
    text = f"{what}: vCenter answered {said or f'HTTP {status}'}"
    if "already_exists" in kind:
        return ConflictError(text)
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return UnavailableError(f"{what}: vCenter ended the REST session. It is tried again")
        case HTTPStatus.FORBIDDEN:
            return ForbiddenError(text)
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(text)
        case HTTPStatus.BAD_REQUEST:
            return InvalidError(text)
    return UnavailableError(f"{text} (HTTP {status}). It is tried again")


def _told(body: bytes) -> tuple[str, str]:
    """Return the kind of an error in lower case, and what vCenter says of it for people."""
    with suppress(ValueError, AttributeError, TypeError):
        answered = json.loads(body)
        kind = str(answered.get("error_type") or answered.get("type") or "")
        inner = answered.get("value")
        messages = (inner if isinstance(inner, dict) else answered).get("messages") or []
        texts = [str(one.get("default_message") or one.get("id") or "") for one in messages]
        word = kind.rpartition(".")[2]
        return kind.lower(), ": ".join(part for part in (word, "; ".join(texts)) if part)
    return "", ""
