"""What is computed from many resources and kept up to date, instead of being read again and again.

A view takes in only what has changed since it was last asked for. It is exact: inside a
transaction nobody else can change anything, and what other processes have committed before is
taken in first.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import anyio.lowlevel
from sqlalchemy import select

from moorage.store import tables
from moorage.store.codec import COLUMNS, Stored, stored
from moorage.store.database import Unit
from moorage.store.resource_read import read_version

_PAGE = 100
"""Read at once: to decode more would keep others waiting."""
_T, _DEAD = tables.resource.c, tables.tombstone.c


class View(ABC):
    """One view of a store, in memory. Subclasses hold no more than they answer with."""

    kinds: ClassVar[frozenset[str]]
    """What it is made of."""

    def __init__(self) -> None:
        self.position = 0
        """Every change up to this version is in it."""
        self._specs: dict[str, int] = {}
        """UID -> ``spec_version`` that was taken in."""

    @abstractmethod
    def put(self, row: Stored) -> None:
        """Take a resource in, in place of an earlier state of it."""

    @abstractmethod
    def put_status(self, row: Stored) -> None:
        """Take in a resource of which only the status has changed."""

    @abstractmethod
    def drop(self, kind: str, uid: str) -> None:
        """Take a resource out, if it is there."""

    def advance(self, rows: list[Stored], gone: list[tuple[str, str]], upto: int) -> None:
        """Take in all changes between the position and ``upto``; ``gone`` are kinds and UIDs."""
        for row in rows:
            if self._specs.get(row.uid) == row.spec_version:
                self.put_status(row)
            else:
                self._specs[row.uid] = row.spec_version
                self.put(row)
        for kind, uid in gone:
            self._specs.pop(uid, None)
            self.drop(kind, uid)
        self.position = upto


async def bring_up_to_date(unit: Unit, view: View) -> None:
    """Take in what has changed.

    Raises ``RuntimeError`` in a transaction that has written already: if it were rolled back, the
    view would hold what never was.
    """
    if unit.changes:
        raise RuntimeError("a view is asked for before its transaction writes, not afterwards")
    while True:
        began = view.position
        newest = await read_version(unit)
        if newest <= began:
            return
        rows = await unit.execute(
            select(*COLUMNS)
            .where(_T.resource_version > began, _T.resource_version <= newest)
            .where(_T.kind.in_(sorted(view.kinds)))
            .order_by(_T.resource_version)
            .limit(_PAGE)
        )
        found = [stored(row) for row in rows]
        upto = found[-1].resource_version if len(found) == _PAGE else newest
        gone = await unit.execute(
            select(_DEAD.kind, _DEAD.uid)
            .where(_DEAD.resource_version > began, _DEAD.resource_version <= upto)
            .where(_DEAD.kind.in_(sorted(view.kinds)))
        )
        if view.position == began:  # else somebody else was quicker, and this is old
            view.advance(found, [(dead.kind, dead.uid) for dead in gone], upto)
        await anyio.lowlevel.checkpoint()
