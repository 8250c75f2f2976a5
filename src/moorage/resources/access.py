"""Projects, people, teams, service accounts and roles: where resources live, and who may do what.

What a grant conveys is decided by ``moorage.auth``; here is only what is written down.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints

from moorage.kit.errors import InvalidError
from moorage.resources.meta import Model, Name, Ownership, Resource, Scope, Spec, Status
from moorage.resources.selector import parse_selector


def _selector(text: str) -> str:
    try:
        parse_selector(text)
    except InvalidError as error:
        raise ValueError(str(error)) from error
    return text.strip()


Selector = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_selector)]

Permission = Annotated[
    str, StringConstraints(pattern=r"^[a-z]+\.[a-z]+$", max_length=64, strip_whitespace=True)
]
"""``resource.operation``, such as ``clusters.update``."""


class Grant(Model):
    """A role in one project, or everywhere, for all clusters there or for some."""

    role: Name
    """Name of a built-in or a custom role."""
    project: Annotated[str, StringConstraints(pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")] = (
        "*"
    )
    """Name of a project, or ``*`` for the whole hub."""
    selector: Selector = ""
    """Label selector, such as ``env=dev``: only these clusters and their parts."""


Grants = Annotated[list[Grant], Field(max_length=100)]


class ProjectSpec(Spec):
    """A scope for clusters and their rights."""

    description: str = Field(default="", max_length=1024)


class ProjectStatus(Status):
    """Nothing beyond conditions."""


class Project(Resource):
    plural: ClassVar[str] = "projects"
    ownership: ClassVar[Ownership] = Ownership.HUB
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Project"] = "Project"
    spec: ProjectSpec = Field(default_factory=ProjectSpec)
    status: ProjectStatus = Field(default_factory=ProjectStatus)


class UserSpec(Spec):
    """A person who may log in. Passwords stand elsewhere, hashed."""

    display_name: str = Field(default="", max_length=256)
    grants: Grants = Field(default_factory=list)
    disabled: bool = False


class UserStatus(Status):
    """Nothing beyond conditions."""


class User(Resource):
    plural: ClassVar[str] = "users"
    ownership: ClassVar[Ownership] = Ownership.HUB
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["User"] = "User"
    spec: UserSpec = Field(default_factory=UserSpec)
    status: UserStatus = Field(default_factory=UserStatus)


class TeamSpec(Spec):
    """Users who have the same grants."""

    description: str = Field(default="", max_length=1024)
    members: list[Name] = Field(default_factory=list, max_length=1000)
    """Names of users."""
    grants: Grants = Field(default_factory=list)


class TeamStatus(Status):
    """Nothing beyond conditions."""


class Team(Resource):
    plural: ClassVar[str] = "teams"
    ownership: ClassVar[Ownership] = Ownership.HUB
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Team"] = "Team"
    spec: TeamSpec = Field(default_factory=TeamSpec)
    status: TeamStatus = Field(default_factory=TeamStatus)


class ServiceAccountSpec(Spec):
    """A program that acts on its own, by API keys; it has no password."""

    description: str = Field(default="", max_length=1024)
    grants: Grants = Field(default_factory=list)
    disabled: bool = False


class ServiceAccountStatus(Status):
    """Nothing beyond conditions."""


class ServiceAccount(Resource):
    plural: ClassVar[str] = "serviceaccounts"
    ownership: ClassVar[Ownership] = Ownership.HUB
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["ServiceAccount"] = "ServiceAccount"
    spec: ServiceAccountSpec = Field(default_factory=ServiceAccountSpec)
    status: ServiceAccountStatus = Field(default_factory=ServiceAccountStatus)


class RoleSpec(Spec):
    """What a role permits; where, its grants say."""

    description: str = Field(default="", max_length=1024)
    permissions: list[Permission] = Field(default_factory=list, max_length=500)


class RoleStatus(Status):
    """What the hub says of a role."""

    built_in: bool = False
    """It is part of Moorage: nobody changes it."""


class Role(Resource):
    plural: ClassVar[str] = "roles"
    ownership: ClassVar[Ownership] = Ownership.HUB
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Role"] = "Role"
    spec: RoleSpec = Field(default_factory=RoleSpec)
    status: RoleStatus = Field(default_factory=RoleStatus)
