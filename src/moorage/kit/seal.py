"""Envelopes that only named recipients can open (design, 3.9).

A random AES-256-GCM key encrypts the secret; it is wrapped for each recipient with a key that
HKDF-SHA256 derives from an ephemeral P-256 ECDH. The context (what the secret is for) is
authenticated, not secret: whoever opens an envelope states the context that he expects, and a
different one is refused, so that a stolen hub cannot send a password elsewhere.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from moorage.kit import p256
from moorage.kit.errors import ForbiddenError, InvalidError

_ALGORITHM = "P256-HKDF-SHA256-A256GCM"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_MOST_RECIPIENTS = 16
_CHANGED = "the sealed secret was changed on the way: seal it again"


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class WrappedKey(_Model):
    """The content key, for one recipient."""

    recipient: str
    """``key_id`` of the recipient's public key."""
    ephemeral: str
    """Base64 of the ephemeral public point (uncompressed)."""
    wrapped: str
    """Base64 of nonce and sealed content key."""


class SealedEnvelope(_Model):
    """A secret that only its recipients can open. ``context`` is readable by everybody."""

    algorithm: str = Field(default=_ALGORITHM, pattern=f"^{_ALGORITHM}$")
    context: dict[str, str]
    ciphertext: str
    """Base64 of nonce and sealed secret."""
    keys: list[WrappedKey] = Field(min_length=1, max_length=_MOST_RECIPIENTS)

    def __repr__(self) -> str:
        return f"SealedEnvelope(context={self.context!r})"

    __str__ = __repr__


class PublicSealingKey(p256.PublicKey):
    """To whom one can seal."""

    what = "a sealing key"

    @property
    def key_id(self) -> str:
        """SHA-256 of the DER form, hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    def wrap(self, content_key: bytes, context: bytes) -> WrappedKey:
        """Wrap a content key for the owner of this key."""
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        point = ephemeral.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        shared = ephemeral.exchange(ec.ECDH(), self._key)
        wrapped = _encrypt(_derive(shared, point, self.key_id), content_key, context)
        return WrappedKey(recipient=self.key_id, ephemeral=_b64(point), wrapped=_b64(wrapped))


class PrivateSealingKey(p256.PrivateKey):
    """Opens what was sealed to its public half."""

    what = "a sealing key"

    def public(self) -> PublicSealingKey:
        """Return the public half."""
        return PublicSealingKey(self._key.public_key())

    def open(self, envelope: SealedEnvelope, context: Mapping[str, str]) -> bytes:
        """Return the secret.

        Raises ``ForbiddenError`` when the envelope was sealed for another context, to other
        recipients, or was changed on the way.
        """
        content_key = self._content_key(envelope, context)
        aad = _context_bytes(context)
        try:
            return _decrypt(content_key, base64.b64decode(envelope.ciphertext, validate=True), aad)
        except (InvalidTag, ValueError) as error:
            raise ForbiddenError(_CHANGED) from error

    def share(self, envelope: SealedEnvelope, recipient: PublicSealingKey) -> SealedEnvelope:
        """Return the envelope with one recipient more: the secret itself is not looked at.

        The oldest recipient but the owner of this key makes room if there are too many. Raises
        ``ForbiddenError`` when this key does not open the envelope.
        """
        content_key = self._content_key(envelope, envelope.context)
        mine = self.public().key_id
        others = [key for key in envelope.keys if key.recipient not in (recipient.key_id, mine)]
        own = [key for key in envelope.keys if key.recipient == mine]
        added = recipient.wrap(content_key, _context_bytes(envelope.context))
        room = _MOST_RECIPIENTS - len(own) - 1
        return envelope.model_copy(update={"keys": [*others[-room:], *own, added]})

    def _content_key(self, envelope: SealedEnvelope, context: Mapping[str, str]) -> bytes:
        if dict(context) != envelope.context:
            differing = sorted(
                key
                for key in {*context, *envelope.context}
                if context.get(key) != envelope.context.get(key)
            )
            raise ForbiddenError(
                f"the sealed secret was made for another {', '.join(differing)}: seal it again"
            )
        mine = self.public().key_id
        wrapped = next((key for key in envelope.keys if key.recipient == mine), None)
        if wrapped is None:
            raise ForbiddenError("the secret is not sealed to this key: seal it again")
        aad = _context_bytes(context)
        try:
            point = base64.b64decode(wrapped.ephemeral, validate=True)
            peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            key = _derive(self._key.exchange(ec.ECDH(), peer), point, mine)
            return _decrypt(key, base64.b64decode(wrapped.wrapped, validate=True), aad)
        except (InvalidTag, ValueError) as error:
            raise ForbiddenError(_CHANGED) from error

    def __repr__(self) -> str:
        return "PrivateSealingKey(…)"


def seal(
    secret: bytes, recipients: Sequence[PublicSealingKey], context: Mapping[str, str]
) -> SealedEnvelope:
    """Seal ``secret`` to every recipient, for one stated use."""
    if not recipients:
        raise InvalidError("a secret must be sealed to somebody")
    aad = _context_bytes(context)
    content_key = os.urandom(_KEY_BYTES)
    return SealedEnvelope(
        context=dict(context),
        ciphertext=_b64(_encrypt(content_key, secret, aad)),
        keys=[recipient.wrap(content_key, aad) for recipient in recipients],
    )


def _context_bytes(context: Mapping[str, str]) -> bytes:
    return json.dumps([_ALGORITHM, sorted(context.items())], ensure_ascii=True).encode()


def _derive(shared: bytes, point: bytes, recipient: str) -> bytes:
    info = b"moorage seal v1" + point + bytes.fromhex(recipient)
    return HKDF(hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(shared)


def _encrypt(key: bytes, plain: bytes, aad: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, aad)


def _decrypt(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], aad)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
