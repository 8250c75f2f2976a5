"""Reports to a fake vCenter behind a real Unix socket."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moorage_lab.httpserver import UnixServer
from moorage_lab.uplink import Uplink


class FakeVCenter:
    """Takes reports and keeps them; answers what the test wants."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        self.status = 204
        self.news = anyio.Event()

    def app(self) -> Starlette:
        async def take(request: Request) -> Response:
            self.got.append((request.url.path, await request.json()))
            self.news.set()
            return Response(status_code=self.status)

        return Starlette(routes=[Route("/guest/{uuid}/{what}", take, methods=["PUT"])])

    async def expect(self, count: int) -> list[tuple[str, Any]]:
        with anyio.fail_after(10):
            while len(self.got) < count:
                self.news = anyio.Event()
                await self.news.wait()
        await anyio.sleep(0.1)  # anyio complains when its read is cancelled as the answer comes
        return self.got


async def test_reports_are_sent_in_order_and_merged_while_vcenter_is_away(short_dir: Path) -> None:
    socket, vcenter = short_dir / "control.sock", FakeVCenter()
    uplink = Uplink(socket)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uplink.run)
        uplink.power("u1", "poweredOff")
        uplink.guestinfo("u1", {"guestinfo.a": "1", "guestinfo.b": "1"})
        uplink.state("u1", {"hostName": "old"})
        await anyio.sleep(0.3)
        uplink.guestinfo("u1", {"guestinfo.a": "2"})
        uplink.state("u1", {"hostName": "new"})
        await tasks.start(UnixServer(vcenter.app(), socket).run_here)

        got = await vcenter.expect(3)

        assert got == [
            ("/guest/u1/guestinfo", {"guestinfo.a": "2", "guestinfo.b": "1"}),
            ("/guest/u1/state", {"hostName": "new"}),
            ("/guest/u1/power", {"state": "poweredOff"}),
        ]
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("status", "times"), [(503, 2), (404, 1)])
async def test_only_a_failing_vcenter_is_asked_again(
    short_dir: Path, status: int, times: int
) -> None:
    socket, vcenter = short_dir / "control.sock", FakeVCenter()
    vcenter.status = status
    uplink = Uplink(socket)
    async with anyio.create_task_group() as tasks:
        await tasks.start(UnixServer(vcenter.app(), socket).run_here)
        tasks.start_soon(uplink.run)
        uplink.power("u1", "poweredOff")
        await vcenter.expect(1)
        vcenter.status = 204

        uplink.power("u2", "poweredOff")
        await vcenter.expect(times + 1)
        await anyio.sleep(0.3)

        assert [path for path, _ in vcenter.got].count("/guest/u1/power") == times
        tasks.cancel_scope.cancel()


async def test_power_of_an_older_run_is_forgotten(short_dir: Path) -> None:
    socket, vcenter = short_dir / "control.sock", FakeVCenter()
    uplink = Uplink(socket)
    uplink.power("u1", "poweredOff")
    uplink.guestinfo("u1", {"guestinfo.a": "1"})

    uplink.forget_run("u1")

    async with anyio.create_task_group() as tasks:
        await tasks.start(UnixServer(vcenter.app(), socket).run_here)
        tasks.start_soon(uplink.run)
        await vcenter.expect(1)
        assert vcenter.got == [("/guest/u1/guestinfo", {"guestinfo.a": "1"})]
        tasks.cancel_scope.cancel()
