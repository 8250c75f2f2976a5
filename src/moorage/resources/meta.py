"""What every resource has: identity, labels, versions, conditions."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=63)]
"""A DNS label (RFC 1123): lower-case letters, digits and dashes, 63 characters at most."""

LabelKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
    ),
]
LabelValue = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
]

GATEWAY_FINALIZER = "moorage.dev/gateway"
"""On every routed intent kind that leaves something behind: its gateway takes it off."""

Document = dict[str, Any]
"""A resource, spec or status as JSON (camelCase keys)."""


InventoryPath = Annotated[
    str, StringConstraints(min_length=1, max_length=512, strip_whitespace=True)
]
"""Name or inventory path; ``%2f`` stands for a slash inside a name, as in vSphere itself."""


class Model(BaseModel):
    """Python is snake_case, JSON is camelCase; unknown fields are faults."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_assignment=False,
    )

    def document(self) -> Document:
        """Return the JSON form: camelCase keys, JSON types, ``None`` left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def text(self) -> str:
        """Return ``document()`` as JSON text, four times as fast."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Ownership(StrEnum):
    """Who writes a kind (design, section 2)."""

    INTENT = "intent"
    """The hub writes ``spec``, the gateway ``status``."""
    DERIVED = "derived"
    """The gateway owns the whole resource; the hub keeps a read-only mirror."""
    HUB = "hub"
    """The hub owns the whole resource; no gateway sees it."""


class Scope(StrEnum):
    """Where a kind lives: beside all projects, in one, or in either."""

    HUB = "hub"
    PROJECT = "project"
    EITHER = "either"


class Condition(Model):
    """One claim about a resource, with why and since when."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    """One UpperCamel word that a user can search for."""
    message: str = ""
    last_transition_time: datetime
    """When ``status`` or ``reason`` last changed."""
    observed_generation: int = 0


class Owner(Model):
    """The resource whose deletion takes this one with it."""

    kind: str
    name: Name
    uid: str


class Metadata(Model):
    """Identity and versions. Users write ``name``, ``project`` and ``labels`` only."""

    name: Name
    project: str = ""
    """Empty for hub-wide resources."""
    uid: str = ""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    generation: int = 0
    """Counts changes of ``spec``."""
    resource_version: int = 0
    """Counts all changes, in one sequence for the whole store."""
    created_at: datetime | None = None
    deletion_requested_at: datetime | None = None
    finalizers: list[str] = Field(default_factory=list)
    owner: Owner | None = None
    route: str = ""
    """Name of the gateway that this resource is replicated to or comes from; empty for none."""
    epoch: int = 0
    """Of the assignment under which the gateway works on it."""


class Spec(Model):
    """What is asked."""


class Status(Model):
    """What was last seen. It can be rebuilt; losing it costs one pass, no data."""

    conditions: list[Condition] = Field(default_factory=list)
    observed_generation: int = 0

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, if it is there."""
        return next((c for c in self.conditions if c.type == type_), None)

    def is_true(self, type_: str) -> bool:
        """Tell whether the condition is there and true."""
        found = self.condition(type_)
        return found is not None and found.status == "True"

    def set_condition(
        self,
        type_: str,
        status: Literal["True", "False", "Unknown"],
        reason: str,
        message: str,
        *,
        now: datetime,
        generation: int = 0,
    ) -> None:
        """Set one condition; the transition time moves only when status or reason change."""
        old = self.condition(type_)
        same = old is not None and (old.status, old.reason) == (status, reason)
        new = Condition(
            type=type_,
            status=status,
            reason=reason,
            message=message,
            last_transition_time=old.last_transition_time if old and same else now,
            observed_generation=generation,
        )
        if old is None:
            self.conditions.append(new)
        else:
            self.conditions[self.conditions.index(old)] = new


class Resource(Model):
    """A stored object: ``metadata``, ``spec``, ``status``.

    Subclasses declare ``kind: Literal["X"] = "X"``, set the class variables and type the rest.
    """

    plural: ClassVar[str]
    ownership: ClassVar[Ownership]
    scope: ClassVar[Scope]

    kind: str
    metadata: Metadata
    spec: Any
    status: Any

    @classmethod
    def kind_name(cls) -> str:
        """Return the kind, such as ``Machine``, without an instance."""
        name: str = cls.model_fields["kind"].default
        return name

    @property
    def key(self) -> tuple[str, str]:
        """``(project, name)``: unique among the resources of one kind."""
        return (self.metadata.project, self.metadata.name)

    @property
    def is_deleting(self) -> bool:
        """Tell whether deletion was asked for."""
        return self.metadata.deletion_requested_at is not None

    def owner(self) -> Owner:
        """Return the reference by which others name this resource as their owner."""
        return Owner(kind=self.kind, name=self.metadata.name, uid=self.metadata.uid)

    def copy_deep(self) -> Self:
        """Return a private copy that may be changed freely."""
        return self.model_copy(deep=True)

    def __str__(self) -> str:
        where = f"{self.metadata.project}/" if self.metadata.project else ""
        return f"{self.kind} {where}{self.metadata.name}"
