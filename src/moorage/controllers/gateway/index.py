"""Who belongs to whom, in memory: it turns events into keys.

Learned from the store's changes, never from the passes: any replica may have run those, and each
of them has to know all keys, or events that only one of them sees would get lost.
"""

from dataclasses import dataclass, field

from moorage.engine.store import Change, Store
from moorage.resources import (
    CloudAccount,
    Cluster,
    IPPool,
    Machine,
    NodePool,
    Resource,
    Template,
    TemplateReplica,
)

_KINDS: tuple[type[Resource], ...] = (
    CloudAccount,
    Cluster,
    NodePool,
    Machine,
    IPPool,
    Template,
    TemplateReplica,
)
_PAGE = 500


@dataclass(slots=True)
class Index:
    """Keys by UID."""

    clusters: dict[str, str] = field(default_factory=dict)
    """Cluster UID -> ``project/name``."""
    pools: dict[str, set[str]] = field(default_factory=dict)
    """Cluster UID -> keys of its node pools."""
    plans: dict[str, set[str]] = field(default_factory=dict)
    """Cluster UID -> keys of the plans about it."""
    machines: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Machine UID -> (key, cluster UID)."""
    accounts: set[str] = field(default_factory=set)
    """Keys of all cloud accounts."""
    ip_pools: set[str] = field(default_factory=set)
    """Keys of all IP pools."""
    replicas: dict[str, str] = field(default_factory=dict)
    """UID of a replica of a template -> key."""
    templates: dict[str, str] = field(default_factory=dict)
    """UID of a template that somebody asks for -> key."""
    milestones: set[str] = field(default_factory=set)
    """UIDs of clusters and replicas whose next change of status their machines wait for."""
    waiting: dict[str, set[str]] = field(default_factory=dict)
    """Name of a replica -> keys of the machines that wait for it in this process."""

    async def load(self, store: Store) -> None:
        """Learn all that is stored; what has gone meanwhile is forgotten."""
        fresh = Index()
        for kind in _KINDS:
            after: tuple[str, str] | None = None
            while page := await store.overview(kind, limit=_PAGE, after=after):
                after = (page[-1].project, page[-1].name)
                for change in page:
                    fresh.learn(change)
        self.clusters, self.pools = fresh.clusters, fresh.pools
        self.machines, self.accounts = fresh.machines, fresh.accounts
        self.plans = fresh.plans
        self.ip_pools = fresh.ip_pools
        self.replicas, self.templates = fresh.replicas, fresh.templates

    def learn(self, change: Change) -> None:
        """Take note of what was made, and of what has gone."""
        self._learn_template(change)
        match change.kind, change.deleted:
            case (("CloudAccount" | "IPPool"), deleted):
                known = self.accounts if change.kind == "CloudAccount" else self.ip_pools
                (known.discard if deleted else known.add)(change.key)
            case "Cluster", False:
                self.clusters[change.uid] = change.key
            case "Cluster", True:
                self.clusters.pop(change.uid, None)
                self.pools.pop(change.uid, None)
                self.plans.pop(change.uid, None)
            case "Plan", False if change.owner_uid:
                self.plans.setdefault(change.owner_uid, set()).add(change.key)
            case "Plan", True:
                self.plans.get(change.owner_uid, set()).discard(change.key)
            case "NodePool", False:
                self.pools.setdefault(change.owner_uid, set()).add(change.key)
            case "NodePool", True:
                self.pools.get(change.owner_uid, set()).discard(change.key)
            case "Machine", False:
                self.machines[change.uid] = (change.key, change.owner_uid)
            case "Machine", True:
                self.machines.pop(change.uid, None)

    def _learn_template(self, change: Change) -> None:
        known = {"Template": self.templates, "TemplateReplica": self.replicas}.get(change.kind)
        if known is not None:
            known[change.uid] = change.key
            if change.deleted:
                del known[change.uid]

    def cluster_of(self, change: Change) -> list[str]:
        """Return the key of the cluster that owns the changed resource."""
        found = self.clusters.get(change.owner_uid)
        return [found] if found else []

    def pools_of(self, change: Change) -> list[str]:
        """Return the keys of all node pools of the cluster that owns the changed resource."""
        return sorted(self.pools.get(change.owner_uid, ()))

    def ip_pools_asked(self, change: Change) -> list[str]:
        """Return the keys of all IP pools when what a cluster or node pool asks for has changed."""
        return sorted(self.ip_pools) if change.spec_changed else []

    def plans_of(self, change: Change) -> list[str]:
        """Return the keys of the plans about a cluster, or about the cluster of a pool."""
        uid = change.uid if change.kind == "Cluster" else change.owner_uid
        return sorted(self.plans.get(uid, ()))

    def machines_of(self, change: Change) -> list[str]:
        """Return the keys of all machines of a cluster that they have to look at.

        A cluster's status counts its machines and so changes with each of them: only at a
        milestone, which its own pass notes, does it matter to them.
        """
        if not change.spec_changed and change.uid not in self.milestones:
            return []
        self.milestones.discard(change.uid)
        return sorted(key for key, owner in self.machines.values() if owner == change.uid)

    def wait_for_replica(self, name: str, machine: str) -> None:
        """Have a machine (by its key) look again when a replica has come to its end."""
        self.waiting.setdefault(name, set()).add(machine)

    def machines_linked(self, change: Change) -> list[str]:
        """Return the keys of the machines that wait for a replica, if that is over."""
        if not change.deleted and change.uid not in self.milestones:
            return []
        self.milestones.discard(change.uid)
        return sorted(self.waiting.pop(change.name, ()))

    def templates_asked(self, _change: Change) -> list[str]:
        """Return the keys of all templates: a replica or an account that they need has changed."""
        return sorted(self.templates.values())

    def replicas_used(self, change: Change) -> list[str]:
        """Return the keys of the replicas that a machine which is gone may have needed: of all."""
        return sorted(self.replicas.values()) if change.deleted else []

    def machines_assigned(self, change: Change) -> list[str]:
        """Return the keys of all machines of the cluster that an assignment is about."""
        return sorted(key for key, owner in self.machines.values() if owner == change.owner_uid)
