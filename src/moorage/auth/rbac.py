"""Who may do what: pure decisions over grants. What no rule allows is denied."""

from dataclasses import dataclass
from enum import StrEnum

from moorage.resources.access import AccessRole, Grant


class Verb(StrEnum):
    """What is done to a kind."""

    LIST = "list"
    GET = "get"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


READ = frozenset({Verb.LIST, Verb.GET})
WRITE = frozenset({Verb.CREATE, Verb.UPDATE, Verb.DELETE})


class Decision(StrEnum):
    """``HIDDEN`` becomes 404: that it exists is itself not for everybody."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, with what credential."""

    username: str
    grants: tuple[Grant, ...] = ()
    credential: str = ""
    """``session:<id>`` or ``apikey:<id>``: told in the audit log."""


PROJECT_KINDS = frozenset(
    {"clusters", "nodepools", "machines", "operations", "plans", "events"},
)
"""Kinds inside a project: a grant for that project, or for all, decides."""

SHARED_KINDS = frozenset({"gateways", "accounts", "templates", "ippools", "installation"})
"""Hub-wide kinds that work in a project must be able to name: readable with any grant."""

HUB_KINDS = frozenset(
    {"secrets", "ipaddresses", "templatereplicas", "assignments", "hub-events", "metrics"}
)
"""Hub-wide kinds that tell of all projects: readable with a hub-wide grant."""

ADMIN_KINDS = frozenset({"users", "audit", "apikeys", "moves"})
"""What only a hub-wide administrator sees or does: ``moves`` are clusters changing gateways. (A
user's own API keys and account go by /v1/whoami.)"""

KINDS = PROJECT_KINDS | SHARED_KINDS | HUB_KINDS | ADMIN_KINDS | {"projects"}


def decide(principal: Principal, verb: Verb, kind: str, project: str = "") -> Decision:
    """Decide one request. ``project`` is the one in the path, empty for hub-wide kinds.

    For ``projects``, give the project's own name (or nothing for list and create).
    """
    if kind not in KINDS:
        return Decision.HIDDEN
    hub_wide = {grant.role for grant in principal.grants if grant.project == "*"}
    if AccessRole.ADMIN in hub_wide:
        return Decision.ALLOWED
    here = hub_wide | {g.role for g in principal.grants if project and g.project == project}
    if kind in PROJECT_KINDS:
        return _by_role(here, verb)
    if kind == "projects":
        visible = bool(here) or (not project and bool(principal.grants))
        return _read_only(verb, visible=visible)
    if kind in SHARED_KINDS:
        return _read_only(verb, visible=bool(principal.grants))
    return _read_only(verb, visible=kind in HUB_KINDS and bool(hub_wide))


def can_see_project(principal: Principal, project: str) -> bool:
    """Tell whether any grant reaches into the project."""
    return decide(principal, Verb.GET, "projects", project) is Decision.ALLOWED


def _by_role(roles: set[AccessRole], verb: Verb) -> Decision:
    if not roles:
        return Decision.HIDDEN
    if verb in READ or AccessRole.ADMIN in roles:
        return Decision.ALLOWED
    return Decision.FORBIDDEN


def _read_only(verb: Verb, *, visible: bool) -> Decision:
    if not visible:
        return Decision.HIDDEN
    return Decision.ALLOWED if verb in READ else Decision.FORBIDDEN
