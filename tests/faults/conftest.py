"""An installation that lives of one module share."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.site import Site


@dataclass
class Place:
    """An installation for one life after the other; after one that went wrong, a new one."""

    stack: ExitStack = field(default_factory=ExitStack)
    site: Site | None = None

    def get(self) -> Site:
        """Return an installation in which nothing has gone wrong yet."""
        if self.site is None:
            folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-faults-"))
            self.site = self.stack.enter_context(Site.start(Path(folder)))
        return self.site

    def leave(self) -> None:
        """End the installation."""
        self.site = None
        self.stack.close()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.leave()
