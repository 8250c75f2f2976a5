"""TLS contexts, certificate fingerprints, and which proxy leads to an address."""

import hashlib
import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from moorage.kit.errors import InvalidError
from moorage.kit.identity import colons

_DIGEST_HEX = 64


def host_port(host: str, port: int) -> str:
    """Return ``host:port``; IPv6 addresses get brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def normal_fingerprint(text: str) -> str:
    """Return a SHA-256 fingerprint as ``AB:CD:…``; colons, case and ``sha256:`` may vary.

    Raises ``InvalidError`` when it is not 32 bytes.
    """
    bare = text.strip().lower().removeprefix("sha256:").replace(":", "").replace(" ", "")
    try:
        digest = bytes.fromhex(bare)
    except ValueError:
        digest = b""
    if len(bare) != _DIGEST_HEX or not digest:
        raise InvalidError(
            f"{text!r} is not a SHA-256 fingerprint: give 32 bytes in hexadecimal, AB:CD:…"
        )
    return colons(digest)


def certificate_fingerprint(der: bytes) -> str:
    """Return the SHA-256 fingerprint of a certificate, ``AB:CD:…``."""
    return colons(hashlib.sha256(der).digest())


def certificates(pem: str) -> list[x509.Certificate]:
    """Read every certificate of a PEM text; raises ``InvalidError`` when there is none."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise InvalidError(f"no PEM certificate can be read: {error}") from error


@dataclass(frozen=True, slots=True)
class ServerTrust:
    """How a server's certificate is verified: exactly one of the three, the first by default."""

    ca_pem: str | None = None
    """PEM certificates to chain to; ``None`` means the system's trust store."""
    leaf_pem: str | None = None
    """The server's own certificate, pinned: the name in it then does not matter."""

    def context(self) -> ssl.SSLContext:
        """Make a client context. With own certificates it holds these only."""
        if self.leaf_pem is not None:
            context = _bare_context(self.leaf_pem)
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.check_hostname = False
            return context
        if self.ca_pem is not None:
            return _bare_context(self.ca_pem)
        return ssl.create_default_context()


def _bare_context(pem: str) -> ssl.SSLContext:
    # Not create_default_context: it may load the system's whole store first.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    ders = [
        certificate.public_bytes(serialization.Encoding.DER) for certificate in certificates(pem)
    ]
    context.load_verify_locations(cadata=b"".join(ders))
    return context


def unverified_context() -> ssl.SSLContext:
    """Make a context that verifies nothing: only to look at a certificate before trusting it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def presented_chain(tls: ssl.SSLObject) -> list[x509.Certificate]:
    """Return the certificates that the server sent, its own first; none of them is verified."""
    # Public from Python 3.13 on; before, the same method is on the inner object only.
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return [x509.load_der_x509_certificate(der) for der in public()]
    chain = tls._sslobj.get_unverified_chain() or []  # type: ignore[attr-defined]  # noqa: SLF001
    return [x509.load_pem_x509_certificate(entry.public_bytes().encode()) for entry in chain]


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Which HTTP proxy is asked for a tunnel, and for which hosts none is."""

    url: str | None = None
    """``http://…`` or ``https://…``, with ``user:password@`` if the proxy wants them."""
    no_proxy: tuple[str, ...] = ()
    """Hosts, ``.domain`` suffixes, addresses or networks reached directly; ``*`` is all."""
    ca_pem: str | None = field(default=None, repr=False)
    """What the proxy's own certificate chains to (``https://`` proxies)."""

    def __post_init__(self) -> None:
        if self.url is None:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidError(
                f"proxy {self.shown}: give http://host:port or https://host:port "
                "(SOCKS proxies are not supported)"
            )

    @property
    def shown(self) -> str:
        """The proxy's address without password, for logs."""
        if self.url is None:
            return "no proxy"
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def __repr__(self) -> str:
        return f"ProxySettings({self.shown!r}, no_proxy={self.no_proxy!r})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "ProxySettings":
        """Read ``HTTPS_PROXY`` (or ``ALL_PROXY``) and ``NO_PROXY``, in either case."""
        env = os.environ if environment is None else environment

        def read(name: str) -> str:
            return env.get(name.lower()) or env.get(name) or ""

        url = read("HTTPS_PROXY") or read("ALL_PROXY")
        if url and "://" not in url:
            url = f"http://{url}"
        direct = tuple(entry.strip() for entry in read("NO_PROXY").split(",") if entry.strip())
        return cls(url=url or None, no_proxy=direct)

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy to use for ``url``; ``None`` means to connect directly."""
        if self.url is None:
            return None
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        port = parts.port or (443 if parts.scheme in {"https", "wss"} else 80)
        if any(_matches(entry.lower(), host, port) for entry in self.no_proxy):
            return None
        return self.url

    def tls_context(self) -> ssl.SSLContext | None:
        """Make the context for the connection to the proxy itself; ``None`` for plain HTTP."""
        if self.url is None or urlsplit(self.url).scheme != "https":
            return None
        return ServerTrust(ca_pem=self.ca_pem).context()


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        network = None
    if network is not None:
        try:
            return ipaddress.ip_address(host) in network
        except ValueError:
            return False
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and not name.endswith(":"):
        if int(wanted) != port:
            return False
        entry = name.strip("[]")
    bare = entry.removeprefix("*").removeprefix(".")
    return bool(bare) and (host == bare or host.endswith(f".{bare}"))


def read_pem(path: Path) -> str:
    """Read a PEM file of certificates; raises ``InvalidError`` that names the file."""
    try:
        text = path.read_text(encoding="ascii")
        certificates(text)
    except (OSError, UnicodeDecodeError, InvalidError) as error:
        raise InvalidError(f"certificates in {path} cannot be read: {error}") from error
    return text
