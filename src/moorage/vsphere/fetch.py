"""Large files from elsewhere: over HTTPS, verified, or from a folder of this machine.

A download that is cut off goes on at the next byte, where the server lets it: it has to name the
file's version (a strong ETag, or a date), so that no file is ever put together of two.
"""

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, Final

from moorage.kit.errors import InvalidError, TerminalError, UnavailableError

_PIECE: Final = 1024 * 1024
_NOT_FOUND: Final = (401, 403, 404, 410)
_CUT = (OSError, http.client.HTTPException)
_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Before each time that a server is asked to go on; a byte that came begins them anew."""
_STRONG_AFTER_S: Final = 60.0
"""A date tells versions apart only once the file is as old as this (RFC 9110, 8.8.2.2)."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file that is being read."""

    size: int
    """In bytes."""
    pieces: Iterator[bytes]
    """Raises ``UnavailableError`` when it ends too soon."""


@contextmanager
def open_url(
    url: str,
    *,
    ca_bundle: str | None = None,
    timeout_s: float = 60,
    pause: Callable[[float], bool] | None = None,
) -> Iterator[Incoming]:
    """Ask for a file over HTTP or HTTPS. Proxies are those of the environment.

    Args:
        url: Where it is. From HTTPS nobody is led to anything else.
        ca_bundle: PEM certificates that are trusted in place of the system's.
        timeout_s: For the connection, and for each pause in the answer.
        pause: Waits for so many seconds before the server is asked to go on with what was cut off;
            returns whether nobody wants it any more.

    Raises:
        InvalidError: The CA bundle cannot be read.
        TerminalError: It is not there, not to be had, or its size is not told.
        UnavailableError: It does not answer, or answers that it cannot now.
    """
    try:
        context = ssl.create_default_context(cadata=ca_bundle)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidError(f"caBundle is not a list of PEM certificates: {error}") from error
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _StaysSafe())

    def ask(headers: dict[str, str]) -> Any:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=timeout_s)  # noqa: S310 - the caller's

    try:
        answer = ask({})
    except urllib.error.HTTPError as error:
        said = f"{url} answers HTTP {error.code} {error.reason}"
        if error.code in _NOT_FOUND:
            raise TerminalError("SourceNotFound", f"{said}: mend the URL") from error
        raise UnavailableError(f"{said}. It is tried again") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise TerminalError(
                "SourceUntrusted",
                f"the certificate of {url} is not trusted: {error.reason.verify_message}. Give the "
                "CA's certificate in caBundle",
            ) from error
        raise UnavailableError(f"{url} does not answer: {error.reason}") from error
    except _CUT as error:
        raise UnavailableError(f"{url} does not answer: {error}") from error
    length = answer.headers.get("Content-Length") or ""
    if not length.isdecimal():
        answer.close()
        raise TerminalError("SourceNotFound", f"{url} does not say how large the file is")
    download = _Download(url, answer, int(length), ask, pause or _sleep)
    try:
        yield Incoming(int(length), download.pieces())
    finally:
        download.close()


@contextmanager
def open_file(folder: Path | None, name: str) -> Iterator[Incoming]:
    """Open a file of a folder, by its name alone.

    Raises ``TerminalError`` where there is no such file, or no folder.
    """
    if folder is None or Path(name).name != name or name.startswith("."):
        raise TerminalError("SourceNotFound", f"{name!r} is no name of a file in the folder")
    try:
        with (folder / name).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            yield Incoming(size, _pieces_of(file, size, name))
    except FileNotFoundError as error:
        raise TerminalError(
            "SourceNotFound", f"there is no file {name} in {folder} beside the gateway"
        ) from error
    except PermissionError as error:
        raise TerminalError("SourceNotFound", f"{folder / name} cannot be read: {error}") from error


class _Download:
    """One file on its way here, over as many connections as it takes."""

    def __init__(
        self,
        url: str,
        answer: Any,
        size: int,
        ask: Callable[[dict[str, str]], Any],
        pause: Callable[[float], bool],
    ) -> None:
        self._url = url
        self._answer = answer
        self._size = size
        self._ask = ask
        self._pause = pause
        self._version = _version(answer.headers)

    def pieces(self) -> Iterator[bytes]:
        """Yield the file; raises ``UnavailableError`` where the server does not go on."""
        done = 0
        pauses = iter(_PAUSES_S)
        while done < self._size:
            why = f"it ends {self._size - done} bytes too soon"
            try:
                piece = self._answer.read(min(_PIECE, self._size - done))
            except _CUT as error:
                piece, why = b"", str(error)
            if piece:
                done += len(piece)
                pauses = iter(_PAUSES_S)
                yield piece
            else:
                self._go_on(done, why, pauses)

    def _go_on(self, done: int, why: str, pauses: Iterator[float]) -> None:
        """Ask for the rest, now and then, until the server gives it."""
        self.close()
        said = f"reading {self._url} was cut off after {done} of {self._size} bytes ({why})"
        if self._version is None:
            raise UnavailableError(
                f"{said}, and its server tells no version of the file (ETag, Last-Modified) by "
                "which to go on there: it begins again"
            )
        for seconds in pauses:
            if self._pause(seconds):
                raise UnavailableError(f"{said}, and was stopped")
            try:
                answer = self._ask({"Range": f"bytes={done}-", "If-Range": self._version})
            except _CUT as error:
                why = f"{why}; then: {error}"
                continue
            wanted = f"bytes {done}-{self._size - 1}/{self._size}"
            if (
                answer.status == HTTPStatus.PARTIAL_CONTENT
                and answer.headers.get("Content-Range") == wanted
            ):
                self._answer = answer
                return
            answer.close()
            raise UnavailableError(
                f"{said}, and its server does not go on there (HTTP {answer.status}): the file was "
                "changed, or it gives whole files only. It begins again"
            )
        raise UnavailableError(f"{said}, and does not answer since ({why})")

    def close(self) -> None:
        """Hang up. May be repeated."""
        self._answer.close()


def _version(headers: Message) -> str | None:
    """Return what the rest of this very file can be asked for by (RFC 9110, 13.1.5)."""
    if headers.get("Accept-Ranges", "").strip().lower() == "none":
        return None
    tag = headers.get("ETag", "").strip()
    if tag:
        return None if tag.startswith("W/") else tag
    try:
        changed, now = (parsedate_to_datetime(headers[one]) for one in ("Last-Modified", "Date"))
        is_old = (now - changed).total_seconds() >= _STRONG_AFTER_S
    except (TypeError, ValueError):
        return None
    return headers["Last-Modified"] if is_old else None


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _pieces_of(file: IO[bytes], size: int, name: str) -> Iterator[bytes]:
    left = size
    while left:
        try:
            piece = file.read(min(_PIECE, left))
        except OSError as error:
            raise UnavailableError(f"reading {name} failed: {error}") from error
        if not piece:
            raise UnavailableError(f"{name} ends {left} bytes too soon")
        left -= len(piece)
        yield piece


class _StaysSafe(urllib.request.HTTPRedirectHandler):
    """Follows to HTTPS only, unless the first URL was plain itself."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if req.type == "https" and not newurl.startswith("https://"):
            raise urllib.error.HTTPError(newurl, code, "led away from HTTPS", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
