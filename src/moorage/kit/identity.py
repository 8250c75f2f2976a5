"""Who somebody is: a P-256 key that signs, and the fingerprint that people compare."""

import base64
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from moorage.kit import p256
from moorage.kit.errors import ForbiddenError


def colons(digest: bytes) -> str:
    """Write a digest as people compare it: ``AB:CD:…``."""
    return digest.hex(":").upper()


class PublicIdentity(p256.PublicKey):
    """Checks signatures of the owner of the private half."""

    what = "an identity key"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER form, ``AB:CD:…``."""
        return colons(hashlib.sha256(self.der).digest())

    def verify(self, signature: str, message: bytes) -> None:
        """Raise ``ForbiddenError`` unless the owner of this key signed exactly ``message``."""
        try:
            raw = base64.b64decode(signature, validate=True)
            self._key.verify(raw, message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError) as error:
            raise ForbiddenError(
                f"the signature was not made by the key with fingerprint {self.fingerprint}"
            ) from error


class PrivateIdentity(p256.PrivateKey):
    """Signs. Never leaves the machine that made it."""

    what = "an identity key"

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
