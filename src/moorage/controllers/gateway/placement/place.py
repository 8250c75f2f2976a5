"""What documents name of vCenter, as what is looked up there."""

from moorage.controllers.gateway.env import Env
from moorage.engine import Wait
from moorage.kit.errors import DeferredError, InvalidError, UnavailableError
from moorage.resources import Cluster
from moorage.resources.cluster import FailureDomain
from moorage.resources.machine import MachineSpec
from moorage.vsphere import ResolvedTarget, Target, VCenter

_LOOK_AGAIN_S = 10.0


def vcenter_of(account: str, env: Env) -> VCenter:
    """Return the account's vCenter; raises ``UnavailableError``."""
    vcenter = env.accounts.get(account)
    if vcenter is None:
        raise UnavailableError(f"cloud account {account} is not connected")
    return vcenter


def account_not_ready(account: str) -> Wait:
    """Wait for an account to be connected."""
    return Wait(
        "AccountNotReady",
        f"cloud account {account} is not connected: see `moorage accounts describe {account}`",
        after=5,
    )


def targets_of_cluster(cluster: Cluster) -> list[tuple[str, str, Target]]:
    """Return what to look up: failure domain, datastore, and both with their field paths."""
    placement = cluster.spec.placement
    return [
        (
            domain.name,
            datastore,
            _target(
                placement.datacenter,
                placement.folder,
                placement.template,
                domain.on_datastore(datastore) if domain.datastores else domain,
                f"spec.placement.failureDomains[{index}]",
                f"datastores[{number}]" if domain.datastores else "",
            ),
        )
        for index, domain in enumerate(placement.failure_domains)
        for number, datastore in enumerate(domain.storage())
    ]


async def each_target(cluster: Cluster, vcenter: VCenter) -> list[tuple[str, str, Target]]:
    """Return the same with the datastores of datastore clusters and policies as they are now."""
    return [
        (name, one.datastore, one)
        for name, _, target in targets_of_cluster(cluster)
        for one in await vcenter.estate.each_datastore(target)
    ]


def folder_target(cluster: Cluster) -> Target:
    """Return what names the cluster's datacenter and folder; the rest is of a failure domain."""
    return targets_of_cluster(cluster)[0][2]


def target_of_machine(spec: MachineSpec) -> Target:
    """Return what to look up for a machine."""
    return _target(
        spec.datacenter, spec.folder, spec.template, spec.failure_domain, "spec.failureDomain"
    )


async def resolve_machine(vcenter: VCenter, spec: MachineSpec) -> ResolvedTarget:
    """Return the references that a machine's clone needs.

    Raises ``DeferredError`` when one is not to be seen. The cluster's pass has seen all of them, so
    somebody has changed vCenter since, and may change it back.
    """
    try:
        return await vcenter.resolve(target_of_machine(spec))
    except InvalidError as error:
        raise look_again(error) from error


def look_again(error: InvalidError) -> DeferredError:
    """Return what a machine raises whose place is not to be seen."""
    return DeferredError("PlacementInvalid", str(error), _LOOK_AGAIN_S)


def _target(
    datacenter: str,
    folder: str,
    template: str,
    domain: FailureDomain,
    path: str,
    datastore_field: str = "",
) -> Target:
    is_cluster = domain.datastore_cluster is not None
    return Target(
        datacenter=datacenter,
        folder=folder,
        template=template,
        compute_cluster=domain.compute_cluster,
        resource_pool=domain.resource_pool,
        datastore=domain.storage()[0],
        network=domain.network,
        more_networks=tuple(card.network for card in domain.more_networks),
        path=path,
        datastore_is_cluster=is_cluster,
        storage_policy=domain.storage_policy,
        datastore_field=datastore_field or ("datastoreCluster" if is_cluster else "datastore"),
    )
