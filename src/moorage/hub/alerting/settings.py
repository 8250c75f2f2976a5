"""What the hub's administrator allows alerts: a mail server, and networks for webhooks."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from moorage.hub.alerting.sending import MailServer, Ways
from moorage.kit.errors import FieldFault, InvalidError

_PORTS = {"smtp": 587, "smtps": 465}


def ways_of(given: Mapping[str, Any]) -> Ways:
    """Read the settings; raises ``InvalidError`` with every fault.

    Args:
        given: ``smtp``, ``smtp_from``, ``smtp_password_file``, ``smtp_ca``, ``alert_networks``.
    """
    faults: list[FieldFault] = []
    allowed = tuple(
        network
        for text in given["alert_networks"]
        if (network := _network(text, faults)) is not None
    )
    mail = _mail(given, faults) if given["smtp"] else None
    if faults:
        raise InvalidError("the settings for alerts cannot be used", tuple(faults))
    return Ways(allowed=allowed, mail=mail)


def _network(text: str, faults: list[FieldFault]) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError as error:
        faults.append(FieldFault("alert-network", f"{error}: write it like 10.0.4.0/24"))
        return None


def _mail(given: Mapping[str, Any], faults: list[FieldFault]) -> MailServer | None:
    parts = urlsplit(given["smtp"])
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
    if parts.scheme not in _PORTS or not parts.hostname or parts.password or not port:
        faults.append(
            FieldFault("smtp", "write smtp://user@host:587 (STARTTLS) or smtps://user@host:465")
        )
    sender = given["smtp_from"] or ""
    if "@" not in sender or not sender.isprintable():
        faults.append(FieldFault("smtp-from", "is needed with smtp: the address that mails are of"))
    password = _password(given["smtp_password_file"], faults)
    if faults:
        return None
    return MailServer(
        host=parts.hostname or "",
        port=port,
        implicit_tls=parts.scheme == "smtps",
        username=unquote(parts.username or ""),
        password=password,
        sender=sender,
        ca=Path(given["smtp_ca"]) if given["smtp_ca"] else None,
    )


def _password(file: str | None, faults: list[FieldFault]) -> str:
    if file is None:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        faults.append(FieldFault("smtp-password-file", f"{file} cannot be read: {error}"))
        return ""
