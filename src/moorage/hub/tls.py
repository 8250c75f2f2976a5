"""TLS by default: a small CA of the hub's own in its data directory, and certificates from it.

Clients and gateways pin the CA by its SHA-256 fingerprint, so the CA lives long and the server's
certificate, which is renewed while the hub runs, may live shortly.
"""

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from moorage.kit.clock import Clock
from moorage.kit.errors import FieldFault, InvalidError
from moorage.kit.net import certificate_fingerprint

CA_LIFETIME = timedelta(days=3650)
SERVER_LIFETIME = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
_BACKDATED = timedelta(days=1)
"""A hub whose clock is ahead when it makes its CA is then trusted at once all the same."""


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """What uvicorn loads, and what clients pin."""

    certificate: Path
    key: Path
    ca: Path | None
    """``None`` when the certificate was given: clients verify it their own way."""


class SelfMadeTLS:
    """The hub's own CA (``<data>/ca.crt``) and the certificate signed by it, in ``<data>/tls``."""

    def __init__(self, data: Path, names: Sequence[str], clock: Clock) -> None:
        self._directory = data / "tls"
        self._public_ca = data / "ca.crt"
        self._names = tuple(dict.fromkeys([*names, "localhost", "127.0.0.1", "::1"]))
        self._clock = clock

    def ensure(self) -> TLSFiles:
        """Make what is missing, expires soon or lacks a name. May be repeated at any time."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca_path, ca_key_path = self._public_ca, self._directory / "ca-key.pem"
        if ca_path.exists() != ca_key_path.exists():
            raise InvalidError(
                f"{ca_path} and {ca_key_path} belong together but only one is there: restore the "
                "missing one from a backup, or remove both to make a new CA (which every client "
                "and gateway must then pin again)"
            )
        if not ca_path.exists():
            self._make_ca(ca_path, ca_key_path)
        files = TLSFiles(
            self._directory / "server.pem", self._directory / "server-key.pem", ca_path
        )
        if not self._is_good(files):
            self._make_server(files, ca_path, ca_key_path)
        return files

    def _is_good(self, files: TLSFiles) -> bool:
        if not files.certificate.exists() or not files.key.exists() or files.ca is None:
            return False
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        ca = x509.load_pem_x509_certificates(files.ca.read_bytes())[0]
        try:
            certificate.verify_directly_issued_by(ca)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, another one is made
            return False
        renew_at = certificate.not_valid_after_utc - RENEW_BEFORE
        return self._clock.now() < renew_at and _names_in(certificate) >= set(self._names)

    def _make_ca(self, path: Path, key_path: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Moorage hub CA")])
        now = self._clock.now()
        certificate = (
            _builder(name, name, key.public_key(), now, CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(key_path, _pem_key(key))
        _write(path, certificate.public_bytes(serialization.Encoding.PEM))

    def _make_server(self, files: TLSFiles, ca_path: Path, ca_key_path: Path) -> None:
        ca = x509.load_pem_x509_certificates(ca_path.read_bytes())[0]
        ca_key = serialization.load_pem_private_key(ca_key_path.read_bytes(), password=None)
        if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
            raise InvalidError(f"{ca_key_path} is not the elliptic-curve key that the hub made")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._names[0][:64])])
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        certificate = (
            _builder(subject, ca.subject, key.public_key(), self._clock.now(), SERVER_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([_san(name) for name in self._names]), critical=False
            )
            .add_extension(issuer_id, critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        chain = certificate.public_bytes(serialization.Encoding.PEM) + ca_path.read_bytes()
        write_private(files.key, _pem_key(key))
        _write(files.certificate, chain)


def fingerprint(certificate: Path) -> str:
    """Return ``sha256:AB:CD:…`` of the first certificate of a PEM file."""
    first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    return f"sha256:{certificate_fingerprint(first.public_bytes(serialization.Encoding.DER))}"


def server_context(files: TLSFiles) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, files)
    return context


def load_certificate(context: ssl.SSLContext, files: TLSFiles) -> None:
    """Load certificate and key for the connections from now on; raises ``InvalidError``."""
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidError(
            f"cannot load certificate {files.certificate} with key {files.key}: {error}",
            (FieldFault("tls-cert", str(error)),),
        ) from error


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _write(path: Path, content: bytes) -> None:
    write_private(path, content)
    path.chmod(0o644)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_in(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    }


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
