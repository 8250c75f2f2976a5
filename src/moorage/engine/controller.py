"""A controller: a reconciler, what it works with, and what makes it look."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from moorage.engine.step import Context, Reconciler, select_all
from moorage.engine.store import Change, Store
from moorage.kit.clock import Clock
from moorage.resources import Resource

E = TypeVar("E")


@dataclass(frozen=True)
class Watch:
    """Changes of one kind that make a controller look at other keys."""

    kind: type[Resource]
    keys: Callable[[Change], Iterable[str]]
    """The ``project/name`` keys to look at; quick, and without I/O."""


@dataclass(frozen=True)
class Controller(Generic[E]):
    """One reconciler at work. Its own kind is always watched, but for changes of status."""

    name: str
    reconciler: Reconciler
    env: E
    watches: tuple[Watch, ...] = ()
    concurrency: int = 8
    resync: timedelta = timedelta(minutes=5)
    """How soon a key is looked at again though nothing changed."""
    pace: timedelta = timedelta(0)
    """How soon after a pass began changes may begin another: one pass then answers to many."""
    select: Callable[[Any], bool] | None = None
    """Whether a resource is this process's to work on; ``None``: all are."""

    def context(self, store: Store, clock: Clock) -> Context[E]:
        """Return what its passes may use."""
        return Context(store, clock, self.env, self.select or select_all)

    def keys(self, change: Change) -> set[str]:
        """Return the keys that a change makes due."""
        found: set[str] = set()
        own = self.reconciler.kind
        if own is not None and change.kind == own.kind_name() and change.spec_changed:
            found.add(change.key)
        for watch in self.watches:
            if watch.kind.kind_name() == change.kind:
                found.update(watch.keys(change))
        return found
