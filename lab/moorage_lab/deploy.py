"""Helm's rendering and Prometheus' reading of expressions, for the tests of ``deploy/``."""

from pathlib import Path

from moorage_lab import program
from moorage_lab.program import Progress


def find_or_build(progress: Progress = lambda _: None) -> Path:
    """The binary: $MOORAGE_LAB_DEPLOY, or the cache's for these sources, built if missing."""
    return program.find_or_build("lab-deploy", "deploy", "MOORAGE_LAB_DEPLOY", progress)
