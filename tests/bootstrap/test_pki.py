"""The cluster's authorities, what is derived from the master secret, and client certificates."""

import re
from datetime import timedelta

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from moorage.bootstrap import (
    ClusterPKI,
    admin_kubeconfig,
    bootstrap_token,
    ca_hash,
    certificate_key,
    gateway_client,
    generate,
    helper_key,
    sign_client,
)
from moorage.kit.errors import InvalidError
from moorage.resources.cluster import KeyType

from .builders import NOW, UID, a_pki

Signer = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def a_csr(key: Signer, common_name: str = "system:masters-please") -> str:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
        ]
    )
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest)
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def names_of(pem: str) -> tuple[str, list[str]]:
    subject = x509.load_pem_x509_certificate(pem.encode()).subject
    (common_name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(common_name.value), [str(group.value) for group in groups]


@pytest.mark.parametrize(
    ("key_type", "kind"),
    [(KeyType.P256, ec.EllipticCurvePrivateKey), (KeyType.RSA2048, rsa.RSAPrivateKey)],
)
def test_authorities_are_of_the_asked_type_and_valid_now(key_type: KeyType, kind: type) -> None:
    pki = generate(key_type, "demo", NOW)

    for pair in (pki.ca, pki.etcd_ca, pki.front_proxy_ca):
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        key = serialization.load_pem_private_key(pair.key.encode(), None)
        assert isinstance(key, kind)
        assert certificate.public_key() == key.public_key()
        assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)
        assert certificate.not_valid_after_utc - NOW == timedelta(days=3650)
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert len({pki.ca.key, pki.etcd_ca.key, pki.front_proxy_ca.key, pki.service_account.key}) == 4
    assert pki.service_account.certificate.startswith("-----BEGIN PUBLIC KEY-----")


def test_bytes_hold_everything() -> None:
    pki = a_pki()

    assert ClusterPKI.from_bytes(pki.to_bytes()) == pki


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format": 1}', b"\xff"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidError, match="not a cluster's keys"):
        ClusterPKI.from_bytes(data)


def test_a_later_format_names_itself() -> None:
    with pytest.raises(InvalidError, match="format 2"):
        ClusterPKI.from_bytes(b'{"format": 2}')


def test_secrets_stay_out_of_texts() -> None:
    pki = a_pki()

    assert "PRIVATE" not in repr(pki)
    assert "master" not in repr(pki)


def test_derived_secrets_never_change_between_releases() -> None:
    pki = a_pki()

    assert bootstrap_token(pki, UID) == snapshot("esscbu.qt90ks2gdogywf3n")
    assert certificate_key(pki) == snapshot(
        "e46e0a57f6d745da38c452028c5860e99c63188f5a7c3a368b2709f41ee2e98d"
    )
    assert helper_key(pki, UID).hex() == snapshot(
        "03ec629c4d359600dde1f941df85271e866d12e2fd60458dba7fac83bc2ee8bd"
    )


@given(st.uuids(), st.uuids())
def test_tokens_are_kubeadms_and_differ_by_machine(one: object, other: object) -> None:
    first, second = (bootstrap_token(a_pki(), str(uid)) for uid in (one, other))

    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", first)
    assert (first == second) == (one == other)
    assert (first.split(".")[0] == second.split(".")[0]) == (one == other)


def test_ca_hash_is_that_of_the_public_key() -> None:
    certificate = x509.load_pem_x509_certificate(a_pki().ca.certificate.encode())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(
        certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )

    assert ca_hash(a_pki().ca.certificate) == f"sha256:{digest.finalize().hex()}"


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa", "p256", "p384", "ed25519"],
)
def test_a_request_gives_its_key_and_nothing_else(key: Signer) -> None:
    signed = sign_client(
        a_pki(), a_csr(key), "ann", ("moorage:cluster-admins",), timedelta(hours=1), now=NOW
    )

    certificate = x509.load_pem_x509_certificate(signed.certificate.encode())
    assert signed.key is None
    assert certificate.public_key() == key.public_key()
    assert names_of(signed.certificate) == ("ann", ["moorage:cluster-admins"])
    assert certificate.not_valid_after_utc == signed.expires_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize("key_type", list(KeyType))
def test_client_certificates_chain_to_the_ca(key_type: KeyType) -> None:
    pki = a_pki(key_type)
    client = gateway_client(pki, now=NOW)

    root = x509.load_pem_x509_certificate(pki.ca.certificate.encode())
    certificate = x509.load_pem_x509_certificate(client.certificate.encode())
    certificate.verify_directly_issued_by(root)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert verification.Store([root])
    assert names_of(client.certificate) == ("moorage-gateway", ["system:masters"])


@pytest.mark.parametrize("off", [timedelta(hours=2), timedelta(hours=-2)])
def test_the_gateways_own_certificate_holds_though_its_clock_is_off(off: timedelta) -> None:
    made = x509.load_pem_x509_certificate(
        gateway_client(a_pki(), now=NOW + off).certificate.encode()
    )
    assert made.not_valid_before_utc <= NOW <= made.not_valid_after_utc


def test_a_client_never_outlives_its_ca() -> None:
    signed = sign_client(a_pki(), None, "ann", (), timedelta(days=36500), now=NOW)

    root = x509.load_pem_x509_certificate(a_pki().ca.certificate.encode())
    assert signed.expires_at == root.not_valid_after_utc


def test_weak_and_broken_requests_are_refused() -> None:
    weak = a_csr(rsa.generate_private_key(public_exponent=65537, key_size=1024))  # noqa: S505
    der = x509.load_pem_x509_csr(
        a_csr(ec.generate_private_key(ec.SECP256R1())).encode()
    ).public_bytes(serialization.Encoding.DER)
    forged = x509.load_der_x509_csr(der.replace(b"please", b"forged"))
    cases = {
        weak: "1024 bits",
        a_csr(ec.generate_private_key(ec.SECP256K1())): "P-256",
        forged.public_bytes(serialization.Encoding.PEM).decode(): "signature",
        "nonsense": "not a PEM certificate request",
        "": "not a PEM certificate request",
    }
    for csr, why in cases.items():
        with pytest.raises(InvalidError, match=why) as caught:
            sign_client(a_pki(), csr, "ann", (), timedelta(hours=1), now=NOW)
        assert [fault.path for fault in caught.value.faults] == ["csr"]


def test_a_lifetime_is_needed() -> None:
    with pytest.raises(InvalidError, match="ttlSeconds"):
        sign_client(a_pki(), None, "ann", (), timedelta(0), now=NOW)


def test_admin_kubeconfig_is_complete_and_not_of_masters() -> None:
    text = admin_kubeconfig(
        a_pki(),
        cluster_name="demo",
        server="https://10.77.1.5:6443",
        user="ann",
        ttl=timedelta(hours=8),
        now=NOW,
    )

    document = yaml.safe_load(text)
    assert document["clusters"][0]["cluster"]["server"] == "https://10.77.1.5:6443"
    assert document["current-context"] == document["contexts"][0]["name"] == "ann@demo"
    user = document["users"][0]["user"]
    assert sorted(user) == ["client-certificate-data", "client-key-data"]
    assert "system:masters" not in text
