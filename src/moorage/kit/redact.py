"""Keep secrets out of logs, conditions and audit entries: by the key's name and by the look."""

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

_SECRET_WORDS = ("password", "passwd", "passphrase", "token", "secret", "authorization", "cookie")
_SECRET_KEYS = frozenset({"key", "pwd", "credential", "credentials", "userdata"})
_KEY_SUFFIXES = ("private_key", "api_key", "secret_key", "certificate_key", "sealing_key_pem")
_HARMLESS = frozenset({"secret_name", "secret_ref", "token_id", "key_id", "token_expires_at"})

_PEM = re.compile(
    r"-----BEGIN (?P<label>[A-Z0-9 ]*PRIVATE KEY)-----.*?(-----END (?P=label)-----|\Z)", re.DOTALL
)
_ASSIGNED = re.compile(
    r"""(?P<name>["']?[\w.-]*(?:password|passwd|passphrase|token|secret|api[_-]?key)["']?\s*[=:]\s*)"""
    r"""(?P<value>"[^"]*"|'[^']*'|[^\s,;&"'}\]]+)""",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"(?P<name>(?:authorization\s*[:=]\s*)?\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}",
    re.IGNORECASE,
)
_URL_USER = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@", re.IGNORECASE)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


def is_secret_name(name: str) -> bool:
    """Tell whether the value under this key is taken for a secret, in any spelling of the key."""
    snake = "_".join(word.lower() for word in _WORDS.findall(name))
    if snake in _HARMLESS:
        return False
    parts = snake.split("_")
    return (
        snake in _SECRET_KEYS
        or snake.endswith(_KEY_SUFFIXES)
        or any(part.startswith(word) for word in _SECRET_WORDS for part in parts)
    )


def redact_text(text: str) -> str:
    """Return the text without PEM private keys, ``password=…`` and the like, bearer tokens."""
    text = _PEM.sub(REDACTED, text)
    text = _AUTHORIZATION.sub(rf"\g<name>{REDACTED}", text)
    text = _URL_USER.sub(rf"\g<head>:{REDACTED}@", text)
    return _ASSIGNED.sub(rf"\g<name>{REDACTED}", text)


def redact(value: Any, *, _name: str = "") -> Any:
    """Return a copy of JSON-like data in which secrets are replaced."""
    if _name and is_secret_name(_name) and isinstance(value, str | bytes):
        return REDACTED if value else value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return REDACTED
    if isinstance(value, Mapping):
        return {key: redact(item, _name=str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, _name=_name) for item in value]
    return value
