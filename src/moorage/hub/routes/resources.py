"""The same routes for each kind: list, watch, get, create, replace spec and labels, delete."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.responses import Response

from moorage.hub import writes
from moorage.hub.credentials import credential_of
from moorage.hub.deps import DryRun, HubDep, IfMatch, Scope, ScopeDep, authenticate, in_project
from moorage.hub.documents import new_model, new_resource, page_model
from moorage.hub.paging import page_token, read_page_token
from moorage.hub.problems import Problem
from moorage.hub.rules.base import Rules
from moorage.hub.strict import StrictRoute
from moorage.hub.watch import Watch
from moorage.kit.errors import FieldFault, InvalidError, UnauthenticatedError
from moorage.resources import Resource
from moorage.resources import Scope as KindScope
from moorage.resources.meta import LabelKey, LabelValue, Name
from moorage.resources.selector import parse_selector

R = TypeVar("R", bound=Resource)
Handler = TypeVar("Handler", bound=Callable[..., Any])

PAGE = 100
MAX_PAGE = 500

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "An RFC 9457 problem"}
}

Selecting = Annotated[
    str | None,
    Query(
        alias="labelSelector",
        max_length=4096,
        description="Kubernetes label selector, such as `env=prod,tier in (a,b),!old`.",
    ),
]

IfNoneMatch = Annotated[
    str | None,
    Header(max_length=1024, description="ETags that the client has: answered with 304, no body."),
]


class ResourceRoutes(Generic[R]):
    """Makes the routes of one kind; each ``add_…`` is one operation."""

    def __init__(self, rules: Rules[R]) -> None:
        self.rules, self.kind = rules, rules.kind
        self.name, self.plural = self.kind.kind_name(), self.kind.plural
        inside = self.kind.scope is KindScope.PROJECT
        self.router = APIRouter(
            prefix=f"/v1/projects/{{project}}/{self.plural}" if inside else f"/v1/{self.plural}",
            tags=[self.plural],
            route_class=StrictRoute,
            dependencies=[Depends(in_project)] if inside else [],
            responses=_PROBLEMS,
        )

    def read_only(self) -> "ResourceRoutes[R]":
        """Add list, watch and get."""
        self.add_list()
        self.add_get()
        return self

    def all(self) -> "ResourceRoutes[R]":
        """Add everything."""
        self.read_only()
        self.add_create()
        self.add_replace_spec()
        self.add_replace_labels()
        self.add_delete()
        return self

    def add_list(self) -> None:
        kind, rules = self.kind, self.rules

        async def list_resources(
            request: Request,
            hub: HubDep,
            scope: ScopeDep,
            limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
            continue_: Annotated[str | None, Query(alias="continue", max_length=512)] = None,
            label_selector: Selecting = None,
            watch: Annotated[bool, Query(description="Stream changes instead (SSE).")] = False,
            resource_version: Annotated[
                int | None,
                Query(alias="resourceVersion", ge=0, lt=2**63, description="Watch from here."),
            ] = None,
            last_event_id: Annotated[str | None, Header(max_length=32)] = None,
        ) -> Response:
            selector = parse_selector(label_selector or "")
            project = scope.project if kind.scope is KindScope.PROJECT else None

            def sees(name: str) -> bool:
                return kind.plural != "projects" or scope.principal.sees_project(name)

            if watch:
                if resource_version is None and last_event_id and last_event_id.isdigit():
                    resource_version = int(last_event_id)
                stream = Watch(
                    hub=hub,
                    kind=kind,
                    project=project,
                    selector=selector,
                    since=resource_version,
                    show=rules.show_text,
                    sees=sees,
                    reach=scope.reach,
                    still_allowed=lambda: _still_allowed(request, hub, scope),
                )
                await stream.check()
                return StreamingResponse(stream.events(), media_type="text/event-stream")
            place = read_page_token(continue_, str, str)
            after = (place[0], place[1]) if place else None
            version = await hub.store.version()
            items = await hub.store.list(
                kind,
                project=project,
                selector=label_selector,
                limit=limit + 1,
                after=after,
                within=scope.reach.parts,
            )
            rest: dict[str, Any] = {"kind": f"{self.name}List", "resourceVersion": version}
            if len(items) > limit:
                rest["continue"] = page_token(*items[limit - 1].key)
            shown = ",".join(rules.show_text(r) for r in items[:limit] if sees(r.metadata.name))
            text = f'{{"items":[{shown}],{json.dumps(rest)[1:]}'
            return Response(text, media_type="application/json")

        self.router.add_api_route(
            "",
            list_resources,
            operation_id=f"list{self.name}{'es' if self.name.endswith('s') else 's'}",
            summary=f"List or watch {self.plural}",
            response_model=page_model(self.kind, self.name),
            response_model_exclude_none=True,
            responses={
                200: {
                    "description": "One page, or with `watch` a stream of events",
                    "content": {"text/event-stream": {"schema": {"type": "string"}}},
                }
            },
        )

    def add_get(self) -> None:
        async def get_resource(
            name: Name,
            hub: HubDep,
            scope: ScopeDep,
            if_none_match: IfNoneMatch = None,
        ) -> Response:
            found = await hub.store.get(self.kind, scope.project, name)
            shown = self.respond(found)
            if found.metadata.resource_version and is_known(shown.headers["ETag"], if_none_match):
                return Response(status_code=304, headers={"ETag": shown.headers["ETag"]})
            return shown

        self._add(
            "GET",
            "/{name}",
            get_resource,
            f"get{self.name}",
            "Get one",
            responses={304: {"description": "It is as `If-None-Match` says"}},
        )

    def add_create(self) -> None:
        async def create_resource(
            body: Any,
            hub: HubDep,
            scope: ScopeDep,
            dry_run: DryRun = False,
        ) -> Response:
            check_project(body.metadata.project, scope.project)
            new = new_resource(self.kind, body, scope.project)
            stored = await writes.create(hub, scope.actor, self.rules, new, dry_run=dry_run)
            return self.respond(stored, 200 if dry_run else 201)

        handler = typed(create_resource, body=new_model(self.kind))
        self._add("POST", "", handler, f"create{self.name}", "Create one", status=201)

    def add_replace_spec(self) -> None:
        async def replace_spec(
            name: Name,
            spec: Any,
            hub: HubDep,
            scope: ScopeDep,
            if_match: IfMatch,
            dry_run: DryRun = False,
        ) -> Response:
            stored = await writes.replace_spec(
                hub, scope.actor, self.rules, name, spec, if_version=if_match, dry_run=dry_run
            )
            return self.respond(stored)

        handler = typed(replace_spec, spec=self.kind.model_fields["spec"].annotation)
        summary = "Replace what is asked of one"
        self._add("PUT", "/{name}/spec", handler, f"replace{self.name}Spec", summary)

    def add_replace_labels(self) -> None:
        async def replace_labels(
            name: Name,
            labels: dict[LabelKey, LabelValue],
            hub: HubDep,
            scope: ScopeDep,
            if_match: IfMatch,
            dry_run: DryRun = False,
        ) -> Response:
            stored = await writes.replace_labels(
                hub, scope.actor, self.rules, name, labels, if_version=if_match, dry_run=dry_run
            )
            return self.respond(stored)

        summary = "Replace the labels of one"
        self._add("PUT", "/{name}/labels", replace_labels, f"replace{self.name}Labels", summary)

    def add_delete(self) -> None:
        async def delete_resource(
            name: Name,
            hub: HubDep,
            scope: ScopeDep,
            if_match: IfMatch,
            dry_run: DryRun = False,
        ) -> Response:
            left = await writes.delete(
                hub, scope.actor, self.rules, name, if_version=if_match, dry_run=dry_run
            )
            return Response(status_code=204) if left is None else self.respond(left, 202)

        self._add(
            "DELETE",
            "/{name}",
            delete_resource,
            f"delete{self.name}",
            "Delete one",
            status=202,
            responses={204: {"description": "It is gone"}},
        )

    def respond(self, resource: R, status: int = 200) -> JSONResponse:
        """Show a resource, with its version as ETag."""
        document = self.rules.show(resource)
        return JSONResponse(document, status, headers={"ETag": writes.etag(document)})

    def _add(
        self,
        method: str,
        path: str,
        handler: Callable[..., Any],
        operation_id: str,
        summary: str,
        *,
        status: int = 200,
        responses: dict[int | str, dict[str, Any]] | None = None,
    ) -> None:
        self.router.add_api_route(
            path,
            handler,
            methods=[method],
            operation_id=operation_id,
            summary=summary,
            status_code=status,
            response_model=self.kind,
            response_model_exclude_none=True,
            responses=responses,
        )


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Tell whether ``If-None-Match`` names this ETag."""
    named = (one.strip().removeprefix("W/") for one in (if_none_match or "").split(","))
    return etag in named


def typed(handler: Handler, **types: Any) -> Handler:
    """Give a handler the types that are known only once its kind is: FastAPI reads them."""
    handler.__annotations__.update(types)
    return handler


def check_project(named: str | None, project: str) -> None:
    """Refuse a document that names another project than its path."""
    if named is not None and named != project:
        raise InvalidError(
            "the document is of another project",
            (FieldFault("metadata.project", f"is {named!r}, but the path says {project!r}"),),
        )


async def _still_allowed(request: Request, hub: HubDep, scope: Scope) -> bool:
    """Ask again while a stream is open: a revoked token or right ends it."""
    credential = credential_of(request)
    if credential is None:
        return False
    try:
        principal = await authenticate(hub, credential.token)
    except UnauthenticatedError:
        return False
    before = scope.principal
    return (principal.rights, principal.bounds) == (before.rights, before.bounds)
