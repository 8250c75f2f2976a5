"""Certificates for API servers of the tests, signed by a cluster's own CA."""

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from moorage.bootstrap import ClusterPKI, gateway_client, generate
from moorage.kube import Credentials
from moorage.resources.cluster import KeyType


@cache
def a_pki(name: str = "demo") -> ClusterPKI:
    return generate(KeyType.P256, name, datetime.now(UTC))


def credentials_of(pki: ClusterPKI) -> Credentials:
    """Log in as the gateway does."""
    client = gateway_client(pki, now=datetime.now(UTC))
    assert client.key is not None
    return Credentials(pki.ca.certificate, client.certificate, client.key, client.expires_at)


def write_server_certificate(pki: ClusterPKI, directory: Path) -> tuple[Path, Path]:
    """Write certificate and key for a server on the loopback; return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(pki.ca.certificate.encode())
    issuer_key = serialization.load_pem_private_key(pki.ca.key.encode(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    names = [x509.DNSName("kubernetes"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    paths = directory / "server.crt", directory / "server.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
