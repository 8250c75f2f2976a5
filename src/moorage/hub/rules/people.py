"""Projects, users, teams and roles: what the hub adds and refuses.

Nobody gives away, takes away or takes over more than he has: to change who has which rights, one
needs these rights oneself.
"""

from collections.abc import Callable

from moorage.auth import BUILT_IN, PERMISSIONS, Principal, Right, uncovered
from moorage.engine.store import Store
from moorage.hub.admission import (
    grant_faults,
    is_last_administrator,
    role_faults,
    team_faults,
    user_faults,
)
from moorage.hub.directory import SERVICE_ACCOUNT, Directory
from moorage.hub.rules.base import Rules, in_use
from moorage.kit.errors import ConflictError, FieldFault, ForbiddenError, InvalidError
from moorage.resources import (
    Cluster,
    Machine,
    NodePool,
    Operation,
    Plan,
    Project,
    Resource,
    Role,
    ServiceAccount,
    Team,
    User,
)
from moorage.resources.access import Grant
from moorage.store import SqlOperations, access

_SHOWN = 5


class ProjectRules(Rules[Project]):
    """A project stays until it is empty; grants in it go with it, a later one begins without."""

    def __init__(self) -> None:
        super().__init__(Project)

    async def check_deletion(self, store: Store, resource: Project) -> None:
        name = resource.metadata.name
        users = [str(c) for c in await store.list(Cluster, project=name)]
        users += [str(p) for p in await store.list(NodePool, project=name)]
        users += [str(m) for m in await store.list(Machine, project=name)]
        in_use(resource, users, "delete these first")

    async def deleting(self, store: Store, resource: Project) -> None:
        name = resource.metadata.name
        for kind in (Operation, Plan):
            for one in await store.list(kind, project=name):
                await store.delete(one)
        await _drop_grants(store, lambda grant: grant.project == name)


class UserRules(Rules[User]):
    """Users hold grants; the last administrator stays."""

    def __init__(self) -> None:
        super().__init__(User)

    async def permit(
        self, store: Store, resource: User, before: User | None, principal: Principal
    ) -> None:
        directory = await directory_of(store)
        given = [*directory.convey(resource.spec.grants)]
        if before is not None:
            given += directory.rights_if(before.metadata.name, before.spec.grants)
        cover(principal, given, resource)

    async def faults(self, store: Store, resource: User, before: User | None) -> list[FieldFault]:
        users = await store.list(User)
        projects, roles = await _known(store)
        return user_faults(resource, projects=projects, roles=roles, users=users, before=before)

    async def check_deletion(self, store: Store, resource: User) -> None:
        if is_last_administrator(resource, await store.list(User)):
            raise ConflictError(f"{resource} is the last administrator: make another one first")

    async def deleting(self, store: Store, resource: User) -> None:
        name = resource.metadata.name
        assert isinstance(store, SqlOperations)  # noqa: S101 - the hub's store has the tables
        await access.forget_user(store, name)
        for team in await store.list(Team):
            if name in team.spec.members:  # somebody else may get the name
                team.spec.members = [one for one in team.spec.members if one != name]
                await store.put_spec(team)


class TeamRules(Rules[Team]):
    """Whoever changes a team gives its grants to its members, so he needs them."""

    def __init__(self) -> None:
        super().__init__(Team)

    async def permit(
        self, store: Store, resource: Team, before: Team | None, principal: Principal
    ) -> None:
        directory = await directory_of(store)
        grants = [*resource.spec.grants, *(before.spec.grants if before else ())]
        cover(principal, [*directory.convey(grants)], resource)

    async def faults(self, store: Store, resource: Team, before: Team | None) -> list[FieldFault]:
        projects, roles = await _known(store)
        users = {user.metadata.name for user in await store.list(User)}
        return team_faults(resource, projects=projects, roles=roles, users=users)


class ServiceAccountRules(Rules[ServiceAccount]):
    """A service account comes in by API keys; they go with it."""

    def __init__(self) -> None:
        super().__init__(ServiceAccount)

    async def permit(
        self,
        store: Store,
        resource: ServiceAccount,
        before: ServiceAccount | None,
        principal: Principal,
    ) -> None:
        directory = await directory_of(store)
        grants = [*resource.spec.grants, *(before.spec.grants if before else ())]
        cover(principal, [*directory.convey(grants)], resource)

    async def faults(
        self, store: Store, resource: ServiceAccount, before: ServiceAccount | None
    ) -> list[FieldFault]:
        projects, roles = await _known(store)
        return [*grant_faults(resource.spec.grants, projects=projects, roles=roles)]

    async def deleting(self, store: Store, resource: ServiceAccount) -> None:
        assert isinstance(store, SqlOperations)  # noqa: S101 - the hub's store has the tables
        await access.forget_user(store, f"{SERVICE_ACCOUNT}{resource.metadata.name}")


class RoleRules(Rules[Role]):
    """Custom roles are made of permissions; built-in ones stay as they are."""

    def __init__(self) -> None:
        super().__init__(Role)

    async def permit(
        self, store: Store, resource: Role, before: Role | None, principal: Principal
    ) -> None:
        if resource.metadata.name in BUILT_IN:
            raise ConflictError(f"{resource} is built in: make a role of another name")
        wanted = {*resource.spec.permissions, *(before.spec.permissions if before else ())}
        cover(principal, [Right("", frozenset(wanted & PERMISSIONS))], resource)

    async def faults(self, store: Store, resource: Role, before: Role | None) -> list[FieldFault]:
        return role_faults(resource)

    async def check_deletion(self, store: Store, resource: Role) -> None:
        name = resource.metadata.name
        holders = await _holders(store)
        users = [str(one) for one in holders if any(g.role == name for g in one.spec.grants)]
        in_use(resource, users, "take the role from these first")


def cover(principal: Principal, given: list[Right], what: Resource) -> None:
    """Raise ``ForbiddenError`` for rights that the caller does not have himself."""
    missing = uncovered(principal, given)
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise ForbiddenError(
            f"{principal.username} may not change {what}: it has, or would get, rights that "
            f"{principal.username} does not have: {', '.join(missing[:_SHOWN])}{more}"
        )


async def directory_of(store: Store) -> Directory:
    """Return who has which rights; to be asked for before the transaction writes."""
    assert isinstance(store, SqlOperations)  # noqa: S101 - the hub's store has views
    return await store.view(Directory)


async def _known(store: Store) -> tuple[set[str], set[str]]:
    projects = {project.metadata.name for project in await store.list(Project)}
    return projects, {role.metadata.name for role in await store.list(Role)} | set(BUILT_IN)


async def _holders(store: Store) -> list[User | Team | ServiceAccount]:
    accounts = await store.list(ServiceAccount)
    return [*await store.list(User), *await store.list(Team), *accounts]


async def check_grants(store: Store, grants: list[Grant], *, path: str) -> None:
    """Raise ``InvalidError`` for grants of roles or projects that there are none of."""
    projects, roles = await _known(store)
    faults = tuple(grant_faults(grants, projects=projects, roles=roles, path=path))
    if faults:
        raise InvalidError("the grants cannot be like this", faults)


async def _drop_grants(store: Store, goes: Callable[[Grant], bool]) -> None:
    for one in await _holders(store):
        kept = [grant for grant in one.spec.grants if not goes(grant)]
        if len(kept) < len(one.spec.grants):
            one.spec.grants = kept
            await store.put_spec(one)
