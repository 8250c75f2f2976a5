"""What every command shares: which hub, which project, how to print."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

from rich.console import Console

from moorage.cli import config
from moorage.cli.config import HubContext
from moorage.client import Api
from moorage.kit.errors import InvalidError, UnauthenticatedError
from moorage.kit.net import ServerTrust


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that stand before every command."""

    context: str | None = None
    project: str | None = None
    output: str | None = None


_DEFAULTS = Settings()
_settings: ContextVar[Settings] = ContextVar("settings", default=_DEFAULTS)


@dataclass(frozen=True, slots=True)
class Context:
    """The chosen hub and how to talk to people: results on stdout, all else on stderr."""

    name: str
    hub: HubContext
    project: str
    settings: Settings

    @classmethod
    def current(cls) -> Self:
        """Return the context in use; raises ``UnauthenticatedError`` before the first login."""
        settings = _settings.get()
        stored = config.load()
        name = settings.context or stored.current
        if name is None:
            raise UnauthenticatedError("not logged in: run `moorage login https://HUB`")
        if name not in stored.contexts:
            known = ", ".join(sorted(stored.contexts)) or "none"
            raise InvalidError(f"there is no context {name!r}; known: {known}")
        hub = stored.contexts[name]
        return cls(name=name, hub=hub, project=settings.project or hub.project, settings=settings)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        """Open the client of the chosen hub."""
        tls = ServerTrust(ca_pem=self.hub.ca).context()
        async with Api(self.hub.server, token=self.hub.token, tls=tls) as api:
            yield api

    def remember(self, hub: HubContext) -> None:
        """Store a changed context."""
        stored = config.load()
        stored.contexts[self.name] = hub
        config.save(stored)


def use(settings: Settings) -> None:
    """Set the options of this call."""
    _settings.set(settings)


def stderr() -> Console:
    """Return the console for progress and errors."""
    return Console(stderr=True, highlight=False, emoji=False, markup=False, soft_wrap=True)


def stdout() -> Console:
    """Return the console for results. What it prints is data: no markup, no emoji."""
    return Console(highlight=False, emoji=False, markup=False)


def output_format() -> str:
    """Return ``table``, ``json`` or ``yaml``: what was asked for, else by who is reading."""
    asked = _settings.get().output
    if asked:
        return asked
    return "table" if Console().is_terminal else "json"
