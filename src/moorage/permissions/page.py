"""The reference page of all privileges, made from the table."""

from collections.abc import Sequence

from moorage.permissions.imports import IMPORT_ROWS, LEASE_IMPORT_ROWS
from moorage.permissions.names import renames
from moorage.permissions.row import GRANTED_ON, On, Row
from moorage.permissions.table import (
    CLUSTER_FOLDER_ROWS,
    EVERY_ROW,
    ROWS,
    STORAGE_POLICY_ROWS,
    ZONE_TAG_ROWS,
    privileges_granted_on,
)

_INTRO = """# Privileges in vCenter

What the gateway's user needs, on which objects. `moorage accounts check` compares an account with
this table, `moorage accounts roles` writes the roles ([how](../howto/vcenter-permissions.md)).
Privileges are the same in vSphere 6.7, 7.0 and 8.0 unless a row says otherwise. `System.Read` is in
every role that vCenter lets one make: it needs no tick, only a permission on that object.

## Roles

One permission on each of these objects. *Propagates*: the permission's box "Propagate to children"
is ticked. No permission is needed on the vCenter itself: what leads to a permitted object is seen.

"""
_FOLDERS = """
### For a folder of each cluster

Beside these, where a cluster's placement says `folderPerCluster: true`.

"""
_IMPORTS = """
### For imports of OVAs

Beside these, and only for who wants to [import templates](../howto/templates.md). Those on the
vCenter count for content libraries as *global permissions* only, as with tags below.
`moorage accounts check --template-imports` asks for them.

"""
_LEASE_IMPORTS = """
### For imports of OVAs by NFC leases

In place of the table before, for who imports [through `nfc`](../howto/templates.md) only: nothing
on the vCenter as a whole. `moorage accounts check --template-imports-nfc` asks for them.

"""
_STORAGE_POLICIES = """
### For storage policies

Beside these, where a failure domain names a `storagePolicy`. The permission on the vCenter need not
propagate.

"""
_ZONE_TAGS = """
### For region and zone tags

Beside these, and only for who wants [regions and zones from tags](../howto/zones.md). To read tags,
the built-in role Read-only is enough in all three places; the privileges are for who makes tags.
Those on the vCenter count for tags as *global permissions* only (Administration, Access Control,
Global Permissions, propagating to children): `moorage accounts roles --zone-tags` writes the
role, and no script can set the permission before vSphere 9.
`moorage accounts check --zone-tags` asks for them.

"""
_READ_ONLY = "built-in role Read-only"


def privileges_page() -> str:
    """Return the page: roles by object, names in the Client, and every row."""
    text = (
        f"{_INTRO}{_roles(ROWS)}{_FOLDERS}{_roles(CLUSTER_FOLDER_ROWS)}"
        f"{_STORAGE_POLICIES}{_roles(STORAGE_POLICY_ROWS)}{_IMPORTS}{_roles(IMPORT_ROWS)}"
        f"{_LEASE_IMPORTS}{_roles(LEASE_IMPORT_ROWS)}"
        f"{_ZONE_TAGS}{_roles(ZONE_TAG_ROWS)}"
    )
    text += (
        "\n## Names in the vSphere Client\n\nWhere a release is named, the name holds from it on."
        "\n\n| privilege | in the vSphere Client |\n|---|---|\n"
    )
    for privilege in sorted({row.privilege for row in EVERY_ROW}):
        names_ = renames(privilege)
        shown = names_[0][1] if len(names_) == 1 else "; ".join(f"{r}: {n}" for r, n in names_)
        text += f"| `{privilege}` | {shown} |\n"
    text += (
        "\n## Why each is needed\n\n"
        "| operation | calls | privilege | on | propagated | feature | since | said by |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    for row in EVERY_ROW:
        calls = ", ".join(f"`{call}`" for call in row.calls)
        where = f"{row.on} (by {GRANTED_ON[row.on]})" if row.propagate else f"{row.on}"
        since = f"{row.since[0]}.{row.since[1]}"
        text += (
            f"| {row.operation} | {calls} | `{row.privilege}` | {where} | "
            f"{'yes' if row.propagate else 'no'} | {row.feature} | {since} | {row.source} |\n"
        )
    return text


def _roles(rows: Sequence[Row]) -> str:
    """Return the table of what is granted where."""
    text = "| permission on | propagates | privileges |\n|---|---|---|\n"
    granted = {GRANTED_ON[row.on] for row in rows}
    for on in (on for on in On if on in granted):
        names = ", ".join(f"`{name}`" for name in privileges_granted_on(on, rows)) or _READ_ONLY
        reaches = any(row.propagate for row in rows if GRANTED_ON[row.on] is on)
        text += f"| {on} | {'yes' if reaches else 'no'} | {names} |\n"
    return text
