"""From the table and some places to the roles and permissions that an administrator sets: pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from moorage.permissions.row import GRANTED_ON, On, Row
from moorage.permissions.table import privileges_granted_on
from moorage.resources.permission import CheckTarget

_FOLDERS = {
    On.FOLDER: "vm",
    On.TEMPLATE: "vm",
    On.COMPUTE_CLUSTER: "host",
    On.DATASTORE: "datastore",
    On.NETWORK: "network",
    On.SWITCH: "network",
}
"""vSphere's own folder of a datacenter for each kind of object."""
_READ_ROLE = "moorage-read"
_GLOBAL_ROLE = "moorage-global"


@dataclass(frozen=True, slots=True)
class Grant:
    """One permission to be set."""

    on: On
    path: str
    """Inventory path from the root, such as ``/dc1/vm/clusters``."""
    role: str
    privileges: tuple[str, ...]
    """What the role holds beside ``System.*``; nothing for one that only reads."""
    propagate: bool
    holder: Literal["", "cluster", "folder"] = ""
    """The object is a datastore cluster, or the folder of all datastores: the permission reaches
    those because it propagates."""
    is_global: bool = False
    """It is a global permission, which nothing but the vSphere Client can set before vSphere 9."""


def grants_for(
    targets: Iterable[CheckTarget], rows: Sequence[Row], switches: Iterable[str] = ()
) -> list[Grant]:
    """Return the permissions that machines in some places need, each once.

    Names and relative paths are taken as they stand below the datacenter's own folders: what lies
    in a folder there is named with it.

    Args:
        targets: The places.
        rows: Of the table, for the wanted features and release.
        switches: Paths of the distributed switches whose port groups are used: a cluster's
            document does not name them.
    """
    found: dict[tuple[On, str], Grant] = {}
    inside = [row for row in rows if not row.is_global]
    used = {row.on for row in inside}
    for target in targets:
        for on, path in _objects(target, switches, used):
            found[on, path] = _grant(on, path, inside)
            if on is On.DATASTORE and (target.datastore_is_cluster or not target.datastore):
                holder: Literal["cluster", "folder"] = "cluster" if target.datastore else "folder"
                found[on, path] = replace(found[on, path], propagate=True, holder=holder)
    grants = sorted(found.values(), key=lambda grant: (list(On).index(grant.on), grant.path))
    everywhere = privileges_granted_on(On.ROOT, [row for row in rows if row.is_global])
    if everywhere:
        grants.append(Grant(On.ROOT, "/", _GLOBAL_ROLE, everywhere, True, is_global=True))
    return grants


def _grant(on: On, path: str, rows: Sequence[Row]) -> Grant:
    privileges = privileges_granted_on(on, rows)
    role = f"moorage-{on.value.lower().replace(' ', '-')}" if privileges else _READ_ROLE
    propagate = any(row.propagate for row in rows if GRANTED_ON[row.on] is on)
    return Grant(on, path, role, privileges, propagate)


def _objects(
    target: CheckTarget, switches: Iterable[str], used: Collection[On]
) -> Iterable[tuple[On, str]]:
    if On.DATACENTER in used:
        yield On.DATACENTER, f"/{target.datacenter.strip('/')}"
    cluster = _below(target, On.COMPUTE_CLUSTER, target.compute_cluster)
    yield On.COMPUTE_CLUSTER, cluster
    pool = [part for part in (target.resource_pool or "").split("/") if part]
    if (target.resource_pool or "").startswith("/"):
        yield On.RESOURCE_POOL, "/" + "/".join(pool)
    else:
        parts = pool[1:] if pool[:1] == ["Resources"] else pool
        yield On.RESOURCE_POOL, "/".join((cluster, "Resources", *parts))
    yield On.FOLDER, _below(target, On.FOLDER, target.folder)
    yield On.TEMPLATE, _below(target, On.TEMPLATE, target.template)
    # Which datastores satisfy a policy only vCenter knows, and it changes: they are all meant.
    yield On.DATASTORE, _below(target, On.DATASTORE, target.datastore or "").rstrip("/")
    if target.storage_policy is not None:
        yield On.ROOT, "/"
    yield On.NETWORK, _below(target, On.NETWORK, target.network)
    for switch in switches:
        yield On.SWITCH, _below(target, On.SWITCH, switch)


def _below(target: CheckTarget, on: On, asked: str) -> str:
    if asked.startswith("/"):
        return asked.rstrip("/")
    return f"/{target.datacenter.strip('/')}/{_FOLDERS[on]}/{asked.strip('/')}"
