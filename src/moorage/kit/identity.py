"""Who somebody is: a P-256 key that signs, and the fingerprint that people compare."""

import base64
import hashlib
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from moorage.kit import p256
from moorage.kit.errors import ForbiddenError


def colons(digest: bytes) -> str:
    """Write a digest as people compare it: ``AB:CD:…``."""
    return digest.hex(":").upper()


class PublicIdentity:
    """Checks signatures of the owner of the private half."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    @classmethod
    def from_pem(cls, pem: str) -> Self:
        """Read a PEM public key; raises ``InvalidError`` unless it is on P-256."""
        return cls(p256.read_public(pem, "an identity key"))

    @property
    def pem(self) -> str:
        """The key as PEM (SubjectPublicKeyInfo)."""
        return p256.public_pem(self._key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER form, ``AB:CD:…``."""
        return colons(hashlib.sha256(p256.public_der(self._key)).digest())

    def verify(self, signature: str, message: bytes) -> None:
        """Raise ``ForbiddenError`` unless the owner of this key signed exactly ``message``."""
        try:
            raw = base64.b64decode(signature, validate=True)
            self._key.verify(raw, message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError) as error:
            raise ForbiddenError(
                f"the signature was not made by the key with fingerprint {self.fingerprint}"
            ) from error


class PrivateIdentity:
    """Signs. Never leaves the machine that made it."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: str) -> Self:
        """Read an unencrypted PEM private key; raises ``InvalidError`` unless it is on P-256."""
        return cls(p256.read_private(pem, "an identity key"))

    @property
    def pem(self) -> str:
        """The key as PEM (PKCS 8, unencrypted): for files that only their owner can read."""
        return p256.private_pem(self._key)

    def public(self) -> PublicIdentity:
        """Return the public half."""
        return PublicIdentity(self._key.public_key())

    def sign(self, message: bytes) -> str:
        """Return the ECDSA (SHA-256) signature in base64."""
        return base64.b64encode(self._key.sign(message, ec.ECDSA(hashes.SHA256()))).decode()

    def __repr__(self) -> str:
        return f"PrivateIdentity({self.public().fingerprint})"


def sealing_key_statement(gateway: str, sealing_key_id: str) -> bytes:
    """Return what a gateway's identity key signs to vouch for its sealing key."""
    return f"moorage sealing key v1\n{gateway}\n{sealing_key_id}".encode()
