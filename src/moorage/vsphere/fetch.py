"""Large files from elsewhere: over HTTPS, verified, or from a folder of this machine."""

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from moorage.kit.errors import InvalidError, TerminalError, UnavailableError

_PIECE: Final = 1024 * 1024
_NOT_FOUND: Final = (401, 403, 404, 410)
_CUT = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file that is being read."""

    size: int
    """In bytes."""
    pieces: Iterator[bytes]
    """Raises ``UnavailableError`` when it ends too soon."""


@contextmanager
def open_url(
    url: str, *, ca_bundle: str | None = None, timeout_s: float = 60
) -> Iterator[Incoming]:
    """Ask for a file over HTTP or HTTPS. Proxies are those of the environment.

    Args:
        url: Where it is. From HTTPS nobody is led to anything else.
        ca_bundle: PEM certificates that are trusted in place of the system's.
        timeout_s: For the connection, and for each pause in the answer.

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
    try:
        answer = opener.open(url, timeout=timeout_s)
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
    with answer:
        length = answer.headers.get("Content-Length") or ""
        if not length.isdecimal():
            raise TerminalError("SourceNotFound", f"{url} does not say how large the file is")
        yield Incoming(int(length), _pieces(answer, int(length), url))


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
            yield Incoming(size, _pieces(file, size, name))
    except FileNotFoundError as error:
        raise TerminalError(
            "SourceNotFound", f"there is no file {name} in {folder} beside the gateway"
        ) from error
    except PermissionError as error:
        raise TerminalError("SourceNotFound", f"{folder / name} cannot be read: {error}") from error


def _pieces(source: IO[bytes] | Any, size: int, what: str) -> Iterator[bytes]:
    left = size
    while left:
        try:
            piece = source.read(min(_PIECE, left))
        except _CUT as error:
            raise UnavailableError(f"reading {what} was cut off: {error}") from error
        if not piece:
            raise UnavailableError(f"{what} ends {left} bytes too soon")
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
