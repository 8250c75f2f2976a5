"""The REST API to look through: every operation, and every document that it takes and gives.

Made on the server from the OpenAPI document, so that it needs no viewer, no script and no internet.
Whoever may read that document (anybody) may look.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response

from moorage.auth import OPERATIONS
from moorage.hub.ui.api import Json
from moorage.hub.ui.page import Page, url

_SCHEMAS = "#/components/schemas/"


class Type(NamedTuple):
    """What a field holds, for people."""

    text: str
    names: tuple[str, ...] = ()
    """Schemas that it is made of."""


class Field(NamedTuple):
    """A field of a document, or a parameter."""

    name: str
    type: Type
    required: bool
    default: Any
    meaning: str
    place: str = ""


async def operations(page: Page) -> Response:
    """List all operations by subject; ``search`` looks in path, name and summary."""
    document, words = await page.api.get("openapi.json"), page.query("search").lower()
    groups: dict[str, list[Json]] = {}
    for one in _operations(document):
        said = f"{one['path']} {one['operationId']} {one['summary']}".lower()
        if words in said:
            groups.setdefault(one["tags"][0], []).append(one)
    return page.html(
        "api.html",
        groups=sorted(groups.items()),
        search=page.query("search"),
        version=document["info"]["version"],
        needs={name: need.permission for name, need in OPERATIONS.items()},
        address=_address,
    )


async def operation(page: Page) -> Response:
    """Show what one operation takes and gives."""
    document = await page.api.get("openapi.json")
    for one in _operations(document):
        if one["operationId"] == page.name:
            break
    else:
        raise HTTPException(404)
    parameters = [
        _field(p["name"], p["schema"], p.get("required", False), p.get("description"), p["in"])
        for p in one.get("parameters", [])
    ]
    answers = [
        (status, answer.get("description", ""), _contents(answer))
        for status, answer in sorted(one["responses"].items())
    ]
    return page.html(
        "api-operation.html",
        one=one,
        need=OPERATIONS[page.name],
        parameters=parameters,
        body=_contents(one.get("requestBody", {})),
        answers=answers,
        address=_address,
    )


async def schema(page: Page) -> Response:
    """Show the fields of one document, or of a part of one."""
    document = await page.api.get("openapi.json")
    found = document["components"]["schemas"].get(page.name)
    if found is None:
        raise HTTPException(404)
    required = found.get("required", [])
    fields = [_field(n, one, n in required) for n, one in found.get("properties", {}).items()]
    return page.html(
        "api-schema.html", one=found, fields=fields, type=_type(found), address=_address
    )


def _address(*path: str) -> str:
    return url("api", *path)


def _operations(document: Json) -> Iterator[Json]:
    for path, item in document["paths"].items():
        for method, one in item.items():
            yield {"tags": ["other"], **one, "path": path, "method": method.upper()}


def _contents(part: Mapping[str, Any]) -> list[tuple[str, Type]]:
    return [(media, _type(one.get("schema", {}))) for media, one in part.get("content", {}).items()]


def _field(
    name: str, schema: Json, required: bool, said: str | None = None, place: str = ""
) -> Field:
    meaning = said or schema.get("description", "")
    return Field(name, _type(schema), required, schema.get("default"), meaning, place)


def _type(schema: Json) -> Type:
    """Return the type of a JSON schema in words; ``null`` goes without saying."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return Type(name, (name,))
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            parts = [_type(one) for one in schema[word] if one.get("type") != "null"]
            names = tuple(name for part in parts for name in part.names)
            return Type(" or ".join(dict.fromkeys(part.text for part in parts)), names)
    if "enum" in schema or "const" in schema:
        words = schema.get("enum") or [schema["const"]]
        return Type(" or ".join(f'"{one}"' for one in words))
    if schema.get("type") == "array":
        inner = _type(schema.get("items", {}))
        return Type(f"list of {inner.text}", inner.names)
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        inner = _type(schema["additionalProperties"])
        return Type(f"map to {inner.text}", inner.names)
    return Type(str(schema.get("format") or schema.get("type", "anything")) + _bounds(schema))


def _bounds(schema: Json) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" {low:g} to {high:g}"
    length = schema.get("maxLength")
    return f" of at most {length} characters" if length else ""
