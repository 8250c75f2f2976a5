"""The guest's channel, over a real Unix socket."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from moorage_lab.errors import LabError
from moorage_lab.guest import MAX_VALUE_BYTES, guest_app
from moorage_lab.httpserver import UnixServer


class Channel:
    def __init__(self) -> None:
        self.values = {"guestinfo.userdata": "données"}
        self.tools: dict[str, Any] | None = None

    def read(self, key: str) -> str | None:
        return self.values.get(key)

    async def write(self, key: str, value: str) -> None:
        self.values[key] = value

    async def report(self, tools: dict[str, Any]) -> None:
        self.tools = tools


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
async def guest(channel: Channel, short_dir: Path) -> AsyncIterator[httpx2.AsyncClient]:
    server = UnixServer(guest_app(channel), short_dir / "rpc.sock")
    transport = httpx2.AsyncHTTPTransport(uds=str(short_dir / "rpc.sock"))
    async with anyio.create_task_group() as tasks:
        await tasks.start(server.run_here)
        async with httpx2.AsyncClient(transport=transport, base_url="http://vm") as client:
            yield client
        server.stop()


async def test_guest_reads_with_and_without_prefix(guest: httpx2.AsyncClient) -> None:
    for key in ("guestinfo.userdata", "userdata"):
        answer = await guest.get(f"/guestinfo/{key}")
        assert (answer.status_code, answer.text) == (200, "données")


async def test_missing_and_cleared_values_are_not_found(
    guest: httpx2.AsyncClient, channel: Channel
) -> None:
    assert (await guest.put("/guestinfo/guestinfo.x", content=b"1")).status_code == 204
    assert channel.values["guestinfo.x"] == "1"
    await guest.put("/guestinfo/guestinfo.x", content=b"")

    assert (await guest.get("/guestinfo/guestinfo.x")).status_code == 404
    assert (await guest.get("/guestinfo/guestinfo.never")).status_code == 404


async def test_too_much_and_no_text_are_refused(guest: httpx2.AsyncClient) -> None:
    much = await guest.put("/guestinfo/a", content=b"x" * (MAX_VALUE_BYTES + 1))
    binary = await guest.put("/guestinfo/a", content=b"\xff\xfe")

    assert (much.status_code, binary.status_code) == (413, 400)


async def test_tools_report(guest: httpx2.AsyncClient, channel: Channel) -> None:
    nics = [{"mac": "00:50:56:AA:00:01", "ips": ["10.77.1.5"]}]
    assert (await guest.put("/tools", json={"hostName": "n", "nics": nics})).status_code == 204
    nics[0]["mac"] = "00:50:56:aa:00:01"
    assert channel.tools == {"hostName": "n", "nics": nics}

    assert (await guest.put("/tools", json={"nics": [{}]})).status_code == 400


async def test_socket_path_that_the_kernel_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="MOORAGE_LAB_DIR"):
        UnixServer(guest_app(Channel()), tmp_path / ("x" * 120) / "rpc.sock")
