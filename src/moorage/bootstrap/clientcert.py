"""Client certificates and kubeconfigs, signed by a cluster's CA without asking the cluster."""

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from moorage.bootstrap.pki import CLOCK_SKEW, ClusterPKI, new_private_key, private_pem
from moorage.kit.errors import FieldFault, InvalidError
from moorage.resources.cluster import KeyType

ADMIN_GROUP = "moorage:cluster-admins"
"""Group of users' kubeconfigs. Unlike ``system:masters`` it can be unbound again (see join)."""

GATEWAY_NAME = "moorage-gateway"
GATEWAY_TTL = timedelta(hours=24)

_MASTERS = "system:masters"
_MIN_RSA_BITS = 2048
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A signed client certificate; ``key`` is ``None`` when the client keeps its own."""

    certificate: str
    key: str | None = field(repr=False)
    expires_at: datetime


def sign_client(
    pki: ClusterPKI,
    csr_pem: str | None,
    common_name: str,
    organizations: tuple[str, ...],
    ttl: timedelta,
    *,
    now: datetime,
    begins: datetime | None = None,
) -> ClientCertificate:
    """Sign a client certificate for a certificate request, or for a key made here.

    Only the public key is taken from the request: its subject and extensions are ignored, so
    that nobody asks himself into another name or group. Raises ``InvalidError`` for a request
    that is unreadable, not signed by its own key, or made with a weak key.

    It begins with ``begins`` or a little before now, but not before the CA.
    """
    if ttl <= timedelta(0):
        raise InvalidError(
            "a client certificate needs a lifetime",
            (FieldFault("ttlSeconds", "must be more than 0"),),
        )
    issuer = x509.load_pem_x509_certificate(pki.ca.certificate.encode())
    issuer_key = serialization.load_pem_private_key(pki.ca.key.encode(), password=None)
    if not isinstance(issuer_key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise InvalidError("the cluster's CA key is neither RSA nor elliptic-curve")
    made: str | None = None
    public: PublicKey
    if csr_pem is None:
        key = new_private_key(KeyType.P256)
        made, public = private_pem(key), key.public_key()
    else:
        public = _public_key_of(csr_pem)
    expires_at = min(now + ttl, issuer.not_valid_after_utc)
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    names.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(begins or now - CLOCK_SKEW, issuer.not_valid_before_utc))
        .not_valid_after(expires_at)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_encipherment=isinstance(public, rsa.RSAPublicKey),
                key_cert_sign=False,
                crl_sign=False,
                content_commitment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return ClientCertificate(certificate=pem, key=made, expires_at=certificate.not_valid_after_utc)


def _public_key_of(csr_pem: str) -> PublicKey:
    def refuse(why: str) -> InvalidError:
        return InvalidError("the certificate request is refused", (FieldFault("csr", why),))

    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        public = csr.public_key()
        signed = csr.is_signature_valid
    except (ValueError, TypeError, InvalidSignature) as error:
        raise refuse(f"not a PEM certificate request: {error}") from error
    if not signed:
        raise refuse("its signature does not fit its own public key")
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < _MIN_RSA_BITS:
            raise refuse(f"its RSA key has {public.key_size} bits; {_MIN_RSA_BITS} at least")
        return public
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, _CURVES):
        return public
    if isinstance(public, ed25519.Ed25519PublicKey):
        return public
    raise refuse("its key must be RSA (2048 bits or more), P-256, P-384, P-521 or Ed25519")


def gateway_client(pki: ClusterPKI, *, now: datetime) -> ClientCertificate:
    """Make the gateway's own client certificate: all rights, short-lived, never handed out.

    It begins with the CA, so that a gateway whose clock is ahead can still talk to its clusters.
    """
    begins = datetime.min.replace(tzinfo=UTC)
    return sign_client(pki, None, GATEWAY_NAME, (_MASTERS,), GATEWAY_TTL, now=now, begins=begins)


def admin_kubeconfig(
    pki: ClusterPKI,
    *,
    cluster_name: str,
    server: str,
    user: str,
    ttl: timedelta,
    now: datetime,
) -> str:
    """Render a kubeconfig with a new key, for a member of ``moorage:cluster-admins``."""
    client = sign_client(pki, None, user, (ADMIN_GROUP,), ttl, now=now)
    return render_kubeconfig(
        cluster_name=cluster_name,
        server=server,
        ca=pki.ca.certificate,
        user=user,
        credentials={
            "client-certificate-data": _base64(client.certificate),
            "client-key-data": _base64(client.key or ""),
        },
    )


def render_kubeconfig(
    *, cluster_name: str, server: str, ca: str, user: str, credentials: dict[str, str]
) -> str:
    """Render a kubeconfig with one cluster, one user, and the CA embedded."""
    context = f"{user}@{cluster_name}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster_name,
                "cluster": {"server": server, "certificate-authority-data": _base64(ca)},
            }
        ],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": context, "context": {"cluster": cluster_name, "user": user}}],
        "current-context": context,
    }
    return yaml.safe_dump(document, sort_keys=False)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
