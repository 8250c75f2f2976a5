"""Passwords: hashed with Argon2id, verified in the same time whoever is asked for."""

from functools import lru_cache
from typing import NamedTuple

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from moorage.kit.errors import FieldFault, InvalidError

MIN_LENGTH = 12
MAX_LENGTH = 256

_ARGON = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))
"""OWASP's parameters: 19 MiB for each verification, so that many logins cannot fill the memory."""


class Verdict(NamedTuple):
    """Whether the password is right, and a new hash when the stored one is out of date."""

    ok: bool
    new_hash: str | None = None


def hash_password(password: str) -> str:
    """Hash a password that ``check_password`` let pass. Takes tens of milliseconds."""
    return _ARGON.hash(password)


def verify_password(password: str, stored: str | None) -> Verdict:
    """Compare with the stored hash; ``None`` (nobody of that name) takes just as long."""
    if len(password) > MAX_LENGTH:
        password, stored = password[:MAX_LENGTH], None
    if stored is None:
        _ARGON.verify(password, _decoy())
        return Verdict(ok=False)
    try:
        ok, new_hash = _ARGON.verify_and_update(password, stored)
    except UnknownHashError:
        return Verdict(ok=False)
    return Verdict(ok, new_hash)


def check_password(password: str, *, username: str, path: str = "password") -> None:
    """Refuse what is too short, too long or the user's own name; length beats odd characters."""
    faults = []
    if len(password) < MIN_LENGTH:
        faults.append(FieldFault(path, f"must have {MIN_LENGTH} characters or more"))
    if len(password) > MAX_LENGTH:
        faults.append(FieldFault(path, f"must have {MAX_LENGTH} characters at most"))
    if username and username.lower() in password.lower() and len(password) < 2 * MIN_LENGTH:
        faults.append(FieldFault(path, "must not contain the user's name"))
    if password and len(set(password)) < MIN_LENGTH // 3:
        faults.append(FieldFault(path, "repeats too few characters"))
    if faults:
        raise InvalidError("the password is not good enough", tuple(faults))


@lru_cache(maxsize=1)
def _decoy() -> str:
    return _ARGON.hash("nobody has this password")
