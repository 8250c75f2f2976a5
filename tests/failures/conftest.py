"""The whole product in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.start(tmp_path) as site:
        yield site
