"""Users, service accounts, teams and roles in memory, for each request asks who may.

A view, so it is as new as the database is. It holds a few short strings for each.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from moorage.auth import BUILT_IN, Right
from moorage.resources import Role, ServiceAccount, Team, User
from moorage.resources.access import Grant
from moorage.store.codec import Stored, decode
from moorage.store.view import View

SERVICE_ACCOUNT = "serviceaccount:"
"""Before the name of a service account that asks: no user is called so."""


class Holder(NamedTuple):
    """A user or a service account as far as rights go."""

    name: str
    display_name: str
    disabled: bool
    grants: tuple[Grant, ...]


class Membership(NamedTuple):
    """A team as far as rights go."""

    name: str
    members: frozenset[str]
    grants: tuple[Grant, ...]


class Directory(View):
    """Who has which rights."""

    kinds = frozenset({"User", "ServiceAccount", "Team", "Role"})

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, tuple[str, str]] = {}
        """UID -> kind and name."""
        self.users: dict[str, Holder] = {}
        """Service accounts too, by ``serviceaccount:NAME``."""
        self.teams: dict[str, Membership] = {}
        self._roles: dict[str, frozenset[str]] = {}
        self._rights: dict[str, tuple[Right, ...]] = {}
        """What was worked out since the last change."""

    def put(self, row: Stored) -> None:
        """Take a user, a team or a role in."""
        self._rights.clear()
        if row.kind == "User":
            user = decode(User, row)
            name, spec = user.metadata.name, user.spec
            self.users[name] = Holder(name, spec.display_name, spec.disabled, tuple(spec.grants))
        elif row.kind == "ServiceAccount":
            account = decode(ServiceAccount, row)
            name, asked = f"{SERVICE_ACCOUNT}{account.metadata.name}", account.spec
            self.users[name] = Holder(name, asked.description, asked.disabled, tuple(asked.grants))
        elif row.kind == "Team":
            team = decode(Team, row)
            name = team.metadata.name
            given = team.spec
            self.teams[name] = Membership(name, frozenset(given.members), tuple(given.grants))
        else:
            role = decode(Role, row)
            name = role.metadata.name
            if name not in BUILT_IN:  # of those the code has the last word
                self._roles[name] = frozenset(role.spec.permissions)
        self._names[row.uid] = (row.kind, name)

    def put_status(self, row: Stored) -> None:
        """Do nothing: no status gives rights."""

    def drop(self, kind: str, uid: str) -> None:
        """Take one out; another one of the name may be there already."""
        _, name = self._names.pop(uid, (kind, ""))
        if (kind, name) in self._names.values():
            return
        self._rights.clear()
        known: dict[str, dict[str, object]] = {
            "User": self.users,  # type: ignore[dict-item]
            "ServiceAccount": self.users,  # type: ignore[dict-item]
            "Team": self.teams,  # type: ignore[dict-item]
            "Role": self._roles,  # type: ignore[dict-item]
        }
        known[kind].pop(name, None)

    def role(self, name: str) -> frozenset[str] | None:
        """Return what a role permits; ``None``: there is no such role."""
        built_in = BUILT_IN.get(name)
        return built_in.permissions if built_in else self._roles.get(name)

    def teams_of(self, user: str) -> Iterator[Membership]:
        """Yield the teams that a user belongs to."""
        for _, team in sorted(self.teams.items()):
            if user in team.members:
                yield team

    def rights_of(self, user: str) -> tuple[Right, ...]:
        """Return the rights of a user: its own and those of its teams; none while disabled."""
        known = self._rights.get(user)
        if known is None:
            known = self._rights[user] = tuple(self._work_out(user))
        return known

    def _work_out(self, user: str) -> Iterator[Right]:
        holder = self.users.get(user)
        if holder is None or holder.disabled:
            return
        yield from self.rights_if(user, holder.grants)

    def rights_if(self, user: str, grants: Iterable[Grant]) -> Iterator[Right]:
        """Yield the rights that a user has with these grants, disabled or not."""
        yield from self.convey(grants)
        for team in self.teams_of(user):
            yield from self.convey(team.grants, via=team.name)

    def convey(self, grants: Iterable[Grant], *, via: str = "") -> Iterator[Right]:
        """Yield the rights that grants convey; a role that is gone conveys none."""
        for grant in grants:
            permissions = self.role(grant.role)
            if permissions:
                yield Right(grant.role, permissions, grant.project, grant.selector, via)
