"""Clients that dribble: the hub ends them, and nobody else."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from moorage.hub.punctual import PunctualProtocol

PATIENCE_S = 60.0
POST = b"POST / HTTP/1.1\r\nHost: hub\r\n"
HEAD = POST + b"Content-Length: 1000\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
pytestmark = pytest.mark.enable_socket


class Hasty(PunctualProtocol):
    """The hub's protocol with a deadline that a test can wait for."""

    deadline_s = 1.0


async def answers_late(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, think for longer than the deadline, answer."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(2 * Hasty.deadline_s)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(answers_late, http=Hasty, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"", b"x"),
        (b"GET / HTTP/1.1\r\nHost: hub\r\nX-A: ", b"a"),
        (HEAD + b"\r\n", b"b"),
        (
            HEAD.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked") + b"\r\n",
            b"1\r\nc\r\n",
        ),
    ],
    ids=["silent", "method", "header", "body", "chunks"],
)
def test_a_client_that_dribbles_is_ended(port: int, first: bytes, drip: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(first)
        assert ended(client, drip)


def test_the_second_request_of_a_connection_has_a_deadline_too(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert b" 204 " in client.recv(4096)
        client.sendall(b"GET / HT")
        assert ended(client, b"T")


def test_an_answer_may_take_longer_than_the_deadline(port: int) -> None:
    body = b"x" * 1000
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(HEAD + b"\r\n" + body)
        assert b" 204 " in client.recv(4096)


def ended(client: socket.socket, drip: bytes) -> bool:
    """Tell whether the other side ends the connection while bytes drip."""
    end = time.monotonic() + PATIENCE_S
    client.settimeout(0.2)
    while time.monotonic() < end:
        try:
            if drip:
                client.sendall(drip)
            with suppress(TimeoutError):
                if client.recv(4096) == b"":
                    return True
        except ConnectionError:
            return True
    return False
