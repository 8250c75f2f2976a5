"""The hypervisor over HTTP: what lab-vcenter calls (lab/README.md)."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from moorage_lab.document import InvalidDocumentError
from moorage_lab.errors import ConflictError, LabError, UnknownVMError
from moorage_lab.hypervisor import Hypervisor

Action = Callable[[str], Awaitable[None]]

_STATUS: dict[type[LabError], HTTPStatus] = {
    InvalidDocumentError: HTTPStatus.BAD_REQUEST,
    UnknownVMError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
}


async def _problem(_: Request, error: Exception) -> Response:
    status = _STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)  # type: ignore[arg-type]
    return JSONResponse({"error": str(error)}, status)


def hypervisor_app(hypervisor: Hypervisor) -> Starlette:
    """The protocol's routes."""

    def action(path: str, act: Action, status: HTTPStatus) -> Route:
        async def handle(request: Request) -> Response:
            await act(request.path_params["uuid"])
            return Response(status_code=status)

        return Route(f"/vms/{{uuid}}/{path}", handle, methods=["POST"])

    async def put(request: Request) -> Response:
        await hypervisor.put(request.path_params["uuid"], await request.json())
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def guestinfo(request: Request) -> Response:
        await hypervisor.change_guestinfo(request.path_params["uuid"], await request.json())
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def delete(request: Request) -> Response:
        await hypervisor.delete(request.path_params["uuid"])
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def healthz(_: Request) -> Response:
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/vms/{uuid}", put, methods=["PUT"]),
            Route("/vms/{uuid}", delete, methods=["DELETE"]),
            Route("/vms/{uuid}/guestinfo", guestinfo, methods=["PUT"]),
            action("power-on", hypervisor.power_on, HTTPStatus.NO_CONTENT),
            action("power-off", hypervisor.power_off, HTTPStatus.NO_CONTENT),
            action("reset", hypervisor.reset, HTTPStatus.NO_CONTENT),
            action("shutdown", hypervisor.shutdown, HTTPStatus.ACCEPTED),
            action("reboot", hypervisor.reboot, HTTPStatus.ACCEPTED),
        ],
        exception_handlers={LabError: _problem, OSError: _problem, ValueError: _problem},
    )
