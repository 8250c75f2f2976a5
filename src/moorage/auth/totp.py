"""Codes of an authenticator app (RFC 6238): six digits, every 30 seconds others, each used once."""

import base64
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote, urlencode

from moorage.auth.tokens import hash_secret
from moorage.kit.ids import random_word

_STEP_S = 30
_DIGITS = 6
_RECOVERY_CODES = 10


def new_totp_secret() -> str:
    """Return 160 random bits, as apps take them: base32."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def totp_uri(secret: str, username: str, hub: str) -> str:
    """Return what an app reads from a QR code."""
    label = quote(f"Moorage {hub}:{username}")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': f'Moorage {hub}'})}"


def totp_step(secret: str, code: str, now: datetime, *, after: int) -> int | None:
    """Return the step that a code is of; ``None``: of none that still counts.

    One step earlier or later is let pass, for clocks differ; none at or before ``after``, so that
    nobody uses a code again that he saw somebody type.
    """
    from cryptography.hazmat.primitives.hashes import SHA1  # noqa: PLC0415 - seldom needed
    from cryptography.hazmat.primitives.twofactor.totp import TOTP  # noqa: PLC0415

    if len(code) != _DIGITS or not (code.isascii() and code.isdigit()):
        return None
    app = TOTP(base64.b32decode(secret), _DIGITS, SHA1(), _STEP_S)  # noqa: S303 - what apps speak
    current = int(now.timestamp()) // _STEP_S
    for step in (current - 1, current, current + 1):
        right = hmac.compare_digest(app.generate(step * _STEP_S), code.encode())
        if right and step > after:
            return step
    return None


def new_recovery_codes() -> list[str]:
    """Make codes that stand in for the app, each once."""
    return [f"{random_word(6)}-{random_word(6)}" for _ in range(_RECOVERY_CODES)]


def recovery_hash(code: str) -> str:
    """Hash for the store: 60 random bits, and a throttle before them."""
    return hash_secret(code.strip().lower())
