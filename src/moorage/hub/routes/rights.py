"""Effective rights: what can I, who can, and what there is to permit."""

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from moorage.auth import PERMISSIONS, RESOURCES, Access, Principal, Right
from moorage.auth.catalogue import OPERATIONS
from moorage.hub.deps import HubDep, PrincipalDep, ScopeDep
from moorage.hub.directory import SERVICE_ACCOUNT, Directory
from moorage.hub.problems import Problem
from moorage.hub.rules.base import project_of
from moorage.hub.strict import StrictRoute
from moorage.kit.errors import FieldFault, InvalidError, NotFoundError
from moorage.resources import Cluster
from moorage.resources.access import Permission
from moorage.resources.cluster import ClusterName
from moorage.resources.meta import Model, Name

router = APIRouter(
    prefix="/v1", tags=["access"], route_class=StrictRoute, responses={"4XX": {"model": Problem}}
)


class HeldGrant(Model):
    """A grant that somebody has."""

    role: str
    project: str
    """`*` for the whole hub."""
    selector: str = ""
    """Label selector of the clusters; empty: all."""
    team: str = ""
    """Team that has it; empty when it is one's own."""


class HeldPermission(Model):
    """Something that one may do, and by which grants."""

    permission: str
    by: list[HeldGrant]


class HeldPermissions(Model):
    """All that one may do."""

    username: str
    items: list[HeldPermission]


class PermissionEntry(Model):
    """Something that a role can permit."""

    permission: str
    place: str
    """Where such objects live: `tenant`, `shared`, `project` or `cluster`."""
    operations: list[str]
    """REST operations that need it."""


class PermissionList(Model):
    """All that roles can permit."""

    items: list[PermissionEntry]


class Entitled(Model):
    """Somebody who may, and by which grants."""

    kind: Literal["User", "ServiceAccount"] = "User"
    name: str
    by: list[HeldGrant]


class EntitledList(Model):
    """Everybody who may."""

    permission: str
    items: list[Entitled]


InProject = Annotated[Name | None, Query(description="Only what holds in this project.")]


@router.get(
    "/permissions", operation_id="listPermissions", summary="What roles can permit", tags=["roles"]
)
async def list_permissions(_principal: PrincipalDep) -> PermissionList:
    """List every permission, with the operations that need it."""
    needed: dict[str, list[str]] = {}
    for operation, need in OPERATIONS.items():
        if need.access not in (Access.PUBLIC, Access.OWN):
            needed.setdefault(need.permission, []).append(operation)
    return PermissionList(
        items=[
            PermissionEntry(
                permission=f"{name}.{operation}",
                place=resource.place,
                operations=needed.get(f"{name}.{operation}", []),
            )
            for name, resource in RESOURCES.items()
            for operation in resource.operations
        ]
    )


@router.get("/whoami/rights", operation_id="listOwnRights", summary="What can I?")
async def list_own_rights(
    hub: HubDep, principal: PrincipalDep, project: InProject = None
) -> HeldPermissions:
    """List what the credential that was sent may do, and by which grants."""
    if project is not None and not principal.sees_project(project):
        raise NotFoundError(f"there is no project {project}, or you may not see it")
    if project is not None:
        await project_of(hub.store, project)
    items = []
    for permission in sorted(PERMISSIONS):
        rights = [r for r in principal.rights if _conveys(r, permission, project)]
        bounded = principal.bounds is None or any(
            _conveys(r, permission, project) for r in principal.bounds
        )
        if rights and bounded:
            items.append(HeldPermission(permission=permission, by=held_grants(rights)))
    return HeldPermissions(username=principal.username, items=items)


@router.get("/who-can", operation_id="whoCan", summary="Who can?")
async def who_can(
    hub: HubDep,
    _scope: ScopeDep,
    permission: Annotated[Permission, Query(description="Such as `clusters.delete`.")],
    project: InProject = None,
    cluster: Annotated[
        ClusterName | None, Query(description="This cluster of the project, with its labels.")
    ] = None,
) -> EntitledList:
    """List the users and service accounts who may do something, and by which grants.

    Those that are disabled are left out.
    """
    if permission not in PERMISSIONS:
        fault = FieldFault("permission", f"there is no permission {permission}")
        raise InvalidError("nobody can", (fault,))
    if cluster is not None and project is None:
        raise InvalidError("which cluster?", (FieldFault("project", "is required with cluster"),))
    labels = None
    if project is not None:
        await project_of(hub.store, project)
    if cluster is not None:
        found = await hub.store.get(Cluster, project or "", cluster)
        labels = found.metadata.labels
    directory = await hub.store.view(Directory)
    items = []
    for name in sorted(directory.users):
        by = [
            right
            for right in directory.rights_of(name)
            if _conveys(right, permission, project)
            and (labels is None or Principal(name, (right,)).may(permission, project or "", labels))
        ]
        if by:
            is_account = name.startswith(SERVICE_ACCOUNT)
            items.append(
                Entitled(
                    kind="ServiceAccount" if is_account else "User",
                    name=name.removeprefix(SERVICE_ACCOUNT),
                    by=held_grants(by),
                )
            )
    return EntitledList(permission=permission, items=items)


def held_grants(rights: Iterable[Right]) -> list[HeldGrant]:
    """Show rights as the grants that they come from."""
    return [
        HeldGrant(role=one.role, project=one.project, selector=one.selector, team=one.via)
        for one in rights
    ]


def _conveys(right: Right, permission: str, project: str | None) -> bool:
    """Tell whether a right conveys a permission at all, or in a project."""
    where = right.project if project is None and right.project != "*" else (project or "")
    return permission in right.permissions and not (
        Principal("", (right,)).reach(permission, where).is_nothing
    )
