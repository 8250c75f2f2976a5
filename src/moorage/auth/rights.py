"""Who may do what: pure decisions over rights. What no right allows is denied.

What one may not see does not seem to be there (``HIDDEN``, 404); what one sees and may not do is
``FORBIDDEN`` (403).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from moorage.auth.catalogue import Place, is_read, place_of, resource_of
from moorage.resources.selector import matches, parse_selector

EVERYWHERE = "*"


class Decision(StrEnum):
    """``HIDDEN`` becomes 404: that it exists is itself not for everybody."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Right:
    """What one grant conveys: the permissions of its role, in its place."""

    role: str
    permissions: frozenset[str]
    project: str = EVERYWHERE
    selector: str = ""
    """Label selector of clusters; empty: all."""
    via: str = ""
    """Team that has the grant; empty when it is the holder's own."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which clusters (and parts of them) a permission reaches.

    Each part is a choice of label selectors, and each part has to hold: no part is everything, a
    part without a selector is nothing.
    """

    parts: tuple[tuple[str, ...], ...] = ()

    @property
    def is_everything(self) -> bool:
        """Tell whether no label matters."""
        return not self.parts

    @property
    def is_nothing(self) -> bool:
        """Tell whether nothing can be reached."""
        return not all(self.parts)

    def includes(self, labels: Mapping[str, str] | None) -> bool:
        """Tell whether a cluster of these labels is reached; ``None``: there is none."""
        if labels is None or self.is_everything:
            return self.is_everything
        return all(any(matches(parse_selector(one), labels) for one in part) for part in self.parts)

    def __and__(self, other: Self) -> "Reach":
        return Reach((*self.parts, *other.parts))


EVERYTHING = Reach()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, with what credential."""

    username: str
    rights: tuple[Right, ...] = ()
    credential: str = ""
    """``session:<id>`` or ``apikey:<id>``: told in the audit log."""
    bounds: tuple[Right, ...] | None = None
    """What the credential is narrowed to; ``None``: all rights of its holder."""

    def reach(self, permission: str, project: str = "") -> Reach:
        """Return what the permission reaches in a project; ``""``: beside all projects."""
        found = _reach(self.rights, permission, project)
        return found if self.bounds is None else found & _reach(self.bounds, permission, project)

    def may(
        self, permission: str, project: str = "", labels: Mapping[str, str] | None = None
    ) -> bool:
        """Tell whether the permission is there, for a cluster of these labels if they are given."""
        return self.reach(permission, project).includes(labels)

    def sees_project(self, project: str) -> bool:
        """Tell whether any right reaches into the project."""
        known = (self.rights,) if self.bounds is None else (self.rights, self.bounds)
        return all(any(r.project in (EVERYWHERE, project) for r in rights) for rights in known)


def decide(principal: Principal, permission: str, project: str = "") -> Decision:
    """Decide about a list, or about making something that is not there yet.

    A list is allowed when it may show anything at all.
    """
    reach = principal.reach(permission, project)
    if reach.is_everything or (is_read(permission) and not reach.is_nothing):
        return Decision.ALLOWED
    if principal.reach(_sight(permission), project).is_nothing:
        return Decision.HIDDEN
    return Decision.FORBIDDEN


def decide_object(
    principal: Principal, permission: str, project: str, labels: Mapping[str, str] | None
) -> Decision:
    """Decide about one object, by the labels of the cluster that it is or belongs to."""
    if principal.may(permission, project, labels):
        return Decision.ALLOWED
    seen = principal.may(_sight(permission), project, labels)
    return Decision.FORBIDDEN if seen else Decision.HIDDEN


def needs_labels(principal: Principal, permission: str, project: str) -> bool:
    """Tell whether an object's labels matter for what ``decide_object`` answers."""
    reach = principal.reach(permission, project)
    if reach.is_everything:
        return False
    sight = principal.reach(_sight(permission), project)
    return not (reach.is_nothing and (sight.is_everything or sight.is_nothing))


def uncovered(principal: Principal, given: Iterable[Right]) -> list[str]:
    """Return what is given and the giver does not have: nobody makes himself or others mightier.

    Each is ``permission`` and where, in words.
    """
    known = (
        (principal.rights,) if principal.bounds is None else (principal.rights, principal.bounds)
    )
    missing = []
    for right in given:
        for permission in sorted(right.permissions):
            if not all(_covers(rights, right, permission) for rights in known):
                where = "everywhere" if right.project == EVERYWHERE else f"in {right.project}"
                missing.append(f"{permission} {where}")
    return missing


def _covers(rights: tuple[Right, ...], right: Right, permission: str) -> bool:
    return any(
        permission in own.permissions
        and own.project in (EVERYWHERE, right.project)
        and own.selector in ("", right.selector)
        for own in rights
    )


def _sight(permission: str) -> str:
    """Return the permission by which one sees what another one is about."""
    resource = resource_of(permission)
    return {
        "events": "events.list",
        "alerts": "alerts.list",
        "audit": "audit.list",
        "metrics": "metrics.get",
        "apikeys": "apikeys.list",
        "sessions": "sessions.list",
        "moves": "assignments.get",
        "installation": "gateways.get",
    }.get(resource, f"{resource}.get")


def _reach(rights: tuple[Right, ...], permission: str, project: str) -> Reach:
    place = place_of(permission)
    if place is Place.PROJECT and is_read(permission):
        return _sight_of_projects(rights, project)
    # To check an account only reads; it is asked for in a project, by those who work there.
    anywhere = place is Place.SHARED and (is_read(permission) or permission == "accounts.check")
    if place in (Place.SHARED, Place.TENANT):
        project = ""  # it is beside all projects, wherever it is asked from
    selectors = []
    for right in rights:
        if permission not in right.permissions:
            continue
        if anywhere:
            return EVERYTHING
        if right.project != EVERYWHERE and (not project or right.project != project):
            continue
        if not right.selector:
            return EVERYTHING
        if place is Place.CLUSTER:
            selectors.append(right.selector)
    return Reach((tuple(selectors),))


def _sight_of_projects(rights: tuple[Right, ...], project: str) -> Reach:
    """A project is seen by whoever has any right in it; the list shows those."""
    seen = any(not project or right.project in (EVERYWHERE, project) for right in rights)
    return EVERYTHING if seen else Reach(((),))
