"""Identities: chosen before the effect that they name, so that a repeated call finds its result."""

import secrets
import uuid

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_uid() -> str:
    """Return a random UUID (version 4), lower case with dashes."""
    return str(uuid.uuid4())


def uid_suffix(uid: str, length: int = 10) -> str:
    """Return the first ``length`` hexadecimal digits of a UID: the unique end of a VM's name."""
    return uid.replace("-", "")[:length]


def random_word(length: int) -> str:
    """Return a secret word of lower-case letters and digits from the system's random source."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
