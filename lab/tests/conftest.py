"""Tests of the lab itself. Those marked `root` boot real nodes and run with `-m root` only."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moorage_lab import lifecycle
from moorage_lab.api import Lab
from moorage_lab.image import find_image
from moorage_lab.inventory import default_inventory
from moorage_lab.network import has_lab_network
from moorage_lab.places import State
from moorage_lab.prerequisites import MissingPrerequisitesError, check


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "root: boots real nodes; runs with -m root, by root")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "root" in config.getoption("markexpr"):
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="boots real nodes: run with -m root"))


@pytest.fixture(scope="session")
def own_lab_possible() -> None:
    """Skip where no real node can run, or where somebody's lab is up."""
    state = State.default()
    try:
        check(state, nodes=True)
    except MissingPrerequisitesError as error:
        pytest.skip(str(error))
    if find_image() is None and "MOORAGE_LAB_IMAGE" not in os.environ:
        pytest.skip("no node image in the cache: `moorage-lab build image` makes it")
    if state.config.exists() or has_lab_network():
        pytest.skip("a lab is up: these tests need their own (`moorage-lab down`)")


@pytest.fixture(scope="module")
def lab(own_lab_possible: None) -> Iterator[Lab]:
    """A lab of these tests' own."""
    state = State.default()
    lifecycle.up(state, default_inventory(), nodes=True, progress=print)
    try:
        yield Lab.attach(state)
    finally:
        lifecycle.down(state)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Keep a measured time for `--junitxml`."""

    def keep(name: str, seconds: float) -> None:
        request.node.user_properties.append((name, round(seconds, 1)))

    return keep


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for Unix sockets below it."""
    path = Path(tempfile.mkdtemp(prefix="lab-t-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
