"""Project and User: where resources live, and who may do what."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from moorage.resources.meta import Model, Ownership, Resource, Scope, Spec, Status


class AccessRole(StrEnum):
    """Built-in roles."""

    ADMIN = "admin"
    VIEWER = "viewer"


class Grant(Model):
    """A role in one project, or everywhere."""

    role: AccessRole
    project: Annotated[str, StringConstraints(pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")] = (
        "*"
    )
    """Name of a project, or ``*`` for the whole hub."""


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
    """A person or program that may log in. Passwords stand elsewhere, hashed."""

    display_name: str = Field(default="", max_length=256)
    grants: list[Grant] = Field(default_factory=list)
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
