"""Which hub a command talks to, as whom, in which project."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from moorage.cli import config
from moorage.cli.config import HubContext
from moorage.cli.settings import settings
from moorage.client import Api
from moorage.kit.errors import UnauthenticatedError
from moorage.kit.net import ServerTrust


@dataclass(frozen=True, slots=True)
class Context:
    """The chosen hub."""

    name: str
    hub: HubContext
    project: str

    @classmethod
    def current(cls) -> Self:
        """Return the context in use; raises ``UnauthenticatedError`` before the first login."""
        asked = settings()
        stored = config.load()
        name = asked.context or stored.current
        if name is None:
            raise UnauthenticatedError("not logged in: run `moorage login https://HUB`")
        hub = stored.context(name)
        return cls(name=name, hub=hub, project=asked.project or hub.project)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        """Open the client of the chosen hub; an ended session says how to begin another."""
        tls = ServerTrust(ca_pem=self.hub.ca).context()
        async with Api(self.hub.server, token=self.hub.token, tls=tls) as api:
            try:
                yield api
            except UnauthenticatedError as error:
                hub = self.hub
                raise UnauthenticatedError(
                    f"{error}: `moorage login {hub.server} --username {hub.username}`"
                ) from error

    def remember(self, hub: HubContext) -> None:
        """Store a changed context."""
        stored = config.load()
        stored.contexts[self.name] = hub
        config.save(stored)
