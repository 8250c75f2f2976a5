"""Elliptic-curve keys on P-256 as PEM: what identities and sealing keys have in common."""

from typing import ClassVar, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from moorage.kit.errors import InvalidError

_CURVE = "secp256r1"


class PublicKey:
    """The half that may be shown."""

    what: ClassVar[str]
    """What the key is, for errors, such as ``a sealing key``."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    @classmethod
    def from_pem(cls, pem: str) -> Self:
        """Read a PEM public key; raises ``InvalidError`` unless it is on P-256."""
        try:
            key = serialization.load_pem_public_key(pem.encode())
        except ValueError as error:
            raise InvalidError(f"{cls.what} is not a PEM public key: {error}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE:
            raise InvalidError(f"{cls.what} must be an elliptic-curve key on P-256")
        return cls(key)

    @property
    def pem(self) -> str:
        """The key as PEM (SubjectPublicKeyInfo)."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    @property
    def der(self) -> bytes:
        """The key as DER (SubjectPublicKeyInfo): what fingerprints are made of."""
        return self._key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )


class PrivateKey:
    """The half that never leaves the machine that made it."""

    what: ClassVar[str]
    """What the key is, for errors, such as ``a sealing key``."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: str) -> Self:
        """Read an unencrypted PEM private key; raises ``InvalidError`` unless it is on P-256."""
        try:
            key = serialization.load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError) as error:
            raise InvalidError(f"{cls.what} is not a PEM private key: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != _CURVE:
            raise InvalidError(f"{cls.what} must be an elliptic-curve key on P-256")
        return cls(key)

    @property
    def pem(self) -> str:
        """The key as PEM (PKCS 8, unencrypted): for files that only their owner can read."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
