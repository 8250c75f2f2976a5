"""Releases of vCenter: which are supported, and in what they differ as Moorage meets them.

Over SOAP Moorage speaks the API of the oldest one to all (``wire.WIRE_VERSION``), so that no
request differs. `docs/reference/releases.md` is made from the table here.
"""

from dataclasses import dataclass
from typing import Final

OLDEST: Final = (6, 7, 3)
"""API of vCenter 6.7 Update 3."""
API_SINCE: Final = (7, 0, 2)
"""7.0 Update 2 brought ``/api``; ``/rest`` is deprecated since, and all that older ones have."""
_NEWEST: Final = (9999,)


def numbers(api_version: str) -> tuple[int, ...]:
    """Return the first three numbers of an API version; an unclear one counts as the newest."""
    found = tuple(int(part) for part in api_version.split(".")[:3] if part.isdigit())
    return found or _NEWEST


def is_too_old(api_version: str) -> bool:
    """Tell whether a vCenter is older than all that are supported."""
    return numbers(api_version) < OLDEST


def has_api(api_version: str) -> bool:
    """Tell whether a vCenter serves ``/api``."""
    return numbers(api_version) >= API_SINCE


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that releases do differently, and how that is met."""

    what: str
    old: str
    """6.7 Update 3."""
    middle: str
    """7.0; with "U" and a number where an update brought it."""
    new: str
    """8.0."""
    met: str
    """What Moorage does."""


DIFFERENCES: Final = (
    Difference(
        "older than 6.7 Update 3",
        "the oldest that is supported (API 6.7.3)",
        "supported",
        "supported",
        "an older vCenter is refused by name before the password is sent (`VCenterTooOld`)",
    ),
    Difference(
        "Web Services API (SOAP)",
        "6.7.3",
        "7.0.0.0 to 7.0.3.x",
        "8.0.0.0 to 8.0.3.x",
        "`vim25/6.7.3` is spoken to all; a test compares every type, field, method and property "
        "path that is used with that version",
    ),
    Difference(
        "Automation API, for tags",
        "`/rest/com/vmware/cis` only",
        "`/api` from U2 on, `/rest` deprecated",
        "`/api`, `/rest` deprecated",
        "`/api` where the API version says that it is there, else `/rest`; also where `/api` "
        "answers 404",
    ),
    Difference(
        "what a refused call names",
        "one privilege (`privilegeId`) on one object",
        "all that are missing (`missingPrivileges`), from API 7.0.3.2 on, to clients that speak it",
        "as 7.0",
        "the one that is named is said; `moorage accounts check` names all at once, on each "
        "release alike",
    ),
    Difference(
        "sessions that vCenter has for all products",
        "2,000 over SOAP; 550 for each user over REST",
        "as 6.7",
        "from U3 on one limit for both, 3,000",
        "two at most for each account and process; beyond the limit vCenter answers 503, see "
        "[What befalls a vCenter](../explanation/survival.md)",
    ),
    Difference(
        "NSX segments",
        "opaque networks (N-VDS)",
        "distributed port groups on a VDS, opaque networks still possible",
        "distributed port groups",
        "both are found by name and used by reference",
    ),
    Difference(
        "VMs that vCenter runs for itself (vCLS)",
        "none",
        "from U1 on, in the folder `vCLS`, while DRS is on",
        "the same; from U3 on without a datastore",
        "foreign VMs as any other: never touched. They take room on hosts, which is counted",
    ),
)
