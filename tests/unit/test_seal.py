"""Envelopes open for their recipients, in their context, unchanged, and not otherwise."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.kit.errors import ForbiddenError
from moorage.kit.seal import PrivateSealingKey, SealedEnvelope, seal

GATEWAY = PrivateSealingKey.generate()
RECOVERY = PrivateSealingKey.generate()
CONTEXT = {"installation": "i", "kind": "CloudAccount", "name": "prod", "server": "vc.example"}


def sealed(secret: bytes = b"hunter2") -> SealedEnvelope:
    return seal(secret, [GATEWAY.public(), RECOVERY.public()], CONTEXT)


@given(st.binary(max_size=200))
def test_each_recipient_opens_it(secret: bytes) -> None:
    envelope = SealedEnvelope.model_validate_json(sealed(secret).model_dump_json(by_alias=True))

    assert GATEWAY.open(envelope, CONTEXT) == secret
    assert RECOVERY.open(envelope, CONTEXT) == secret


def test_a_stranger_does_not() -> None:
    with pytest.raises(ForbiddenError, match="not sealed to this key"):
        PrivateSealingKey.generate().open(sealed(), CONTEXT)


def test_another_context_is_refused_and_named() -> None:
    with pytest.raises(ForbiddenError, match="another server"):
        GATEWAY.open(sealed(), {**CONTEXT, "server": "evil.example"})


def test_a_rewritten_context_is_refused() -> None:
    evil = {**CONTEXT, "server": "evil.example"}
    envelope = sealed().model_copy(update={"context": evil})

    with pytest.raises(ForbiddenError, match="changed on the way"):
        GATEWAY.open(envelope, evil)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_flipped_bit_is_refused(place: int) -> None:
    envelope = sealed()
    raw = bytearray(base64.b64decode(envelope.ciphertext))
    raw[place] ^= 1
    changed = envelope.model_copy(update={"ciphertext": base64.b64encode(raw).decode()})

    with pytest.raises(ForbiddenError):
        GATEWAY.open(changed, CONTEXT)


def test_nothing_secret_is_shown() -> None:
    assert "ciphertext" not in repr(sealed())
    assert "PRIVATE" not in repr(GATEWAY)


def test_a_recipient_lets_another_one_in_without_changing_what_is_sealed() -> None:
    other, envelope = PrivateSealingKey.generate(), sealed()

    shared = RECOVERY.share(envelope, other.public())

    assert [key.open(shared, CONTEXT) for key in (GATEWAY, RECOVERY, other)] == [b"hunter2"] * 3
    assert (shared.context, shared.ciphertext) == (envelope.context, envelope.ciphertext)
    with pytest.raises(ForbiddenError, match="not sealed to this key"):
        PrivateSealingKey.generate().share(envelope, other.public())


def test_the_one_who_lets_others_in_stays_a_recipient_however_many_come() -> None:
    envelope = sealed()
    for _ in range(20):
        last = PrivateSealingKey.generate()
        envelope = RECOVERY.share(envelope, last.public())

    again = SealedEnvelope.model_validate_json(envelope.model_dump_json(by_alias=True))
    assert last.open(again, CONTEXT) == RECOVERY.open(again, CONTEXT) == b"hunter2"
