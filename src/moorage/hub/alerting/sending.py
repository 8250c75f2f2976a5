"""Send what is queued: try again with growing pauses, and note what came back."""

import json
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import anyio
import structlog

from moorage.kit.errors import MoorageError
from moorage.resources import AlertChannel
from moorage.store import SqlStore, alerts
from moorage.store.alerts import Delivery

log = structlog.get_logger(__name__)

ATTEMPTS = 10
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=2)
_AT_ONCE = 20
_DEADLINE_S = 30


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where e-mail is handed over. TLS is always used, and verified."""

    host: str
    port: int
    implicit_tls: bool
    """``smtps://``; else STARTTLS."""
    username: str
    password: str
    sender: str
    ca: Path | None = None
    """Instead of the system's CAs."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What the administrator allows and offers."""

    allowed: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that webhooks may reach though they are not public."""
    mail: MailServer | None = None


async def send_due(store: SqlStore, ways: Ways) -> None:
    """Send what is due, each once."""
    due = await alerts.due_deliveries(store, limit=_AT_ONCE)
    if not due:
        return
    channels = {one.metadata.uid: one for one in await store.list(AlertChannel)}
    async with anyio.create_task_group() as tasks:
        for delivery in due:
            tasks.start_soon(_send, store, ways, delivery, channels.get(delivery.channel_uid))


async def _send(
    store: SqlStore, ways: Ways, delivery: Delivery, channel: AlertChannel | None
) -> None:
    delivered, final = False, channel is None
    if channel is None:
        answer = "the channel is gone"
    else:
        try:
            with anyio.fail_after(_DEADLINE_S):
                answer = await _hand_over(store, ways, delivery, channel)
            delivered = True
        except (MoorageError, OSError, TimeoutError) as error:
            answer = str(error) or type(error).__name__
    again = None
    if not delivered and not final and delivery.attempts + 1 < ATTEMPTS:
        pause = min(_FIRST_PAUSE * 2**delivery.attempts, _LONGEST_PAUSE)
        again = store.clock.now() + pause
    await alerts.note_sent(store, delivery, answer, delivered=delivered, again=again)
    if not delivered:
        name = channel.metadata.name if channel else delivery.channel_uid
        log.warning("alert not delivered", channel=name, answer=answer, again=str(again))


async def _hand_over(store: SqlStore, ways: Ways, delivery: Delivery, channel: AlertChannel) -> str:
    """Send by the channel's way and return what came back; raises what went wrong."""
    if channel.spec.url is not None:
        from moorage.hub.alerting.webhook import post  # noqa: PLC0415 - only for who has one

        secret = await alerts.get_secret(store, channel.metadata.uid)
        now = store.clock.now()
        return await post(channel.spec.url, delivery, secret, now, ways.allowed)
    from moorage.hub.alerting.mail import send_mail  # noqa: PLC0415

    body = json.loads(delivery.body)
    return await send_mail(ways.mail, channel.spec.mail_to, body, delivery.id)
