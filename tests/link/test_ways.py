"""TLS to the hub, proxies on the way, and clear words when there is no way."""

import asyncio
from pathlib import Path

import pytest

from moorage.kit.errors import ForbiddenError, InvalidError, UnavailableError
from moorage.kit.net import ProxySettings, ServerTrust
from moorage.link.client import Link
from moorage.link.dial import Dial
from moorage.link.enroll import discover_hub

from .pki import Pair, make, server_context
from .proxy import ConnectProxy
from .test_connection import reason
from .world import World, a_machine, a_world


@pytest.fixture
def ca() -> Pair:
    return make("test CA")


def https(world: World) -> str:
    return f"https://127.0.0.1:{world.hub.port}"


def link_over(world: World, trust: ServerTrust, proxy: ProxySettings | None = None) -> Link:
    return world.link(dial=Dial(https(world), trust, proxy or ProxySettings()))


async def works(world: World, link: Link) -> None:
    async with world.running(link):
        await world.gateway_store.create(a_machine())
        await world.in_step(link)


async def test_hub_verified_by_its_ca(tmp_path: Path, ca: Pair) -> None:
    tls = server_context(tmp_path, make("hub", ca))
    async with a_world(tmp_path, tls=tls) as world:
        await works(world, link_over(world, ServerTrust(ca_pem=ca.pem)))


async def test_hub_verified_by_its_own_pinned_certificate(tmp_path: Path, ca: Pair) -> None:
    leaf = make("hub", ca, address="127.0.0.9")  # its name does not matter then
    async with a_world(tmp_path, tls=server_context(tmp_path, leaf)) as world:
        await works(world, link_over(world, ServerTrust(leaf_pem=leaf.pem)))


@pytest.mark.parametrize("given", ["ca", "leaf", "system"])
async def test_a_hub_with_another_certificate_learns_nothing(
    tmp_path: Path, ca: Pair, given: str
) -> None:
    other = make("another CA")
    trust = {
        "ca": ServerTrust(ca_pem=other.pem),
        "leaf": ServerTrust(leaf_pem=make("hub", ca).pem),
        "system": ServerTrust(),
    }[given]
    async with a_world(tmp_path, tls=server_context(tmp_path, make("hub", ca))) as world:
        link = link_over(world, trust)
        async with world.running(link):
            message = await reason(link, "CertificateNotTrusted")
        assert world.hub.messages == []
    assert "enrol again" in message


async def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path, ca: Pair) -> None:
    tls = server_context(tmp_path, make("hub", ca, address="127.0.0.9"))
    async with a_world(tmp_path, tls=tls) as world:
        link = link_over(world, ServerTrust(ca_pem=ca.pem))
        async with world.running(link):
            await reason(link, "CertificateNotTrusted")


async def test_discovery_by_fingerprint_of_ca_or_leaf(tmp_path: Path, ca: Pair) -> None:
    leaf = make("hub", ca)
    async with a_world(tmp_path, tls=server_context(tmp_path, leaf, ca)) as world:
        by_ca = await discover_hub(https(world), f"sha256:{ca.sha256.lower()}", ProxySettings())
        by_leaf = await discover_hub(https(world), leaf.sha256.replace(":", ""), ProxySettings())
        assert by_ca == ServerTrust(ca_pem=ca.pem)
        assert by_leaf == ServerTrust(leaf_pem=leaf.pem)
        with pytest.raises(ForbiddenError, match=leaf.sha256):
            await discover_hub(https(world), make("x").sha256, ProxySettings())
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await discover_hub(https(world), leaf.sha256, ProxySettings())
    with pytest.raises(InvalidError, match="needs https"):
        await discover_hub("http://127.0.0.1:1", leaf.sha256, ProxySettings())


async def test_a_forged_chain_with_the_right_ca_in_it_gains_nothing(
    tmp_path: Path, ca: Pair
) -> None:
    forged = make("hub", make("test CA"))
    async with a_world(tmp_path, tls=server_context(tmp_path, forged, ca)) as world:
        trust = await discover_hub(https(world), ca.sha256, ProxySettings())
        link = link_over(world, trust)
        async with world.running(link):
            await reason(link, "CertificateNotTrusted")


