"""Run by a test as a process of its own: writes until it is killed, telling what is committed."""

import sys

import anyio

from moorage.kit.clock import SystemClock
from moorage.resources import Metadata, Project
from moorage.store import audit, open_store


async def main(url: str) -> None:
    """Create projects with their audit entries, and print each name once stored."""
    store = await open_store(url, clock=SystemClock(), exclusive=True)
    number = 0
    while True:
        name = f"p{number}"
        async with store.transaction() as tx:
            await tx.create(Project(metadata=Metadata(name=name)))
            await audit.append(
                tx, actor="a", source="::1", verb="create", kind="Project", name=name
            )
        print(name, flush=True)  # noqa: T201 - the test reads it
        number += 1


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
