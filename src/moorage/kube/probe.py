"""What answers at the address of an API server, for people: nothing rests on it."""

import ssl
from dataclasses import dataclass
from enum import StrEnum

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream

_PATIENCE_S = 2.0


class Answer(StrEnum):
    """Also a word for the reason of a condition."""

    NOT_RESOLVED = "NameNotResolved"
    """The name stands for no address here."""
    CLOSED = "NothingListens"
    """No connection is accepted."""
    SILENT = "NothingBehind"
    """Connections are accepted, and closed before TLS has begun: as by a load balancer that finds
    no server to forward them to."""
    STRANGER = "LeadsElsewhere"
    """Somebody answers whose certificate is not of this CA, or for another name."""
    EXPECTED = "Answers"
    """An API server of this CA answers."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What was found."""

    answer: Answer
    detail: str = ""
    """What came back, for people."""


async def probe(host: str, port: int, ca: str, *, timeout_s: float = _PATIENCE_S) -> Probed:
    """Connect, and see who answers; nothing is asked of it.

    Args:
        host: Address or name.
        port: TCP port.
        ca: Certificate of the CA that is expected, as PEM.
        timeout_s: For each of connecting and TLS.
    """
    try:
        await anyio.getaddrinfo(host, port)
    except OSError as error:
        return Probed(Answer.NOT_RESOLVED, error.strerror or str(error))
    try:
        with anyio.fail_after(timeout_s):
            plain = await anyio.connect_tcp(host, port)
    except TimeoutError:
        return Probed(Answer.CLOSED, f"no connection within {timeout_s:g} s")
    except OSError as error:
        return Probed(Answer.CLOSED, str(error.__cause__ or error))
    async with plain:
        return await _shake_hands(plain, host, ca, timeout_s)


async def _shake_hands(
    plain: anyio.abc.SocketStream, host: str, ca: str, timeout_s: float
) -> Probed:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca)
    try:
        with anyio.fail_after(timeout_s):
            await TLSStream.wrap(plain, hostname=host, ssl_context=context, server_side=False)
    except ssl.SSLCertVerificationError as error:
        return Probed(Answer.STRANGER, error.verify_message)
    except TimeoutError:
        return Probed(Answer.SILENT, f"no TLS within {timeout_s:g} s")
    except ssl.SSLEOFError:
        return Probed(Answer.SILENT, "the connection was closed")
    except ssl.SSLError as error:
        return Probed(Answer.STRANGER, error.reason or str(error))
    except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
        return Probed(Answer.SILENT, "the connection was closed")
    return Probed(Answer.EXPECTED)
