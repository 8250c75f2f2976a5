"""Are the places that a cluster names really there? Asked before anything is made."""

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.disks import disk_faults
from moorage.controllers.gateway.placement.place import account_not_ready, each_target
from moorage.engine import DONE, Outcome, step
from moorage.kit.errors import FieldFault, InvalidError, TerminalError
from moorage.resources import Cluster
from moorage.vsphere import VCenter, unfit


@step("PlacementResolved")
async def ensure_placement(cluster: Cluster, env: Env) -> Outcome:
    """Look up every name of the placement, and report all that are wrong at once."""
    vcenter = env.accounts.get(cluster.spec.account)
    if vcenter is None:
        return account_not_ready(cluster.spec.account)
    faults = await placement_faults(cluster, vcenter)
    if faults:
        raise TerminalError(
            "PlacementInvalid", str(InvalidError("the placement cannot be used", tuple(faults)))
        )
    return DONE


async def placement_faults(cluster: Cluster, vcenter: VCenter) -> list[FieldFault]:
    """Return what is wrong with the places and the template that a cluster names, all at once.

    Places are wrong too when no host in service reaches datastore and networks together.
    """
    faults: dict[str, FieldFault] = {}
    for _, _, target in await each_target(cluster, vcenter):
        try:
            resolved = await vcenter.resolve(target)
        except InvalidError as error:
            faults.update({fault.path: fault for fault in error.faults})
        else:
            why = unfit(
                resolved.template, cluster.spec.kubernetes_version, vcenter.api_version or ""
            )
            if why:
                path = "spec.placement.template"
                faults[path] = FieldFault(path, "; ".join(why))
    faults |= {fault.path: fault for fault in await disk_faults(cluster, vcenter)}
    return [*faults.values()]
