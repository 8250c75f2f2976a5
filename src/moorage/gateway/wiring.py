"""Puts the gateway's controllers together: sessions, API clients, and who is told of what."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from moorage.controllers.gateway.access import ClusterAccess
from moorage.controllers.gateway.build import controllers
from moorage.controllers.gateway.env import Env, Index
from moorage.controllers.gateway.sessions import Sessions
from moorage.engine import Controller
from moorage.gateway.services import Services
from moorage.kube import KubePool

CLOSE_S = 5.0


@asynccontextmanager
async def gateway_controllers(services: Services) -> AsyncIterator[Sequence[Controller[Any]]]:
    """Yield the controllers of vSphere and of new clusters; log out of vCenter at the end."""
    index = Index()

    def on_change(uids: frozenset[str]) -> None:
        for uid in uids:
            found = index.machines.get(uid)
            if found is not None:
                services.trigger("machine", found[0])

    def on_state(account: str) -> None:
        services.trigger("account", f"/{account}")

    sessions = Sessions(services.installation, on_change=on_change, on_state=on_state)
    pool = KubePool(clock=services.clock)
    env = Env(
        store=services.store,
        clock=services.clock,
        vault=services.vault,
        accounts=sessions,
        access=ClusterAccess(pool=pool, clock=services.clock),
        installation=services.installation,
        gateway=services.gateway,
        acknowledged=services.acknowledged,
        trigger=services.trigger,
        index=index,
    )
    try:
        yield controllers(env)
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
            await sessions.close()
            await pool.aclose()
