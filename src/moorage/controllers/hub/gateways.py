"""Count the clusters of each gateway: shown in lists, and asked before one is deleted."""

from datetime import timedelta
from typing import Any

from moorage.engine import Change, Context, Controller, HeldLease, Result, Watch, split_key
from moorage.resources import Cluster, Gateway, Resource

_PACE = timedelta(seconds=1)
"""A thousand clusters asked for at once are counted now and then, not a thousand times."""


class GatewayReconciler:
    """Writes ``status.clusters``; the rest of the status is the link's."""

    @property
    def kind(self) -> type[Resource] | None:
        """Kind whose resources the keys name."""
        return Gateway

    async def reconcile(self, key: str, lease: HeldLease, ctx: Context[Any]) -> Result:  # noqa: ARG002
        """Count, and write only when the number has changed."""
        async with ctx.store.transaction() as store:
            gateway = await store.find(Gateway, *split_key(key))
            if gateway is None:
                return Result("gone")
            gateway.status.clusters = await store.count(Cluster, route=gateway.metadata.name)
            await store.put_status(gateway)
        return Result("done")


def gateway_controllers() -> list[Controller[Any]]:
    """Return the controller of gateways."""
    watches = (Watch(Cluster, _gateway_of),)
    return [
        Controller(
            "gateways",
            GatewayReconciler(),
            env=None,
            watches=watches,
            concurrency=1,
            pace=_PACE,
        )
    ]


def _gateway_of(change: Change) -> list[str]:
    return [f"/{change.route}"] if change.spec_changed and change.route else []
