"""The link: replication between a hub and its gateways over one outbound WebSocket.

``LinkServer`` is the hub's end, ``Link`` the gateway's; ``enroll`` makes them known to each other.
"""

from moorage.link.client import Link, LinkState
from moorage.link.dial import Dial
from moorage.link.door import LinkSettings
from moorage.link.enroll import (
    EnrollmentAnswer,
    EnrollmentRequest,
    discover_hub,
    enroll,
    token_gateway,
)
from moorage.link.server import LinkServer
from moorage.link.session import LinkClosedError
from moorage.link.trust import RecoveryKeys

__all__ = [
    "Dial",
    "EnrollmentAnswer",
    "EnrollmentRequest",
    "Link",
    "LinkClosedError",
    "LinkServer",
    "LinkSettings",
    "LinkState",
    "RecoveryKeys",
    "discover_hub",
    "enroll",
    "token_gateway",
]
