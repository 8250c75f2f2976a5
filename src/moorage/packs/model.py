"""What a pack is, and what a layer becomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from moorage.kit.errors import FieldFault, InvalidError
from moorage.resources.cluster import Cluster

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RenderedLayer:
    """The objects of one layer, in the order in which they are applied."""

    pack: str
    version: str
    objects: list[Document]


@dataclass(frozen=True, slots=True)
class Pack:
    """A versioned set of manifests with values.

    ``render`` is pure: (version, values, cluster) to objects.
    """

    name: str
    summary: str
    versions: tuple[str, ...]
    """Newest first; the first is the default."""
    values: type[BaseModel]
    render: Callable[[str, Any, Cluster], list[Document]]

    @property
    def default_version(self) -> str:
        """Version that a layer gets which asks for none."""
        return self.versions[0]

    def read_values(self, given: Mapping[str, Any], path: str) -> BaseModel:
        """Check a layer's values; raises ``InvalidError`` with every fault under ``path``."""
        try:
            return self.values.model_validate(dict(given))
        except ValidationError as error:
            known = ", ".join(
                field.alias or name for name, field in self.values.model_fields.items()
            )
            faults = tuple(
                FieldFault(
                    ".".join((path, *(str(part) for part in fault["loc"]))),
                    f"pack {self.name} has no such value; it has {known}"
                    if fault["type"] == "extra_forbidden"
                    else fault["msg"].removeprefix("Value error, "),
                )
                for fault in error.errors()
            )
            raise InvalidError(f"values of pack {self.name} are wrong", faults) from error
