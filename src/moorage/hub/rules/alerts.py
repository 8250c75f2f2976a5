"""Channels and silences of alerts."""

import secrets

from moorage.engine.store import Store
from moorage.hub.rules.base import Rules
from moorage.kit.errors import FieldFault
from moorage.resources import AlertChannel, AlertSilence, Project
from moorage.store import alerts
from moorage.store.operations import SqlOperations


class AlertChannelRules(Rules[AlertChannel]):
    """A channel has a secret of its own, which signs what is posted."""

    def __init__(self) -> None:
        super().__init__(AlertChannel)

    async def faults(
        self, store: Store, resource: AlertChannel, before: AlertChannel | None
    ) -> list[FieldFault]:
        known = {one.metadata.name for one in await store.list(Project)}
        return [
            FieldFault(f"spec.projects[{number}]", f"there is no project {name}")
            for number, name in enumerate(resource.spec.projects)
            if name not in known
        ]

    async def created(self, store: Store, resource: AlertChannel) -> None:
        await alerts.set_secret(of_hub(store), resource.metadata.uid, new_secret())

    async def deleting(self, store: Store, resource: AlertChannel) -> None:
        await alerts.forget_channel(of_hub(store), resource.metadata.uid)


class AlertSilenceRules(Rules[AlertSilence]):
    """A silence silences something."""

    def __init__(self) -> None:
        super().__init__(AlertSilence)

    async def faults(
        self, store: Store, resource: AlertSilence, before: AlertSilence | None
    ) -> list[FieldFault]:
        now = of_hub(store).clock.now()
        if resource.spec.until > now:
            return []
        return [FieldFault("spec.until", f"is over: it is {now:%Y-%m-%dT%H:%M:%SZ} now")]


def new_secret() -> str:
    """Return a new secret of a channel."""
    return secrets.token_urlsafe(32)


def of_hub(store: Store) -> SqlOperations:
    """Return the hub's store as what it is: it has more tables than the port tells of."""
    assert isinstance(store, SqlOperations)  # noqa: S101 - for the type checker
    return store
