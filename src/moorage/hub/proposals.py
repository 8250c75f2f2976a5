"""A cluster with its node pools as proposed: judged as a whole, then stored, or only planned."""

from dataclasses import dataclass

from moorage.engine.store import Store
from moorage.hub.admission import cluster_faults, pool_faults
from moorage.hub.documents import ClusterDocument
from moorage.hub.rules.base import label_faults, load_estate
from moorage.hub.rules.clusters import ClusterRules, adopt, pools_of
from moorage.kit.errors import FieldFault, InvalidError
from moorage.kit.ids import new_uid
from moorage.resources import Cluster, Metadata, NodePool
from moorage.resources.nodepool import pool_of_document
from moorage.resources.plan import DocumentVersion

_RULES = ClusterRules()


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be stored."""

    cluster: Cluster
    before: Cluster | None
    known: dict[str, NodePool]
    """Pools that are there, by name of their resource."""
    wanted: dict[str, NodePool]
    """Pools that the document names, the same way; with their UIDs."""

    def pools(self) -> list[NodePool]:
        """Return all pools that there would be, by name."""
        merged = {**self.known, **self.wanted}
        return [merged[name] for name in sorted(merged)]

    def versions(self) -> list[DocumentVersion]:
        """Return the documents as they would be, once stored."""
        pools = [_version(pool, self.known.get(pool.metadata.name)) for pool in self.pools()]
        return [_version(self.cluster, self.before), *pools]


async def admit(
    store: Store, project: str, document: ClusterDocument, before: Cluster | None
) -> Proposal:
    """Judge a document; raises ``InvalidError`` with every fault. Nothing is stored."""
    meta = document.metadata
    cluster = (
        before.copy_deep()
        if before
        else Cluster(
            metadata=Metadata(name=meta.name, project=project, uid=meta.uid or new_uid()),
            spec=document.spec,
        )
    )
    cluster.spec = document.spec
    cluster.metadata.labels = {**meta.labels}
    await _RULES.prepare(store, cluster, before)
    known = {p.metadata.name: p for p in await pools_of(store, before)} if before else {}
    wanted: dict[str, NodePool] = {}
    for entry in document.node_pools:
        pool = pool_of_document(entry, meta.name, project)
        old = known.get(pool.metadata.name)
        pool.metadata.uid = old.metadata.uid if old is not None else new_uid()
        wanted[pool.metadata.name] = pool
    faults = label_faults(cluster, before)
    faults += await _faults(store, cluster, before, known, wanted, document)
    if faults:
        raise InvalidError(f"{cluster} cannot be stored like this", tuple(faults))
    return Proposal(cluster, before, known, wanted)


async def store_proposal(store: Store, proposal: Proposal) -> Cluster:
    """Store cluster and pools; returns the cluster as stored."""
    if proposal.before is None:
        stored = await store.create(proposal.cluster)
        await _RULES.created(store, stored)
    else:
        stored = await store.put_spec(proposal.cluster)
    for name, pool in proposal.wanted.items():
        await _store_pool(store, stored, pool, proposal.known.get(name))
    return stored


def versions_of(cluster: Cluster | None, pools: list[NodePool]) -> list[DocumentVersion]:
    """Return the documents as they are."""
    if cluster is None:
        return []
    return [_version(cluster, cluster), *(_version(pool, pool) for pool in pools)]


def _version(after: Cluster | NodePool, before: Cluster | NodePool | None) -> DocumentVersion:
    changes = before is not None and before.spec != after.spec
    old = before.metadata if before is not None else Metadata(name=after.metadata.name)
    return DocumentVersion(
        kind=after.kind,
        name=after.metadata.name,
        uid=after.metadata.uid,
        generation=1 if before is None else old.generation + changes,
        resource_version=old.resource_version,
    )


async def _faults(
    store: Store,
    cluster: Cluster,
    before: Cluster | None,
    known: dict[str, NodePool],
    wanted: dict[str, NodePool],
    document: ClusterDocument,
) -> list[FieldFault]:
    estate = await load_estate(store)
    kept = [pool for name, pool in known.items() if name not in wanted]
    faults = cluster_faults(cluster, kept, estate, before=before, more=list(wanted.values()))
    names = [entry.name for entry in document.node_pools]
    for index, (entry, (name, pool)) in enumerate(
        zip(document.node_pools, wanted.items(), strict=False)
    ):
        path = f"nodePools[{index}]"
        if names.count(entry.name) > 1:
            faults.append(FieldFault(f"{path}.name", f"there are two pools {entry.name}"))
            return faults
        stored = await store.find(NodePool, pool.metadata.project, name)
        if stored is not None and stored.is_deleting:
            faults.append(FieldFault(f"{path}.name", "a pool of that name is being deleted: wait"))
        elif stored is not None and name not in known:
            faults.append(
                FieldFault(
                    f"{path}.name",
                    f"node pool {name} exists already, of cluster {stored.spec.cluster}: choose "
                    "another name",
                )
            )
        faults += pool_faults(
            pool, cluster, estate, before=known.get(name), path=path, with_head_room=False
        )
    return faults


async def _store_pool(
    store: Store, cluster: Cluster, pool: NodePool, before: NodePool | None
) -> None:
    if before is None:
        adopt(pool, cluster)
        await store.create(pool)
        return
    after = before.copy_deep()
    after.spec = pool.spec
    await store.put_spec(after)
