"""A cluster's own VM folder, where asked for: there before its first machine, gone with it."""

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.place import folder_target
from moorage.engine import DONE, Outcome, step, wait
from moorage.kit.errors import InvalidError, TerminalError
from moorage.kit.ids import uid_suffix
from moorage.resources import Cluster
from moorage.resources.cluster import ClusterFolder
from moorage.resources.plan import PlannedFolder
from moorage.vsphere import VCenter

_LOOK_AGAIN_S = 0.2


@step("FolderMade")
async def ensure_folder(cluster: Cluster, env: Env) -> Outcome:
    """Make the folder, or find it wherever somebody moved it: new machines go there."""
    if not cluster.spec.placement.folder_per_cluster:
        return DONE
    vcenter = env.accounts.get(cluster.spec.account)
    if vcenter is None:
        return _not_ready(cluster)
    try:
        made = await vcenter.folders.ensure(
            folder_target(cluster), _name(cluster), cluster.metadata.uid, _recorded(cluster)
        )
    except InvalidError as error:
        raise TerminalError("PlacementInvalid", str(error)) from error
    cluster.status.folder = ClusterFolder(moref=made.moref, path=made.path)
    if not made.path:
        return wait("FolderNotSeen", f"vCenter has made {made.moref}", after=_LOOK_AGAIN_S)
    return DONE


def planned_folder(cluster: Cluster, vcenter: VCenter) -> PlannedFolder | None:
    """Return the folder of its own that a cluster would have, or has; ``None``: it has none.

    Raises like ``Folders.would_be``.
    """
    if not cluster.spec.placement.folder_per_cluster:
        return None
    path, is_new = vcenter.folders.would_be(
        folder_target(cluster), _name(cluster), _recorded(cluster)
    )
    return PlannedFolder(path=path, is_new=is_new)


@step("FolderRemoved")
async def ensure_no_folder(cluster: Cluster, env: Env) -> Outcome:
    if not cluster.spec.placement.folder_per_cluster:
        return DONE
    vcenter = env.accounts.get(cluster.spec.account)
    if vcenter is None:
        return _not_ready(cluster)
    is_gone = await vcenter.folders.remove(
        folder_target(cluster), _name(cluster), cluster.metadata.uid, _recorded(cluster)
    )
    if is_gone:
        return DONE
    return wait("RemovingFolder", f"folder {_name(cluster)} is removed", after=_LOOK_AGAIN_S)


def _name(cluster: Cluster) -> str:
    """Return the folder's name: it ends in ten digits of the UID, so nobody else has it."""
    return f"{cluster.metadata.name}-{uid_suffix(cluster.metadata.uid)}"


def _recorded(cluster: Cluster) -> str | None:
    return cluster.status.folder.moref if cluster.status.folder is not None else None


def _not_ready(cluster: Cluster) -> Outcome:
    return wait(
        "AccountNotReady", f"cloud account {cluster.spec.account} is not connected", after=30
    )
