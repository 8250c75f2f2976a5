"""Look now and then what is wrong, write it down, and have it told: one replica at a time."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import structlog

from moorage.hub.alerting.sending import Ways, send_due
from moorage.hub.alerting.troubles import Troubles
from moorage.resources import AlertChannel, AlertSilence
from moorage.resources.alert import AlertRule
from moorage.resources.meta import Document
from moorage.store import SqlStore, alerts
from moorage.store.alerts import Alert, Trouble

log = structlog.get_logger(__name__)

LOOK_EVERY = timedelta(seconds=15)
ENDS_WITHIN = timedelta(days=14)
_LEASE = timedelta(minutes=5)
_QUEUE, _KEY = "alerts", "all"
_WRITE_EVERY = timedelta(minutes=10)
"""How exact ``last`` is: a write for each look would be too many."""


async def keep_watch(store: SqlStore, ways: Ways, certificate: Path | None) -> None:
    """Work until cancelled. Of many replicas that do, one works at a time."""
    await store.enqueue(_QUEUE, _KEY, store.clock.now())
    while True:
        for lease in await store.lease(_QUEUE, limit=1, ttl=_LEASE):
            try:
                await look(store, certificate)
                await send_due(store, ways)
            finally:
                with anyio.CancelScope(shield=True):
                    await store.finish(lease, due=store.clock.now() + LOOK_EVERY)
        await anyio.sleep(LOOK_EVERY.total_seconds())


async def look(store: SqlStore, certificate: Path | None) -> None:
    """Compare what is wrong with the alerts that go on; may be repeated."""
    now = store.clock.now()
    wrong = (await store.view(Troubles)).now(now)
    wrong += await _keys(store, now) + _certificate(certificate, now)
    open_ = {(one.rule, one.uid): one for one in await alerts.list_alerts(store, ended=False)}
    found = {(one.rule, one.uid): one for one in wrong}
    if not found and not open_:
        return
    async with store.transaction() as inside, inside.writing() as unit:
        for key, trouble in found.items():
            alert = open_.get(key)
            if alert is None:
                await alerts.begin(unit, trouble, now)
            elif alert.message != trouble.message or abs(now - alert.last_at) > _WRITE_EVERY:
                await alerts.change(unit, alert, message=trouble.message, last_at=now)
        ended = [alert for key, alert in open_.items() if key not in found]
        for alert in ended:
            await alerts.change(unit, alert, ended_at=now)
        await _tell(store, ended, now)


async def _tell(store: SqlStore, ended: Iterable[Alert], now: datetime) -> None:
    """Queue what channels are to hear: alerts that began, or whose silence ended, and ends."""
    channels = [one for one in await store.list(AlertChannel) if not one.spec.paused]
    silences = await store.list(AlertSilence)
    going_on = await alerts.list_alerts(store, ended=False)
    told = [("resolved", alert) for alert in ended if alert.told]
    told += [("firing", one) for one in going_on if not one.told and not one.acknowledged_by]
    for state, alert in told:
        if any(_covers(silence, alert, now) for silence in silences):
            continue
        body = body_of(alert, state)
        uids = [c.metadata.uid for c in channels if wants(c, alert)]
        await alerts.enqueue(store, uids, body, now)
        async with store.writing() as unit:
            await alerts.change(unit, alert, told=int(state == "firing"))
        log.info("alert", state=state, rule=alert.rule, object=_name(alert), channels=len(uids))


def wants(channel: AlertChannel, alert: Alert) -> bool:
    """Tell whether a channel is told of an alert."""
    spec = channel.spec
    return (not spec.rules or alert.rule in spec.rules) and (
        not spec.projects or alert.project in spec.projects
    )


def body_of(alert: Alert, state: str) -> Document:
    """Return what is sent of an alert."""
    return {
        "state": state,
        "id": alert.id,
        "rule": alert.rule,
        "object": {"kind": alert.kind, "project": alert.project, "name": alert.name},
        "message": alert.message,
        "since": alert.since.isoformat(),
        "count": alert.times,
    }


def _covers(silence: AlertSilence, alert: Alert, now: datetime) -> bool:
    return silence.spec.covers(
        now, rule=alert.rule, kind=alert.kind, project=alert.project, name=alert.name
    )


def _name(alert: Alert) -> str:
    return f"{alert.kind} {alert.project}/{alert.name}" if alert.project else alert.name


async def _keys(store: SqlStore, now: datetime) -> list[Trouble]:
    return [
        Trouble(
            AlertRule.KEY_ENDING,
            "APIKey",
            "",
            name,
            id_,
            "",
            f"the API key {name} of {user} ends {ends:%Y-%m-%d %H:%M} UTC: make another one",
            now,
        )
        for id_, name, user, ends in await alerts.keys_ending(store, now + ENDS_WITHIN)
    ]


def _certificate(file: Path | None, now: datetime) -> list[Trouble]:
    if file is None:
        return []
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415 - for who gave one

    try:
        ends = load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        log.warning("the server certificate cannot be read", file=str(file), error=str(error))
        return []
    if ends - now > ENDS_WITHIN:
        return []
    message = f"the hub's certificate {file} ends {ends:%Y-%m-%d %H:%M} UTC: replace the file"
    rule = AlertRule.CERTIFICATE_ENDING
    return [Trouble(rule, "Hub", "", "hub", "hub", "", message, now)]
