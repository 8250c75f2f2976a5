"""Typed client of the hub's REST API: for the CLI, tests and users' programs."""

from moorage.client.api import Api, Page
from moorage.client.problems import (
    ChangedError,
    ExpiredError,
    Problem,
    SecondFactorError,
    problem_of,
)
from moorage.client.waiting import WaitedTooLongError, is_ready
from moorage.client.watch import WatchEvent

__all__ = [
    "Api",
    "ChangedError",
    "ExpiredError",
    "Page",
    "Problem",
    "SecondFactorError",
    "WaitedTooLongError",
    "WatchEvent",
    "is_ready",
    "problem_of",
]
