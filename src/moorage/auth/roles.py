"""The built-in roles. Nobody changes them; custom ones (kind Role) are made of any permissions."""

from collections.abc import Iterable
from typing import NamedTuple

from moorage.auth.catalogue import PERMISSIONS, RESOURCES, Place, is_read, resource_of

TENANT_ADMIN = "tenant-admin"


class BuiltIn(NamedTuple):
    """A role that every hub has."""

    description: str
    permissions: frozenset[str]
    tenant_only: bool = False
    """It makes sense for the whole hub only."""


def _of(*resources: str) -> frozenset[str]:
    return frozenset(one for one in PERMISSIONS if resource_of(one) in resources)


def _reads(permissions: Iterable[str]) -> frozenset[str]:
    return frozenset(one for one in permissions if is_read(one))


_PEOPLE = _of("users", "teams", "roles", "serviceaccounts", "apikeys", "sessions", "audit")
_NOT_IN_PROJECTS = _PEOPLE | _of("moves", "installation")
_PROJECT = PERMISSIONS - _NOT_IN_PROJECTS - {"projects.create", "projects.delete"}
_CLUSTER = frozenset(
    one for one in PERMISSIONS if RESOURCES[resource_of(one)].place is Place.CLUSTER
) | _reads(_of("gateways", "accounts", "ippools", "templates"))
_ACCOUNT = (
    _of("accounts", "secrets")
    | _reads(_of("gateways"))
    | {"operations.create", "operations.get", "operations.list"}
)
_ASKING = frozenset(
    {
        *("operations.create", "operations.delete", "plans.create", "plans.delete"),
        *("clusters.kubeconfig", "machines.logs", "machines.delete", "accounts.check"),
    }
)
"""What an editor needs beside ``update``: to ask and plan, to look into machines, and to have one
machine made again."""


def _editor(permissions: frozenset[str]) -> frozenset[str]:
    changes = {one for one in permissions if one.endswith(".update")}
    return _reads(permissions) | changes | (permissions & _ASKING)


BUILT_IN: dict[str, BuiltIn] = {
    TENANT_ADMIN: BuiltIn("All rights in the whole hub", PERMISSIONS, tenant_only=True),
    "tenant-viewer": BuiltIn(
        "Sees everything, users and audit trail too", _reads(PERMISSIONS), tenant_only=True
    ),
    "project-admin": BuiltIn(
        "Everything in projects. For the whole hub also gateways, accounts and IP pools", _PROJECT
    ),
    "project-editor": BuiltIn(
        "Changes what is in projects; no create, no delete", _editor(_PROJECT)
    ),
    "project-viewer": BuiltIn("Sees what is in projects", _reads(_PROJECT)),
    "cluster-admin": BuiltIn("Everything about clusters", _CLUSTER),
    "cluster-editor": BuiltIn("Changes clusters; no create, no delete", _editor(_CLUSTER)),
    "cluster-viewer": BuiltIn("Sees clusters", _reads(_CLUSTER)),
    "account-admin": BuiltIn("Everything about cloud accounts and their secrets", _ACCOUNT),
    "account-editor": BuiltIn("Changes cloud accounts and secrets", _editor(_ACCOUNT)),
    "account-viewer": BuiltIn("Sees cloud accounts", _reads(_of("accounts"))),
}
