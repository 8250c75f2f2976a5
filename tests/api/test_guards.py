"""Every route has a guard, and every operation an answer for every role."""

from collections.abc import Iterable, Iterator
from functools import cache

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from moorage.auth import BUILT_IN, OPERATIONS, PERMISSIONS, Access, Place, place_of
from moorage.hub.app import bare_app
from moorage.hub.deps import authorise, current_principal, metrics_guard
from moorage.kit.clock import FakeClock
from tests.api.rights import ALLOWED, FORBIDDEN, HIDDEN, OWN, PUBLIC, ROLES, expected
from tests.api.world import World

BESIDE_THE_TABLE = {
    *("clusters.kubeconfig", "machines.logs", "machines.delete", "accounts.check"),
}
"""What the rules of operations ask for: the verb is in the body."""


@cache
def routes() -> list[APIRoute]:
    """Return every HTTP route of the application; none that OpenAPI knows may be missing."""
    app = bare_app(FakeClock())
    found = list(_flatten(app.routes))
    described = {(path, method) for path, item in app.openapi()["paths"].items() for method in item}
    assert {(r.path, m.lower()) for r in found for m in r.methods} == described
    return found


def _flatten(items: Iterable[object]) -> Iterator[APIRoute]:
    for item in items:
        if isinstance(item, APIRoute):
            yield item
        else:
            yield from _flatten(item.original_router.routes)  # type: ignore[attr-defined]


def _calls(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)


def test_every_operation_is_in_the_one_table() -> None:
    """A new route needs its row in ``auth.catalogue``; a row needs its route."""
    assert {str(route.operation_id) for route in routes()} == set(OPERATIONS)


def test_every_permission_is_needed_by_something() -> None:
    needed = {need.permission for need in OPERATIONS.values()}
    needed |= {need.may_create for need in OPERATIONS.values()}
    assert sorted(PERMISSIONS - needed) == sorted(BESIDE_THE_TABLE)
    assert needed - {""} <= PERMISSIONS


def test_every_route_asks_the_table() -> None:
    found: dict[str, str] = {}
    for route in routes():
        calls = list(_calls(route.dependant))
        if authorise in calls:
            found[str(route.operation_id)] = "guarded"
        elif metrics_guard in calls:
            found[str(route.operation_id)] = Access.MACHINE
        elif current_principal in calls:
            found[str(route.operation_id)] = Access.OWN
        else:
            found[str(route.operation_id)] = Access.PUBLIC
    assert found == {op: need.access or "guarded" for op, need in OPERATIONS.items()}
    assert {op for op, how in found.items() if how == Access.PUBLIC} == PUBLIC
    assert {op for op, how in found.items() if how == Access.OWN} == OWN


def test_a_row_speaks_of_the_kind_in_its_path() -> None:
    for route in routes():
        need = OPERATIONS[str(route.operation_id)]
        if need.of:
            parts = route.path.split("/")
            before = parts[parts.index("{name}") - 1]
            assert before in (need.of, "sealed", "resealed"), route.path
        else:
            assert "{name}" not in route.path, route.path
        if need.permission and "{project}" in route.path:
            assert place_of(need.permission) is Place.CLUSTER, route.path


async def answers(world: World, user: str, project: str) -> dict[str, str]:
    """Ask for every guarded operation as a user; return allowed, forbidden or hidden."""
    got = {}
    for route in routes():
        operation = str(route.operation_id)
        if OPERATIONS[operation].access is not None:
            continue
        named = project if OPERATIONS[operation].of == "projects" else "no-such"
        path = route.path.replace("{project}", project).replace("{name}", named)
        path = path.replace("{uid}", "x")
        (method,) = route.methods
        body = {} if method in ("POST", "PUT") else None
        response = await world.ask(method, path, body, user=user, dryRun="true")
        assert response.status_code < 500, (operation, response.text)
        told = {401: "stranger", 403: FORBIDDEN}.get(response.status_code, ALLOWED)
        if response.status_code == 404:
            # Who may, and names what is not there, is told just that.
            told = HIDDEN if "may not see it" in response.json()["detail"] else ALLOWED
        got[operation] = told
    return got


@pytest.mark.timeout(600)  # 200 requests: on a busy machine they take their time
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("where", ["*", "default"])
async def test_each_role_gets_for_each_operation_what_it_is_meant_to(
    world: World, role: str, where: str
) -> None:
    if where != "*" and role.startswith("tenant-"):
        pytest.skip("is for the whole hub only")
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "other"}})
    await world.make_user("somebody", [{"role": role, "project": where}])
    inside = {str(route.operation_id) for route in routes() if "{project}" in route.path}
    inside |= {operation for operation, need in OPERATIONS.items() if need.of == "projects"}
    wrong, counted = [], 0
    for project in ("default", "other"):
        got = await answers(world, "somebody", project)
        for operation, told in got.items():
            here = where == project and operation in inside
            wanted = expected(role, operation, everywhere=where == "*", here=here)
            counted += 1
            if told != wanted:
                wrong.append(f"{operation} in {project}: {told}, not {wanted}")
    assert wrong == []
    assert counted == 2 * sum(need.access is None for need in OPERATIONS.values())


async def test_nobody_may_anything(world: World) -> None:
    await world.make_user("somebody", [])
    got = await answers(world, "somebody", "default")
    assert {op: told for op, told in got.items() if told != HIDDEN} == {}


def test_the_witness_knows_every_built_in_role() -> None:
    assert set(BUILT_IN) == set(ROLES)


async def test_without_a_token_nothing_is_told(world: World) -> None:
    for route in routes():
        if route.operation_id in PUBLIC | {"metrics"}:
            continue
        path = route.path.replace("{project}", "default").replace("{name}", "one")
        (method,) = route.methods
        response = await world.ask(method, path, {}, user="a stranger")
        assert response.status_code == 401, (route.operation_id, response.text)
        assert response.headers["www-authenticate"].startswith("Bearer")
