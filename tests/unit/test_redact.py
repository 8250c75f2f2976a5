"""Redaction: secrets go, by name and by look; what people need stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.kit.redact import REDACTED, is_secret_name, redact, redact_text

PEM = """-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIB0fYc3r
-----END EC PRIVATE KEY-----"""


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "newPassword",
        "bootstrap_token",
        "bootstrapToken",
        "Authorization",
        "client-secret",
        "key",
        "API_KEY",
        "privateKey",
        "certificateKey",
        "passphrase",
        "Set-Cookie",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)
    assert redact({name: "hunter2"}) == {name: REDACTED}


@pytest.mark.parametrize("name", ["name", "keyId", "secretName", "monkey", "public_key", "keys"])
def test_harmless_names_are_left_alone(name: str) -> None:
    assert redact({name: "shown"}) == {name: "shown"}


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        (f"read {PEM} from disk", "MHcCAQEEIB0fYc3r"),
        (PEM[:60], "MHcCAQEEIB0fYc3r"),  # cut off: no end line
        ("login with password=hunter2 refused", "hunter2"),
        ('{"password": "hunter2"}', "hunter2"),
        ("{'token': 'hunter2'}", "hunter2"),
        ("Authorization: Bearer hunter2hunter2", "hunter2"),
        ("GET https://user:hunter2@vcenter/sdk", "hunter2"),
        ("api_key=hunter2&x=1", "hunter2"),
    ],
)
def test_secrets_in_text_are_blotted_out(text: str, gone: str) -> None:
    cleaned = redact_text(text)

    assert gone not in cleaned
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "vCenter task task-17 failed: the host has no datastore ds1",
        "https://vcenter.example.com:443/sdk",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "VMCreated: Cloning",
    ],
)
def test_what_people_need_stays(text: str) -> None:
    assert redact_text(text) == text


def test_nested_data_is_gone_through() -> None:
    data = {"spec": {"users": [{"name": "a", "password": "hunter2"}], "note": PEM}, "n": 1}

    assert redact(data) == {
        "spec": {"users": [{"name": "a", "password": REDACTED}], "note": REDACTED},
        "n": 1,
    }
    assert data["spec"] != redact(data)["spec"]  # the original is left as it was


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_data_keeps_its_shape_and_twice_is_once(data: object) -> None:
    once = redact(data)

    assert type(once) is type(data)
    assert redact(once) == once
