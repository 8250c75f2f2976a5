"""Post an alert: signed, to an address that may be reached, and nowhere else.

The host is resolved once, each address is judged, and the connection goes to one that was
judged: a name that resolves otherwise a moment later gains nothing. Redirects are not followed,
the environment's proxies not used.
"""

import hashlib
import hmac
import socket
from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import anyio
import httpx2

from moorage import __version__
from moorage.kit.errors import ForbiddenError, UnavailableError
from moorage.store.alerts import Delivery

_TIMEOUT_S = 10
_NAT64 = IPv6Network("64:ff9b::/96")
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


async def post(
    url: str, delivery: Delivery, secret: str, now: datetime, allowed: Sequence[Network]
) -> str:
    """Post a delivery and return the status; raises ``ForbiddenError``, ``UnavailableError``."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = await _permitted(host, port, allowed)
    body = delivery.body.encode()
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "User-Agent": f"moorage-hub/{__version__}",
        "X-Moorage-Delivery": delivery.id,
        "X-Moorage-Signature": signature(secret, int(now.timestamp()), body),
    }
    shown = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004
    target = httpx2.URL(url).copy_with(host=shown, port=port)
    try:
        async with (
            httpx2.AsyncClient(
                timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False
            ) as client,
            client.stream(
                "POST", target, content=body, headers=headers, extensions={"sni_hostname": host}
            ) as response,
        ):
            status = response.status_code
    except httpx2.TransportError as error:
        raise UnavailableError(f"POST {url}: {error or type(error).__name__}") from error
    if not 200 <= status < 300:  # noqa: PLR2004
        raise UnavailableError(f"POST {url} was answered with {status}")
    return str(status)


def signature(secret: str, at: int, body: bytes) -> str:
    """Return the value of the header: the moment in seconds, and HMAC-SHA256 over both."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


async def _permitted(host: str, port: int, allowed: Sequence[Network]) -> Address:
    """Return an address of the host; raises ``ForbiddenError`` if one of them is not permitted."""
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnavailableError(f"{host} cannot be resolved: {error}") from error
    addresses = [ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    for address in addresses:
        if not is_permitted(address, allowed):
            raise ForbiddenError(
                f"{host} is {address}, which webhooks may not reach: it is not public. An "
                "administrator of the hub may allow its network with --alert-network"
            )
    return addresses[0]


def is_permitted(address: Address, allowed: Sequence[Network]) -> bool:
    """Tell whether webhooks may reach an address: public ones, and those allowed by name."""
    judged = _inner(address)
    if any(judged in network for network in allowed if network.version == judged.version):
        return True
    return judged.is_global and not judged.is_multicast


def _inner(address: Address) -> Address:
    """Return the address of IPv4 that one of IPv6 leads to, if it does: mapped, 6to4, NAT64."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
