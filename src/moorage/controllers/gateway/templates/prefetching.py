"""Replicas of a template that are made before a machine needs them."""

from moorage.controllers.gateway.env import Env, key_of
from moorage.controllers.gateway.templates.sources import replica_for
from moorage.kit.errors import InvalidError, TerminalError
from moorage.resources import Template
from moorage.resources.replica import TemplateReplicaSpec
from moorage.resources.template import Prefetched, TemplateSpec
from moorage.vsphere import Found, ResolvedTarget, Target, VCenter, needs_replica, why_full


async def prefetch(template: Template, vcenter: VCenter, env: Env) -> list[Prefetched]:
    """Ask for a replica on each datastore that the template names, and say how far each is.

    Raises ``TerminalError`` where a place is not there, or linked clones are impossible.
    """
    spec = template.spec
    path = str(template.status.path)
    targets = {
        datastore: _target(spec, path, vcenter, index, datastore)
        for index, datastore in enumerate(spec.prefetch)
    }
    resolved: dict[str, ResolvedTarget] = {}
    faults: list[str] = []
    for datastore, target in targets.items():
        try:
            resolved[datastore] = await vcenter.resolve(target)
        except InvalidError as error:
            faults += [f"{fault.path}: {fault.message}" for fault in error.faults] or [str(error)]
    if faults:
        raise TerminalError("PlacementInvalid", "; ".join(dict.fromkeys(faults)))
    return [
        await _on(targets[datastore], one, template, vcenter, env)
        for datastore, one in resolved.items()
    ]


def is_kept(replica: str, templates: list[Template]) -> bool:
    """Tell whether a replica (by name) was made beforehand for one of them."""
    return any(
        one.replica == replica
        for template in templates
        if not template.is_deleting
        for one in template.status.prefetched
    )


async def _on(
    target: Target, resolved: ResolvedTarget, template: Template, vcenter: VCenter, env: Env
) -> Prefetched:
    datastore = target.datastore
    if resolved.can_link:
        return Prefetched(datastore=datastore, ready=True)
    if not needs_replica(resolved, "auto", None):
        why = why_full(resolved, "auto", None)
        raise TerminalError(
            "LinkedCloneImpossible",
            f"{target.field_path('datastore')}: no linked clone can be made on {datastore}: {why}",
        )
    wanted = TemplateReplicaSpec(
        account=template.spec.account,
        source=resolved.template.moref,
        digest=resolved.template.digest,
        datastore_ref=resolved.datastore,
        datacenter=target.datacenter,
        folder=target.folder,
        template=target.template,
        compute_cluster=target.compute_cluster,
        resource_pool=target.resource_pool,
        datastore=datastore,
        network=target.network,
    )
    replica = await replica_for(resolved, wanted, vcenter, env)
    seen = vcenter.find(replica.metadata.uid, moref=replica.status.vm)
    if replica.status.is_true("Ready") and isinstance(seen, Found) and not replica.is_deleting:
        return Prefetched(datastore=datastore, replica=replica.metadata.name, ready=True)
    env.trigger("replica", key_of(replica))
    ready = replica.status.condition("Ready")
    said = f"{ready.reason}, {ready.message}" if ready is not None else "it is asked for"
    return Prefetched(datastore=datastore, replica=replica.metadata.name, message=said)


def _target(spec: TemplateSpec, path: str, vcenter: VCenter, index: int, datastore: str) -> Target:
    return Target(
        datacenter=spec.datacenter,
        folder=spec.folder or vcenter.originals.default_folder(spec.datacenter),
        template=path,
        compute_cluster=str(spec.compute_cluster),
        resource_pool=spec.resource_pool,
        datastore=datastore,
        network=str(spec.network),
        path="spec",
        shared_path="spec",
        datastore_field=f"prefetch[{index}]",
    )
