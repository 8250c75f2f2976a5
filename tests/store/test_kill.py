"""``kill -9`` at any moment: what was committed is there, and whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from moorage.kit.chain import Chain
from moorage.kit.clock import SystemClock
from moorage.resources import Project
from moorage.store import audit, open_store

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("lines", [1, 4, 9])
async def test_what_was_committed_outlives_a_kill(sqlite_url: str, lines: int) -> None:
    told = _write_and_kill(sqlite_url, lines)

    store = await open_store(sqlite_url, clock=SystemClock(), exclusive=True)
    try:
        names = {project.metadata.name for project in await store.list(Project)}
        entries = await audit.list_entries(store, limit=1000)

        assert set(told) <= names
        assert {entry.name for entry in entries} == names  # each with its entry, or neither
        chain = Chain()
        async for line in audit.export(store, "hub"):
            chain.read(line)
        assert chain.finish().findings == []
    finally:
        await store.close()


def _write_and_kill(url: str, lines: int) -> list[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.writer", url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    try:
        assert process.stdout is not None
        return [process.stdout.readline().strip() for _ in range(lines)]
    finally:
        process.kill()
        process.communicate()
