"""Enrolment: a gateway shows a one-time token and its public keys, and becomes known to the hub.

The token is sent only to a hub whose certificate was verified: by a CA file, by the system's
store, or by the pinned fingerprint of the hub's certificate or of a CA that the hub presents.
"""

from typing import Annotated

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from moorage.kit.errors import (
    ForbiddenError,
    InvalidError,
    MoorageError,
    UnauthenticatedError,
    UnavailableError,
)
from moorage.kit.identity import PrivateIdentity, colons, sealing_key_statement
from moorage.kit.net import (
    ProxySettings,
    ServerTrust,
    normal_fingerprint,
    presented_chain,
    unverified_context,
)
from moorage.kit.seal import PrivateSealingKey
from moorage.link.dial import Dial
from moorage.resources.meta import Name

TIMEOUT_S = 20.0
PATH = "/v1/enroll"

_Pem = Annotated[str, StringConstraints(max_length=4096)]


class _Document(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class EnrollmentRequest(_Document):
    """Body of ``POST /v1/enroll``."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=512)] = Field(repr=False)
    gateway: Name
    identity_key: _Pem
    """Public key (PEM, P-256) that will sign the gateway's hello."""
    sealing_key: _Pem
    """Public key (PEM, P-256) that secrets are sealed to."""
    sealing_key_signature: Annotated[str, StringConstraints(max_length=256)]
    """By the identity key, over the gateway's name and the sealing key."""
    version: Annotated[str, StringConstraints(max_length=64)] = ""


class EnrollmentAnswer(_Document):
    """Answer to ``POST /v1/enroll``."""

    installation: str


async def discover_hub(url: str, fingerprint: str, proxy: ProxySettings) -> ServerTrust:
    """Look at the hub's certificates and return trust in the one that bears the fingerprint.

    Nothing secret is sent. Raises ``ForbiddenError`` when no certificate bears it.
    """
    wanted = normal_fingerprint(fingerprint)
    chain = await _look(url, proxy)
    for position, certificate in enumerate(chain):
        if _sha256(certificate) == wanted:
            pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
            return ServerTrust(leaf_pem=pem) if position == 0 else ServerTrust(ca_pem=pem)
    shown = "\n".join(f"  {_sha256(one)}  {one.subject.rfc4514_string()}" for one in chain)
    raise ForbiddenError(
        f"the hub at {url} presents no certificate with SHA-256 {wanted}, but these:\n{shown}\n"
        "Compare with what the hub itself prints; another one may stand between you and the hub."
    )


def token_gateway(token: str) -> str:
    """Return the gateway's name, with which every token begins; raises ``InvalidError``."""
    name, dot, secret = token.strip().partition(".")
    if not (name and dot and secret):
        raise InvalidError(
            "the token is not one of `moorage gateways add`: it looks like NAME.SECRET"
        )
    return name


def _sha256(certificate: x509.Certificate) -> str:
    return colons(certificate.fingerprint(hashes.SHA256()))


async def _look(url: str, proxy: ProxySettings) -> list[x509.Certificate]:
    if not url.startswith("https://"):
        raise InvalidError(f"hub {url!r}: a fingerprint needs https://")
    async with _http(url, proxy, ServerTrust(), verify=False) as http:
        try:
            async with http.stream("GET", "/healthz") as answer:
                stream = answer.extensions["network_stream"]
                return presented_chain(stream.get_extra_info("ssl_object"))
        except httpx2.HTTPError as error:
            raise UnavailableError(_not_reached(url, proxy, error)) from error


async def enroll(
    dial: Dial,
    *,
    gateway: str,
    token: str,
    identity: PrivateIdentity,
    sealing: PrivateSealingKey,
    version: str,
) -> EnrollmentAnswer:
    """Make a gateway known to its hub. With the same keys it may be repeated until it is answered.

    Raises ``UnauthenticatedError`` for a bad token, ``UnavailableError`` when the hub cannot be
    reached, ``InvalidError`` and ``ForbiddenError`` for what the hub refuses.
    """
    public = sealing.public()
    request = EnrollmentRequest(
        token=token,
        gateway=gateway,
        identity_key=identity.public().pem,
        sealing_key=public.pem,
        sealing_key_signature=identity.sign(sealing_key_statement(gateway, public.key_id)),
        version=version,
    )
    async with _http(dial.url, dial.proxy, dial.trust) as http:
        try:
            answer = await http.post(PATH, json=request.model_dump(by_alias=True))
        except httpx2.HTTPError as error:
            raise UnavailableError(_not_reached(dial.url, dial.proxy, error)) from error
    if answer.is_success:
        try:
            return EnrollmentAnswer.model_validate_json(answer.content)
        except ValidationError as error:
            raise UnavailableError(f"{dial.url}{PATH} answered something else: {error}") from error
    raise _refusal(dial.url, answer)


def _http(
    url: str, proxy: ProxySettings, trust: ServerTrust, *, verify: bool = True
) -> httpx2.AsyncClient:
    way = proxy.proxy_for(url)
    return httpx2.AsyncClient(
        base_url=url,
        verify=trust.context() if verify else unverified_context(),
        proxy=None if way is None else httpx2.Proxy(way, ssl_context=proxy.tls_context()),
        trust_env=False,
        timeout=TIMEOUT_S,
    )


def _not_reached(url: str, proxy: ProxySettings, error: Exception) -> str:
    way = f" through proxy {proxy.shown}" if proxy.proxy_for(url) else ""
    text = str(error) or type(error).__name__
    hint = ""
    if "CERTIFICATE_VERIFY_FAILED" in text:
        hint = ": give --ca-file with the hub's CA, or --hub-fingerprint"
    return f"hub {url}{way} cannot be reached: {text}{hint}"


def _refusal(url: str, answer: httpx2.Response) -> MoorageError:
    try:
        problem = answer.json()
        why = str(problem.get("detail") or problem.get("title") or "")
    except (ValueError, AttributeError):
        why = ""
    code = answer.status_code
    text = f"{url}{PATH} answered {code} {why}".rstrip()
    match code:
        case httpx2.codes.UNAUTHORIZED | httpx2.codes.FORBIDDEN:
            return UnauthenticatedError(text)
        case httpx2.codes.TOO_MANY_REQUESTS:
            return UnavailableError(text)
        case _ if code >= httpx2.codes.INTERNAL_SERVER_ERROR:
            return UnavailableError(text)
    return InvalidError(text)
