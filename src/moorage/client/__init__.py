"""Typed client of the hub's REST API: for the CLI, tests and users' programs."""

from moorage.client.api import Api, Page
from moorage.client.watch import WatchEvent

__all__ = ["Api", "Page", "WatchEvent"]
