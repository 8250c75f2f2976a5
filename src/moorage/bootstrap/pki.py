"""The cluster's certificate authorities, keys and master secret, and what is derived from them.

Moorage makes them before the first machine, so that every machine can be rendered, and every
client certificate signed, without asking a node. Whoever holds ``ClusterPKI`` holds the cluster:
it is stored sealed only (``ClusterKeys``).
"""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID

from moorage.kit.errors import InvalidError
from moorage.resources.cluster import KeyType

CA_LIFETIME = timedelta(days=3650)
CLOCK_SKEW = timedelta(minutes=5)
"""Certificates begin this long before they are made: a node's clock may be behind ours."""

_MASTER_BYTES = 32
_WORD_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_FORMAT = 1

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """PEM of a certificate (or of a public key) and of its private key."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClusterPKI:
    """Everything from which a cluster's identities come."""

    ca: KeyPair
    etcd_ca: KeyPair
    front_proxy_ca: KeyPair
    service_account: KeyPair
    """Not a certificate: the public key, as kubeadm's ``sa.pub``."""
    master: bytes = field(repr=False)
    """Source of the tokens and keys that are derived for each machine."""

    def to_bytes(self) -> bytes:
        """Return the whole as bytes, to be sealed."""
        document: dict[str, object] = {
            name: {"certificate": pair.certificate, "key": pair.key}
            for name, pair in (
                ("ca", self.ca),
                ("etcdCa", self.etcd_ca),
                ("frontProxyCa", self.front_proxy_ca),
                ("serviceAccount", self.service_account),
            )
        }
        document["format"] = _FORMAT
        document["master"] = base64.b64encode(self.master).decode()
        return json.dumps(document, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ClusterPKI":
        """Read what ``to_bytes`` wrote; raises ``InvalidError`` for anything else."""
        try:
            document = json.loads(data)
            if document["format"] != _FORMAT:
                raise InvalidError(
                    f"the cluster's keys are in format {document['format']}, "
                    f"this release reads format {_FORMAT}: use the release that wrote them"
                )
            return cls(
                ca=KeyPair(**document["ca"]),
                etcd_ca=KeyPair(**document["etcdCa"]),
                front_proxy_ca=KeyPair(**document["frontProxyCa"]),
                service_account=KeyPair(**document["serviceAccount"]),
                master=base64.b64decode(document["master"], validate=True),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidError("these bytes are not a cluster's keys") from error


def new_private_key(key_type: KeyType) -> PrivateKey:
    """Make a private key of the kind that the cluster asks for."""
    if key_type is KeyType.RSA2048:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: PrivateKey) -> str:
    """Return the key as kubeadm writes it: PKCS#1 for RSA, SEC 1 for EC."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def generate(key_type: KeyType, cluster_name: str, now: datetime) -> ClusterPKI:
    """Make new authorities and secrets for one cluster."""
    service_account = new_private_key(key_type)
    public = service_account.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return ClusterPKI(
        ca=_new_ca("kubernetes", cluster_name, key_type, now),
        etcd_ca=_new_ca("etcd-ca", cluster_name, key_type, now),
        front_proxy_ca=_new_ca("front-proxy-ca", cluster_name, key_type, now),
        service_account=KeyPair(certificate=public.decode(), key=private_pem(service_account)),
        master=secrets.token_bytes(_MASTER_BYTES),
    )


def _new_ca(common_name: str, cluster_name: str, key_type: KeyType, now: datetime) -> KeyPair:
    key = new_private_key(key_type)
    # The cluster's name keeps authorities of two clusters apart for people and for tools that
    # index trust by subject.
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, cluster_name),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_encipherment=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return KeyPair(certificate=pem, key=private_pem(key))


def ca_hash(certificate_pem: str) -> str:
    """Return ``sha256:…`` of the certificate's public key, as kubeadm's ``caCertHashes``."""
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    public = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"sha256:{hashlib.sha256(public).hexdigest()}"


def derive(master: bytes, label: str, length: int = 32) -> bytes:
    """Derive bytes for one purpose; the same master and label always give the same."""
    return HKDF(
        algorithm=hashes.SHA256(), length=length, salt=None, info=f"moorage/v1/{label}".encode()
    ).derive(master)


def bootstrap_token(pki: ClusterPKI, machine_uid: str) -> str:
    """Return the machine's own bootstrap token, ``abcdef.0123456789abcdef``.

    Its first part is public (it names the Secret) and is derived apart from the second.
    """
    identity = _word(derive(pki.master, f"bootstrap-token-id/{machine_uid}", 64), 6)
    secret = _word(derive(pki.master, f"bootstrap-token-secret/{machine_uid}", 160), 16)
    return f"{identity}.{secret}"


def _word(data: bytes, length: int) -> str:
    """Turn bytes into a word without bias: bytes beyond the last full alphabet are left out."""
    limit = 256 - 256 % len(_WORD_ALPHABET)
    word = "".join(_WORD_ALPHABET[b % len(_WORD_ALPHABET)] for b in data if b < limit)[:length]
    assert len(word) == length  # noqa: S101 - ten times more bytes than letters: never short
    return word


def certificate_key(pki: ClusterPKI) -> str:
    """Return kubeadm's ``--certificate-key``: later control planes open the CA keys with it."""
    return derive(pki.master, "certificate-key").hex()


def helper_key(pki: ClusterPKI, machine_uid: str) -> bytes:
    """Return the key by which a machine's helper knows its gateway."""
    return derive(pki.master, f"helper/{machine_uid}")
