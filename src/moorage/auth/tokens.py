"""Bearer tokens: a public id to find them by and a secret of which only a hash is stored."""

import base64
import hashlib
import hmac
import re
import secrets
from enum import StrEnum
from typing import NamedTuple

from moorage.kit.ids import random_word

_SECRET_BYTES = 32
_TEXT = re.compile(r"^(mrs|mrk)_([a-z0-9]{12})_([A-Za-z0-9_-]{43})$")
_ENROLMENT = re.compile(r"^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\.([A-Za-z0-9_-]{43})$")


class TokenKind(StrEnum):
    """What a token is; its prefix lets secret scanners find leaked ones."""

    SESSION = "mrs"
    API_KEY = "mrk"


class Token(NamedTuple):
    """A token as its holder sees it. The secret is never stored."""

    kind: TokenKind
    id: str
    secret: str

    @property
    def text(self) -> str:
        """What the holder sends as ``Authorization: Bearer …``."""
        return f"{self.kind}_{self.id}_{self.secret}"

    def __repr__(self) -> str:
        return f"Token({self.kind}_{self.id}_…)"


class EnrolmentToken(NamedTuple):
    """Lets one gateway enrol once: ``name.secret``."""

    gateway: str
    secret: str

    @property
    def text(self) -> str:
        """What ``moorage-gateway enroll --token`` takes."""
        return f"{self.gateway}.{self.secret}"

    def __repr__(self) -> str:
        return f"EnrolmentToken({self.gateway}.…)"


def new_token(kind: TokenKind) -> Token:
    """Make a session token or an API key of 256 random bits."""
    return Token(kind, random_word(12), secrets.token_urlsafe(_SECRET_BYTES))


def new_enrolment_token(gateway: str) -> EnrolmentToken:
    """Make a one-time token for the gateway of that name."""
    return EnrolmentToken(gateway, secrets.token_urlsafe(_SECRET_BYTES))


def parse_token(text: str) -> Token | None:
    """Read a token; ``None`` when it is none of ours."""
    match = _TEXT.match(text)
    return Token(TokenKind(match[1]), match[2], match[3]) if match else None


def parse_enrolment_token(text: str) -> EnrolmentToken | None:
    """Read an enrolment token; ``None`` when it is none."""
    match = _ENROLMENT.match(text.strip())
    return EnrolmentToken(match[1], match[2]) if match else None


def hash_secret(secret: str) -> str:
    """Hash for the store. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_secret(secret: str, stored_hash: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(hash_secret(secret), stored_hash)


def csrf_token(session: str) -> str:
    """Return what a page sends with each write of a cookie session, made from its token.

    Whoever knows the session's token can make it; it does not lead back to that token.
    """
    digest = hmac.digest(session.encode(), b"moorage csrf", "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_csrf_token(given: str, session: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(), csrf_token(session).encode())
