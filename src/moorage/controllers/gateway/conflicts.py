"""Addresses of our pools that somebody else uses: found by passes, said by the pool."""

from dataclasses import dataclass, field

from moorage.resources.ippool import AddressConflict
from moorage.resources.spans import Address


@dataclass(slots=True)
class Conflicts:
    """What passes over machines and clusters have found, until the pool's own pass takes it."""

    _found: dict[str, dict[Address, AddressConflict]] = field(default_factory=dict)

    def note(self, pool: str, conflict: AddressConflict) -> None:
        """Keep a conflict for the pool's next pass."""
        self._found.setdefault(pool, {})[conflict.address] = conflict

    def take(self, pool: str) -> list[AddressConflict]:
        """Return what was found since the last time."""
        return [*self._found.pop(pool, {}).values()]
