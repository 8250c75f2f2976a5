"""Forwards on loopback; root is needed only to connect from another namespace."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from moorage_lab import forward
from moorage_lab.errors import LabError
from moorage_lab.places import State


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that answers once its client has ended its half, and closes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(read_all(connection)[::-1])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path)
    yield state
    for one in forward.running(state):
        forward.remove(state, one.listen)


def ask(listen: str, data: bytes) -> bytes:
    host, _, port = listen.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def test_bytes_and_both_ends_of_file_pass(state: State, echo: int) -> None:
    started = forward.start(state, f"127.0.0.1:0=127.0.0.1:{echo}", netns=None)
    data = bytes(range(256)) * 8192

    assert ask(started.listen, data) == data[::-1]
    assert forward.running(state) == [started]


def test_the_same_forward_again_is_the_same_and_another_is_refused(state: State, echo: int) -> None:
    started = forward.start(state, f"127.0.0.1:0=127.0.0.1:{echo}", netns=None)
    again = forward.start(state, f"{started.listen}={started.target}", netns=None)

    assert again == started
    with pytest.raises(LabError, match="forwarded to"):
        forward.start(state, f"{started.listen}=127.0.0.1:1", netns=None)


def test_removed_forward_frees_its_port_and_file(state: State, echo: int) -> None:
    started = forward.start(state, f"127.0.0.1:0=127.0.0.1:{echo}", netns=None)

    forward.remove(state, started.listen)

    assert not started.process.is_alive()
    assert list(state.forwards.iterdir()) == []
    with pytest.raises(LabError, match="known: none"):
        forward.remove(state, started.listen)
    assert forward.start(state, f"{started.listen}={started.target}", netns=None) != started


def test_dead_target_ends_the_connection_and_not_the_forward(state: State) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    started = forward.start(state, f"127.0.0.1:0=127.0.0.1:{free}", netns=None)

    for _ in range(2):
        with suppress(OSError):  # reset while we read, or before our half was closed
            assert ask(started.listen, b"x") == b""
    assert started.process.is_alive()


def test_taken_port_is_said_at_once(state: State) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LabError, match=f"cannot listen on 127.0.0.1:{port}"):
            forward.start(state, f"127.0.0.1:{port}=127.0.0.1:1", netns=None)


@pytest.mark.parametrize(
    "spec",
    ["8443", "localhost:1=10.0.0.1:2", "127.0.0.1:99999=10.0.0.1:1", "1.2.3.400:1=1.2.3.4:1"],
)
def test_bad_spec_is_explained(spec: str) -> None:
    with pytest.raises(LabError, match=r"such as|no IP"):
        forward.parse(spec)
