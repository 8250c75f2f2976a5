"""How a store fares: whether its disk is full, and whether it is damaged."""

from pathlib import Path

import anyio
import anyio.to_thread
from prometheus_client import Gauge

from moorage.kit.errors import MoorageError, StorageFullError
from moorage.store.failures import StoreCorruptError, describe_damage, room_beside

FULL = Gauge("moorage_storage_full", "1 while the database has no room to write.")
ENOUGH = 1024 * 1024
"""Bytes that have to be free for a disk to count as full no more."""


class Wellbeing:
    """What the statements of one database have met with.

    Args:
        file: The SQLite file; ``None`` on PostgreSQL.
        where: Names the database.
        remedy: What to do when it is damaged.
    """

    def __init__(self, file: Path | None, where: str, remedy: str) -> None:
        self._file = file
        self._where = where
        self._remedy = remedy
        self._damage: StoreCorruptError | None = None
        self._damaged = anyio.Event()
        self.full: str | None = None
        """What a write said when there was no room for it; ``None`` once there is room again."""

    def note(self, error: MoorageError) -> None:
        """Take in an error that a statement ended with."""
        if isinstance(error, StorageFullError):
            self.full = str(error)
            FULL.set(1)
        elif isinstance(error, StoreCorruptError) and self._damage is None:
            self._damage = error
            self._damaged.set()

    def note_written(self) -> None:
        """Take in that a write was committed.

        On a full disk a small one may still find room in the log, which then grows no more: only
        with some blocks free it is over.
        """
        if self.full is not None and (self._file is None or room_beside(self._file) >= ENOUGH):
            self.full = None
            FULL.set(0)

    async def watch(self) -> None:
        """Wait for as long as nothing is damaged; then raise ``StoreCorruptError``.

        Whoever owns the process lets this end it: what can no longer be read must not be worked
        on, and each further write could make the damage worse.
        """
        await self._damaged.wait()
        damage = self._damage
        if damage is None:
            raise RuntimeError("damaged, but not said how")
        raise await self.described(damage) from damage

    async def described(self, damage: StoreCorruptError) -> StoreCorruptError:
        """Return the same error with the damaged pages named, where that can be found out."""
        if self._file is None:
            return damage
        pages = await anyio.to_thread.run_sync(describe_damage, self._file)
        said = f"{damage.said}: {pages}" if pages else damage.said
        return StoreCorruptError(self._where, said, self._remedy)
