"""Every route has a guard, and every operation an answer for every role."""

from collections.abc import Iterable, Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from moorage.hub.app import bare_app
from moorage.hub.deps import HubGuard, ProjectGuard, current_principal, metrics_guard
from moorage.kit.clock import FakeClock
from tests.api.rights import OWN, PUBLIC, RIGHTS
from tests.api.world import World


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


def test_every_route_states_who_may_use_it() -> None:
    operations = {}
    for route in routes():
        calls = list(_calls(route.dependant))
        guards = [c for c in calls if isinstance(c, HubGuard | ProjectGuard)]
        if guards:
            operations[route.operation_id] = "guarded"
        elif current_principal in calls:
            operations[route.operation_id] = "own"
        elif metrics_guard in calls:
            operations[route.operation_id] = "metrics"
        else:
            operations[route.operation_id] = "public"
    assert {op for op, how in operations.items() if how == "public"} == PUBLIC
    assert {op for op, how in operations.items() if how == "own"} == OWN
    assert {op for op, how in operations.items() if how == "guarded"} == set(RIGHTS)
    assert {op for op, how in operations.items() if how == "metrics"} == {"metrics"}


def test_a_guard_speaks_of_the_kind_in_its_path() -> None:
    for route in routes():
        for call in _calls(route.dependant):
            if isinstance(call, HubGuard | ProjectGuard):
                assert isinstance(call, ProjectGuard) == ("{project}" in route.path), route.path
                assert call.kind.rpartition("-")[2] in route.path, route.path


@pytest.mark.parametrize("role", ["viewer", "viewer-of-default", "admin-of-default", "nobody"])
async def test_each_role_gets_the_answer_that_the_table_says(world: World, role: str) -> None:
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "other"}})
    grants = {
        "viewer": [{"role": "viewer"}],
        "viewer-of-default": [{"role": "viewer", "project": "default"}],
        "admin-of-default": [{"role": "admin", "project": "default"}],
        "nobody": [],
    }
    await world.make_user("somebody", grants[role])
    wrong = []
    for route in routes():
        right = RIGHTS.get(str(route.operation_id))
        if right is None:
            continue
        for project in ("default", "other"):
            if project == "other" and "{project}" not in route.path:
                continue
            path = route.path.replace("{project}", project).replace("{name}", "default")
            (method,) = route.methods
            response = await world.ask(method, path, {}, user="somebody")
            expected = right.answer(role, project)
            got = {403: "forbidden", 404: "hidden"}.get(response.status_code, "allowed")
            if got == "hidden" and expected == "allowed":
                # allowed, but there is no such object: an administrator gets the same answer
                again = await world.ask(method, path, {})
                got = "allowed" if again.status_code == 404 else got
            if got != expected:
                wrong.append((route.operation_id, project, expected, response.status_code))
    assert wrong == []


async def test_without_a_token_nothing_is_told(world: World) -> None:
    for route in routes():
        if route.operation_id in PUBLIC | {"metrics"}:
            continue
        path = route.path.replace("{project}", "default").replace("{name}", "one")
        (method,) = route.methods
        response = await world.ask(method, path, {}, user="a stranger")
        assert response.status_code == 401, (route.operation_id, response.text)
        assert response.headers["www-authenticate"].startswith("Bearer")
