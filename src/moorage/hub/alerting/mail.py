"""Hand an alert to a mail server, over TLS that is verified."""

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial

import anyio.to_thread

from moorage.hub.alerting.sending import MailServer
from moorage.kit.errors import ForbiddenError, UnavailableError
from moorage.resources.meta import Document

_TIMEOUT_S = 10


async def send_mail(
    server: MailServer | None, to: Sequence[str], body: Document, delivery: str
) -> str:
    """Send a mail; raises ``ForbiddenError`` without a server, ``UnavailableError``."""
    if server is None:
        raise ForbiddenError(
            "this hub has no mail server: an administrator of the hub gives one with --smtp"
        )
    message = message_of(server.sender, to, body, delivery)
    send = partial(_send, server, message)
    return await anyio.to_thread.run_sync(send, abandon_on_cancel=True)


def message_of(sender: str, to: Sequence[str], body: Document, delivery: str) -> EmailMessage:
    """Return the mail that tells of an alert."""
    subject = body["object"]
    name = f"{subject['project']}/{subject['name']}" if subject["project"] else subject["name"]
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(to)
    line = f"[Moorage] {body['state']}: {body['rule']} {subject['kind']} {name}"
    message["Subject"] = " ".join(line.split())
    message["X-Moorage-Delivery"] = delivery
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"{body['message']}\n\nSince {body['since']}, {body['count']} times so far.\n"
        f"moorage alerts ack {body['id']}\n"
    )
    return message


def _send(server: MailServer, message: EmailMessage) -> str:
    context = ssl.create_default_context(cafile=server.ca)
    where = f"{server.host}:{server.port}"
    try:
        if server.implicit_tls:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=_TIMEOUT_S, context=context
            )
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
        with smtp:
            if not server.implicit_tls:
                smtp.starttls(context=context)
            if server.username:
                smtp.login(server.username, server.password)
            refused = smtp.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise UnavailableError(f"the mail server {where}: {error}") from error
    return f"taken by {where}" + (f", but not for {', '.join(refused)}" if refused else "")
