"""Bodies are JSON as its RFC has it: what others would not read, or not store, is refused.

Requests with an idempotency key are carried out once (``idempotency``).

Python's own parser lets NaN, infinite numbers and halves of surrogate pairs pass, which end as
nulls and replacement characters, or as an error deep inside.
"""

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.responses import Response

from moorage.hub.idempotency import HEADER, once


class StrictRoute(APIRoute):
    """A route whose body is parsed strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, behind a request that parses strictly."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            strict = _StrictRequest(request.scope, request.receive)
            if request.method == "POST" and HEADER in request.headers:
                return await once(strict, handler)
            return await handler(strict)

        return handle


class _StrictRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        try:
            value = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from error
        fault = _fault(value)
        if fault:
            raise json.JSONDecodeError(fault, "", 0)
        return value


def _fault(value: Any) -> str | None:
    """Return what is wrong with a value that the grammar allows; the parser limits its depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a number is too large"
    if isinstance(value, str) and "\x00" in value:
        return "a text has a zero character"
    if isinstance(value, list):
        return next((fault for item in value if (fault := _fault(item))), None)
    if isinstance(value, dict):
        inside = (*value.keys(), *value.values())
        return next((fault for item in inside if (fault := _fault(item))), None)
    return None
