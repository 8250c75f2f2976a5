"""Elliptic-curve keys on P-256 as PEM: what identities and sealing keys have in common."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from moorage.kit.errors import InvalidError

_CURVE = "secp256r1"


def read_public(pem: str, what: str) -> ec.EllipticCurvePublicKey:
    """Read a PEM public key; raises ``InvalidError``, naming ``what`` it was for."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except ValueError as error:
        raise InvalidError(f"{what} is not a PEM public key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE:
        raise InvalidError(f"{what} must be an elliptic-curve key on P-256")
    return key


def read_private(pem: str, what: str) -> ec.EllipticCurvePrivateKey:
    """Read an unencrypted PEM private key; raises ``InvalidError``, naming ``what`` it was for."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise InvalidError(f"{what} is not a PEM private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != _CURVE:
        raise InvalidError(f"{what} must be an elliptic-curve key on P-256")
    return key


def public_pem(key: ec.EllipticCurvePublicKey) -> str:
    """Return the key as PEM (SubjectPublicKeyInfo)."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def public_der(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the key as DER (SubjectPublicKeyInfo): what fingerprints are made of."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the key as PEM (PKCS 8, unencrypted): for files that only their owner can read."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
