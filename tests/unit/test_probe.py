"""What answers at an address proves that somebody is there; silence proves nothing."""

import socket
from ipaddress import IPv4Address

import pytest

from moorage.ipam import who_answers

pytestmark = pytest.mark.anyio

HERE = IPv4Address("127.0.0.9")
NOBODY = IPv4Address("127.255.255.255")
"""The broadcast address of loopback: no connection can be made to it, and no ping sent."""


@pytest.fixture
def port() -> int:
    with socket.socket() as made:
        made.bind((str(HERE), 0))
        return int(made.getsockname()[1])


async def test_a_refused_connection_or_a_ping_is_an_answer(port: int) -> None:
    answer = await who_answers(HERE, ports=(port,))

    assert answer in {
        f"a machine that refuses TCP port {port}",
        "a machine that answers a ping",
    }


async def test_an_open_port_or_a_ping_is_an_answer() -> None:
    with socket.socket() as listening:
        listening.bind((str(HERE), 0))
        listening.listen()
        port = listening.getsockname()[1]

        answer = await who_answers(HERE, ports=(port,))

    assert answer in {
        f"a machine that answers at TCP port {port}",
        "a machine that answers a ping",
    }


async def test_nobody_is_nobody() -> None:
    assert await who_answers(NOBODY) is None
