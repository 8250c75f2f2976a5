"""The part of govmomi's command govc that scripts of Moorage call, for tests that run them."""

from pathlib import Path

from moorage_lab import program
from moorage_lab.program import Progress


def find_or_build(progress: Progress = lambda _: None) -> Path:
    """The binary: $MOORAGE_LAB_GOVC, or the cache's for these sources, built if missing."""
    return program.find_or_build("govc", "govc", "MOORAGE_LAB_GOVC", progress)
