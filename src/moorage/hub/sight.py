"""Of which cluster is it? What label selectors of grants are compared with."""

from collections.abc import Mapping

from moorage.engine.store import Store
from moorage.resources import KINDS, Cluster, Machine, Resource

_KINDS = {kind.plural: kind for kind in KINDS.values()}


async def labels_of(
    store: Store, resource: str, project: str, name: str
) -> tuple[Mapping[str, str] | None, str]:
    """Return the labels of the cluster that an object is, or is part of.

    Args:
        store: Where it is.
        resource: Plural of its kind.
        project: Empty for hub-wide kinds.
        name: Of the object.

    Returns:
        ``None`` where there is no such object or it belongs to no cluster, and the words in which
        the store says that there is no such object: what is hidden is told in the same.
    """
    kind = _KINDS[resource]
    where = f"{project}/{name}" if project else name
    found = await store.find(kind, project, name)
    labels = None if found is None else await cluster_labels(store, found)
    return labels, f"{kind.kind_name()} {where} does not exist"


async def cluster_labels(store: Store, resource: Resource) -> Mapping[str, str] | None:
    """Return the labels of the cluster that a resource is or belongs to; ``None``: to none."""
    if isinstance(resource, Cluster):
        return resource.metadata.labels
    owner = resource.metadata.owner
    if owner is None:
        return None
    if owner.kind == Machine.kind_name():
        machine = await store.find_uid(Machine, owner.uid)
        return None if machine is None else await cluster_labels(store, machine)
    cluster = await store.find_uid(Cluster, owner.uid)
    return None if cluster is None else cluster.metadata.labels