async def test_through_a_proxy_with_a_password(tmp_path: Path, ca: Pair) -> None:
    tls = server_context(tmp_path, make("hub", ca))
    proxy = ConnectProxy(credentials="joe:s3cret")
    async with a_world(tmp_path, tls=tls) as world, proxy.serve():
        way = ProxySettings(url=f"http://joe:s3cret@127.0.0.1:{proxy.port}")
        await works(world, link_over(world, ServerTrust(ca_pem=ca.pem), way))
    assert proxy.targets == [f"127.0.0.1:{world.hub.port}"]


async def test_discovery_goes_through_the_proxy_too(tmp_path: Path, ca: Pair) -> None:
    leaf = make("hub", ca)
    tls = server_context(tmp_path, leaf)
    proxy = ConnectProxy()
    async with a_world(tmp_path, tls=tls) as world, proxy.serve():
        way = ProxySettings(url=f"http://127.0.0.1:{proxy.port}")
        await discover_hub(https(world), leaf.sha256, way)
    assert proxy.targets == [f"127.0.0.1:{world.hub.port}"]


async def test_through_a_proxy_over_tls_with_a_ca_of_its_own(tmp_path: Path, ca: Pair) -> None:
    proxy_ca = make("proxy CA")
    proxy, proxy_tls = ConnectProxy(), server_context(tmp_path, make("proxy", proxy_ca))
    leaf = make("hub", ca)
    async with (
        a_world(tmp_path, tls=server_context(tmp_path, leaf)) as world,
        proxy.serve(proxy_tls),
    ):
        way = ProxySettings(url=f"https://127.0.0.1:{proxy.port}", ca_pem=proxy_ca.pem)
        await works(world, link_over(world, ServerTrust(ca_pem=ca.pem), way))
        await discover_hub(https(world), leaf.sha256, way)
        strange = ProxySettings(url=f"https://127.0.0.1:{proxy.port}", ca_pem=ca.pem)
        link = link_over(world, ServerTrust(ca_pem=ca.pem), strange)
        async with world.running(link):
            await reason(link, "CertificateNotTrusted")
    assert len(proxy.targets) == 2


async def test_a_proxy_that_wants_a_password_says_so(tmp_path: Path, ca: Pair) -> None:
    tls = server_context(tmp_path, make("hub", ca))
    proxy = ConnectProxy(credentials="joe:s3cret")
    async with a_world(tmp_path, tls=tls) as world, proxy.serve():
        way = ProxySettings(url=f"http://joe:wrong@127.0.0.1:{proxy.port}")
        link = link_over(world, ServerTrust(ca_pem=ca.pem), way)
        async with world.running(link):
            message = await reason(link, "ProxyRefused")
        with pytest.raises(UnavailableError, match="through proxy") as caught:
            await discover_hub(https(world), ca.sha256, way)
    assert "user and password" in message
    assert "wrong" not in message
    assert "wrong" not in str(caught.value)


async def test_no_proxy_is_heeded(tmp_path: Path, ca: Pair) -> None:
    tls = server_context(tmp_path, make("hub", ca))
    proxy = ConnectProxy()
    async with a_world(tmp_path, tls=tls) as world, proxy.serve():
        way = ProxySettings.from_environment(
            {"HTTPS_PROXY": f"127.0.0.1:{proxy.port}", "NO_PROXY": "localhost, 127.0.0.0/8"}
        )
        assert way.url == f"http://127.0.0.1:{proxy.port}"
        await works(world, link_over(world, ServerTrust(ca_pem=ca.pem), way))
    assert proxy.targets == []


async def test_nobody_there_is_said_with_the_address(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.stop_hub()
        link = world.link()
        async with world.running(link):
            message = await reason(link, "Unreachable")
    assert f"ws://127.0.0.1:{world.hub.port}/v1/link" in message


async def test_something_else_than_a_hub_is_said(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with a_world(tmp_path) as world:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            link = world.link(port=server.sockets[0].getsockname()[1])
            async with world.running(link):
                assert "HTTP 404" in await reason(link, "NotAHub")


@pytest.mark.parametrize("url", ["hub.example.com", "ftp://hub", "https://", ""])
def test_a_hub_that_cannot_be_dialled_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidError, match="https://host"):
        Dial(url).check()


def test_certificates_that_cannot_be_read_are_refused_at_once() -> None:
    with pytest.raises(InvalidError, match="certificate"):
        Dial("https://hub", ServerTrust(ca_pem="no PEM")).check()
    with pytest.raises(InvalidError, match="certificate"):
        Dial("https://hub", proxy=ProxySettings(url="https://proxy:1", ca_pem="no PEM")).check()
