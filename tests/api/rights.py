"""What each built-in role may do, in words of its own: the witness beside ``auth.roles``.

A cell says what a role gets for a permission: in a project where it has the role (or everywhere,
for the hub-wide ones), and elsewhere.
"""

from moorage.auth import OPERATIONS, Access

ALLOWED, FORBIDDEN, HIDDEN = "allowed", "forbidden", "hidden"

PUBLIC = {"login", "enrollGateway", "healthz", "readyz", "getOpenAPI"}
OWN = {
    "logout",
    "whoAmI",
    "changeOwnPassword",
    "createAPIKey",
    "listAPIKeys",
    "revokeAPIKey",
    "getInstallation",
    "listPermissions",
    "listSessions",
    "getSecondFactor",
    "beginSecondFactor",
    "confirmSecondFactor",
    "removeSecondFactor",
    "endSession",
    "listOwnRights",
}

_READ = {"list", "get"}
_PEOPLE = {"users", "teams", "roles", "serviceaccounts", "apikeys", "sessions", "audit"}
_IN_PROJECT = {"clusters", "nodepools", "machines", "operations", "plans", "events", "projects"} | {
    "alerts"
}
_CLUSTERS = _IN_PROJECT - {"projects"}
_SHARED = {"gateways", "accounts", "ippools", "templates"}
_ASK = {
    *("operations.create", "operations.delete", "plans.create", "plans.delete"),
    *("clusters.kubeconfig", "machines.logs", "machines.delete", "accounts.check"),
}

ROLES = (
    *("tenant-admin", "tenant-viewer"),
    *("project-admin", "project-editor", "project-viewer"),
    *("cluster-admin", "cluster-editor", "cluster-viewer"),
    *("account-admin", "account-editor", "account-viewer"),
)


def _has(role: str, permission: str) -> bool:
    """Tell whether a role is meant to have a permission."""
    subject, strength = role.split("-")
    verb = permission.partition(".")[2]
    if subject == "tenant":
        return strength == "admin" or verb in _READ
    return _concerns(subject, strength, permission) and (
        strength == "admin"
        or verb in _READ
        or (strength == "editor" and (verb == "update" or permission in _ASK))
    )


def _concerns(subject: str, strength: str, permission: str) -> bool:
    resource, verb = permission.split(".")
    if subject == "project":
        alien = resource in _PEOPLE | {"moves", "installation"}
        return not alien and permission not in ("projects.create", "projects.delete")
    if subject == "cluster":
        return resource in _CLUSTERS or (resource in _SHARED and verb in _READ)
    if resource == "accounts" or strength == "viewer":
        return resource == "accounts"
    asks = resource == "operations" and verb in _READ | {"create"}
    return asks or resource == "secrets" or (resource == "gateways" and verb in _READ)


def _seen_by(permission: str) -> str:
    resource = permission.partition(".")[0]
    odd = {"events": "events.list", "audit": "audit.list", "metrics": "metrics.get"}
    odd |= {"apikeys": "apikeys.list", "sessions": "sessions.list"}
    odd |= {"alerts": "alerts.list"}
    odd |= {"moves": "assignments.get", "installation": "gateways.get"}
    return odd.get(resource, f"{resource}.get")


def _reaches(role: str, permission: str, *, everywhere: bool, here: bool) -> bool:
    resource, verb = permission.split(".")
    if permission in ("projects.list", "projects.get"):
        return everywhere or here
    if not _has(role, permission):
        return False
    if resource in _SHARED and verb in _READ:
        return True
    return everywhere or (here and resource in _IN_PROJECT)


def expected(role: str, operation: str, *, everywhere: bool, here: bool) -> str:
    """Return what the role gets for an operation.

    Args:
        role: A built-in one.
        operation: Operation ID.
        everywhere: The role was given for the whole hub.
        here: It was given in the very project that is asked for.
    """
    need = OPERATIONS[operation]
    assert need.access not in (Access.PUBLIC, Access.OWN)
    if operation in ("listProjects", "createProject"):
        here = True  # whoever has a grant anywhere sees that there are projects
    if _reaches(role, need.permission, everywhere=everywhere, here=here):
        return ALLOWED
    if need.may_create and _reaches(role, need.may_create, everywhere=everywhere, here=here):
        return ALLOWED
    seen = _reaches(role, _seen_by(need.permission), everywhere=everywhere, here=here)
    return FORBIDDEN if seen else HIDDEN
