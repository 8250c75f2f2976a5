"""The guest's channel to its hypervisor: `rpc.sock` in /opt/vmware/guestinfo.

It stands for VMware's backdoor: `vmware-rpctool` reads and writes guestinfo through it, and
the guest's tools report name and addresses.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

MAX_VALUE_BYTES = 2**20


class Channel(Protocol):
    """What the hypervisor does for a guest."""

    def read(self, key: str) -> str | None:
        """A guestinfo value."""

    async def write(self, key: str, value: str) -> None:
        """Keep a guestinfo value and tell vCenter."""

    async def report(self, tools: dict[str, Any]) -> None:
        """Tell vCenter the guest's name and addresses."""


Handler = Callable[[Request], Awaitable[Response]]


def guest_app(channel: Channel) -> Starlette:
    """The HTTP interface of one guest's channel."""

    async def read(request: Request) -> Response:
        value = channel.read(_key(request))
        if not value:  # an empty value is none: so do guests clear it
            return PlainTextResponse("No value found\n", HTTPStatus.NOT_FOUND)
        return PlainTextResponse(value)

    async def write(request: Request) -> Response:
        body = await request.body()
        if len(body) > MAX_VALUE_BYTES:
            text = f"a value has at most {MAX_VALUE_BYTES} bytes\n"
            return PlainTextResponse(text, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return PlainTextResponse("a value is UTF-8\n", HTTPStatus.BAD_REQUEST)
        await channel.write(_key(request), text)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def tools(request: Request) -> Response:
        try:
            body = await request.json()
            nics = [
                {"mac": str(nic["mac"]).lower(), "ips": [str(ip) for ip in nic["ips"]]}
                for nic in body["nics"]
            ]
            report = {"hostName": str(body["hostName"]), "nics": nics}
        except (ValueError, KeyError, TypeError) as error:
            return PlainTextResponse(f"no tools report: {error!r}\n", HTTPStatus.BAD_REQUEST)
        await channel.report(report)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return Starlette(
        routes=[
            Route("/guestinfo/{key:path}", read, methods=["GET"]),
            Route("/guestinfo/{key:path}", write, methods=["PUT"]),
            Route("/tools", tools, methods=["PUT"]),
        ]
    )


def _key(request: Request) -> str:
    key = str(request.path_params["key"])
    return key if key.startswith("guestinfo.") else f"guestinfo.{key}"
