"""Roles and permissions as programs that an administrator of vCenter runs: govc and PowerCLI.

Both may be run again: a role that is there gets the privileges again, a permission of the same user
on the same object is replaced. Permissions of others are left alone.
"""

import re
import shlex
from collections.abc import Iterable, Sequence

from moorage.permissions.roles import Grant

_GLOB = re.compile(r"([\\*?\[\]])")
_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
"""All that PowerShell takes for a single quote."""
_LATER = "InventoryService.Tagging.ObjectAttachable"
"""Came with vSphere 7.0."""


def roles_of(grants: Iterable[Grant]) -> dict[str, tuple[str, ...]]:
    """Return each role's privileges, by name."""
    return {grant.role: grant.privileges for grant in grants}


def user_at_domain(user: str) -> str:
    r"""Return ``name@domain`` of ``DOMAIN\name``; other names as they are."""
    domain, backslash, name = user.partition("\\")
    return f"{name}@{domain.lower()}" if backslash else user


def domain_and_user(user: str) -> str:
    r"""Return ``DOMAIN\name`` of ``name@domain``; other names as they are."""
    name, at, domain = user.rpartition("@")
    return f"{domain.upper()}\\{name}" if at else user


def by_hand(grants: Iterable[Grant], user: str) -> list[str]:
    """Return what an administrator has to do in the vSphere Client, in lines; often nothing.

    No tool speaks of global permissions: their API is an internal one before vSphere 9.
    """
    grants, who = list(grants), " ".join(user.split())  # it stands in a comment of a program
    roles = [grant.role for grant in grants if grant.is_global]
    is_later = any(_LATER in grant.privileges for grant in grants)
    if not roles:
        return []
    return [
        "To be done by hand, in the vSphere Client: Administration, Access Control, Global",
        f'Permissions, Add: user {who}, role {", ".join(roles)}, tick "Propagate to children".',
        "Tags and content libraries lie in no inventory: a permission on the vCenter does not",
        "reach them, and before vSphere 9 no public API sets global permissions, so neither govc,",
        "PowerCLI nor Terraform can. The role is made here.",
        *([f"vSphere 6.7 does not know {_LATER}: leave it out there."] if is_later else []),
    ]


def _lies_inside(grants: Iterable[Grant]) -> list[Grant]:
    return [grant for grant in grants if not grant.is_global]


def _comments(lines: Iterable[str]) -> list[str]:
    return [f"# {line}" for line in lines]


def govc_script(grants: Sequence[Grant], user: str) -> str:
    """Return a shell script that calls govc, for POSIX shells; ``GOVC_URL`` says which vCenter.

    Args:
        grants: What is to be set.
        user: Who gets it, as he logs in.
    """
    lines = [
        "#!/bin/sh",
        "# Roles and permissions of Moorage's vCenter account, made by `moorage accounts roles`.",
        "# Run it as an administrator of vCenter: GOVC_URL, GOVC_USERNAME, GOVC_PASSWORD.",
        "set -eu",
        "",
        f"user={shlex.quote(user_at_domain(user))}",
        "",
        "role() { # NAME [PRIVILEGE]...: makes the role, or gives it these privileges again",
        '  if govc role.ls "$1" >/dev/null 2>&1; then',
        '    govc role.update "$@"',
        "  else",
        '    govc role.create "$@"',
        "  fi",
        "}",
        "",
        "allow() { # ROLE PROPAGATE PATH",
        '  govc permissions.set -principal "$user" -role "$1" -propagate="$2" "$3"',
        "}",
        "",
    ]
    for name, privileges in roles_of(grants).items():
        lines.append(" \\\n  ".join(("role " + shlex.quote(name), *privileges)))
    lines.append("")
    for grant in _lies_inside(grants):
        path = shlex.quote(_GLOB.sub(r"\\\1", grant.path))
        lines.append(f"allow {shlex.quote(grant.role)} {_word(grant.propagate)} {path}")
    return "\n".join([*lines, *_comments(by_hand(grants, user_at_domain(user)))]) + "\n"


def powercli_script(grants: Sequence[Grant], user: str) -> str:
    """Return a PowerCLI script for a session that ``Connect-VIServer`` has opened.

    Args:
        grants: What is to be set.
        user: Who gets it, as he logs in.
    """
    lines = [
        "# Roles and permissions of Moorage's vCenter account, made by `moorage accounts roles`.",
        "# Run it as an administrator, after Connect-VIServer. It uses the API's own objects,",
        "# because New-VIPermission does not take every kind of them.",
        "$ErrorActionPreference = 'Stop'",
        f"$user = {_powershell(domain_and_user(user))}",
        "$manager = Get-View AuthorizationManager",
        "$index = Get-View SearchIndex",
        "",
        "function Set-MoorageRole([string] $Name, [string[]] $Privileges) {",
        "  $role = $manager.RoleList | Where-Object { $_.Name -eq $Name }",
        "  if ($role) { $manager.UpdateAuthorizationRole($role.RoleId, $Name, $Privileges) }",
        "  else { [void] $manager.AddAuthorizationRole($Name, $Privileges) }",
        "  $manager.UpdateViewData('RoleList')",
        "}",
        "",
        "function Set-MooragePermission([string] $Role, [bool] $Propagate, [string] $Path) {",
        "  $entity = $index.FindByInventoryPath($Path)",
        "  if (-not $Path) { $entity = (Get-View ServiceInstance).Content.RootFolder }",
        '  if (-not $entity) { throw "There is no object $Path" }',
        "  $permission = New-Object VMware.Vim.Permission",
        "  $permission.Principal = $user",
        "  $permission.Group = $false",
        "  $permission.Propagate = $Propagate",
        "  $permission.RoleId = ($manager.RoleList | Where-Object { $_.Name -eq $Role }).RoleId",
        "  $manager.SetEntityPermissions($entity, @($permission))",
        "}",
        "",
    ]
    for name, privileges in roles_of(grants).items():
        listed = ",".join(f"\n  {_powershell(one)}" for one in privileges)
        end = "\n)" if privileges else ")"
        lines.append(f"Set-MoorageRole {_powershell(name)} @({listed}{end}")
    lines.append("")
    for grant in _lies_inside(grants):
        path = _powershell(grant.path.strip("/"))
        lines.append(
            f"Set-MooragePermission {_powershell(grant.role)} ${_word(grant.propagate)} {path}"
        )
    return "\n".join([*lines, *_comments(by_hand(grants, domain_and_user(user)))]) + "\n"


def _powershell(text: str) -> str:
    return "'" + _QUOTES.sub(r"\1\1", text) + "'"


def _word(value: bool) -> str:
    return "true" if value else "false"
