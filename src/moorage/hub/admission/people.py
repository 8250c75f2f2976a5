"""Rules of users, teams and roles."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from moorage.auth import BUILT_IN, EVERYWHERE, PERMISSIONS, TENANT_ADMIN
from moorage.kit.errors import FieldFault
from moorage.resources import Role, Team, User
from moorage.resources.access import Grant


def grant_faults(
    grants: Sequence[Grant],
    *,
    projects: AbstractSet[str],
    roles: AbstractSet[str],
    path: str = "spec.grants",
) -> Iterator[FieldFault]:
    """Yield every fault of grants: projects and roles exist, and the role makes sense there."""
    for index, grant in enumerate(grants):
        where = f"{path}[{index}]"
        if grant.project != EVERYWHERE and grant.project not in projects:
            yield FieldFault(f"{where}.project", f"there is no project {grant.project}")
        if grant.role not in roles:
            known = ", ".join(sorted(roles))
            yield FieldFault(f"{where}.role", f"there is no role {grant.role} (there are: {known})")
            continue
        built_in = BUILT_IN.get(grant.role)
        if built_in is None or not built_in.tenant_only:
            continue
        if grant.project != EVERYWHERE:
            yield FieldFault(f"{where}.project", f"{grant.role} is for the whole hub: say '*'")
        if grant.selector:
            yield FieldFault(f"{where}.selector", f"{grant.role} is not narrowed by labels")


def user_faults(
    user: User,
    *,
    projects: AbstractSet[str],
    roles: AbstractSet[str],
    users: Sequence[User],
    before: User | None,
) -> list[FieldFault]:
    """Return every fault of a user: grants make sense, and an administrator remains."""
    faults = list(grant_faults(user.spec.grants, projects=projects, roles=roles))
    if before is not None and not _administers(user) and is_last_administrator(before, users):
        faults.append(
            FieldFault(
                "spec.disabled" if user.spec.disabled else "spec.grants",
                f"{user.metadata.name} is the last administrator: make another one first",
            )
        )
    return faults


def team_faults(
    team: Team, *, projects: AbstractSet[str], roles: AbstractSet[str], users: AbstractSet[str]
) -> list[FieldFault]:
    """Return every fault of a team: grants make sense, and members exist."""
    faults = list(grant_faults(team.spec.grants, projects=projects, roles=roles))
    for index, name in enumerate(team.spec.members):
        if name not in users:
            faults.append(FieldFault(f"spec.members[{index}]", f"there is no user {name}"))
    return faults


def role_faults(role: Role) -> list[FieldFault]:
    """Return every permission that there is none of."""
    return [
        FieldFault(
            f"spec.permissions[{index}]",
            f"there is no permission {one} (`moorage roles permissions` lists them)",
        )
        for index, one in enumerate(role.spec.permissions)
        if one not in PERMISSIONS
    ]


def is_last_administrator(user: User, users: Sequence[User]) -> bool:
    """Tell whether nobody could administer the hub without this user.

    Only grants of users themselves count: a team can lose its members.
    """
    rest = [other for other in users if other.metadata.name != user.metadata.name]
    return _administers(user) and not any(_administers(other) for other in rest)


def _administers(user: User) -> bool:
    wide = any(g.role == TENANT_ADMIN and g.project == EVERYWHERE for g in user.spec.grants)
    return wide and not user.spec.disabled
