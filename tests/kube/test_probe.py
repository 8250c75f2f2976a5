"""What answers at an endpoint, told apart."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSListener

from moorage.bootstrap import ClusterPKI
from moorage.kube import Answer, probe

from .certificates import a_pki, write_server_certificate

pytestmark = pytest.mark.anyio

CA = a_pki().ca.certificate


async def hang_up(stream: ByteStream) -> None:
    """Accept, and say nothing."""
    await stream.aclose()


@asynccontextmanager
async def listening(folder: Path, pki: ClusterPKI | None) -> AsyncIterator[int]:
    """Listen on the loopback, with a certificate of a CA or without TLS; yields the port."""
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    (socket_,) = plain.listeners
    port: int = socket_.extra_attributes[anyio.abc.SocketAttribute.local_port]()
    listener: anyio.abc.Listener[anyio.abc.ByteStream] = plain
    if pki is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*write_server_certificate(pki, folder))
        listener = TLSListener(plain, context, standard_compatible=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hang_up)
        yield port
        tasks.cancel_scope.cancel()
    await listener.aclose()


async def test_an_api_server_of_the_cluster_is_told_from_everybody_else(tmp_path: Path) -> None:
    found = {}
    for name, pki in (("own", a_pki()), ("other", a_pki("other")), ("nobody", None)):
        async with listening(tmp_path, pki) as port:
            found[name] = await probe("127.0.0.1", port, CA, timeout_s=60)
    closed = await probe("127.0.0.1", port, CA, timeout_s=60)

    answers = {name: one.answer for name, one in found.items()}
    assert answers == {
        "own": Answer.EXPECTED,
        "other": Answer.STRANGER,
        "nobody": Answer.SILENT,
    }
    assert found["other"].detail
    assert closed.answer is Answer.CLOSED


async def test_who_never_speaks_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)

        found = await probe("127.0.0.1", deaf.getsockname()[1], CA, timeout_s=0.2)

    assert found.answer is Answer.SILENT
    assert "no TLS within 0.2 s" in found.detail


async def test_a_name_that_stands_for_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", resolve)

    found = await probe("lb.example.com", 6443, CA)

    assert (found.answer, found.detail) == (Answer.NOT_RESOLVED, "Name or service not known")
