"""Clusters, node pools and operations: what the hub adds, and what it refuses."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from cryptography import x509
from pydantic import ValidationError

from moorage.auth import Principal
from moorage.engine.store import Store
from moorage.hub.admission import cluster_faults, fill_search_domains, pool_faults
from moorage.hub.problems import invalid_from
from moorage.hub.rules.base import Rules, assign, load_estate, release_unseen, route_to
from moorage.hub.rules.plans import withdraw_plans
from moorage.hub.sight import cluster_labels
from moorage.kit.clock import Clock
from moorage.kit.errors import FieldFault, ForbiddenError, NotFoundError
from moorage.resources import KINDS, CloudAccount, Cluster, Gateway, NodePool, Operation, Resource
from moorage.resources.estate import EstateArguments
from moorage.resources.meta import Model, Scope
from moorage.resources.nodepool import pool_resource_name
from moorage.resources.operation import Verb
from moorage.resources.permission import CheckArguments
from moorage.resources.zones import ZonesArguments

REQUESTED_BY = "moorage.dev/requested-by"
"""Label of an operation: the user for whom the gateway does it."""
OPERATION_TTL = timedelta(minutes=10)
OPERATION_MAX_TTL = timedelta(hours=1)
_MAX_CSR = 16 * 1024
_TTL_SECONDS = (60, 7 * 24 * 3600)
_SUBJECTS = {
    Verb.KUBECONFIG: "Cluster",
    Verb.LOGS: "Machine",
    Verb.DELETE: "Machine",
    Verb.CHECK: "CloudAccount",
    Verb.ZONES: "CloudAccount",
    Verb.ESTATE: "CloudAccount",
}


_PLURALS = {"Cluster": "clusters", "Machine": "machines"}
_PERMISSIONS = {
    Verb.KUBECONFIG: "clusters.kubeconfig",
    Verb.LOGS: "machines.logs",
    Verb.DELETE: "machines.delete",
    Verb.CHECK: "accounts.check",
    Verb.ZONES: "accounts.check",
    Verb.ESTATE: "accounts.check",
}


class ClusterRules(Rules[Cluster]):
    """A cluster goes to the gateway of its account, and takes its node pools with it."""

    def __init__(self) -> None:
        super().__init__(Cluster)

    async def prepare(self, store: Store, resource: Cluster, before: Cluster | None) -> None:
        account = await store.find(CloudAccount, "", resource.spec.account)
        route_to(resource, account.spec.gateway if account else "", before)
        if before is not None:
            resource.metadata.route = before.metadata.route
        gateway = await store.find(Gateway, "", resource.metadata.route)
        if gateway is not None:
            fill_search_domains(resource.spec, gateway.spec)

    async def faults(
        self, store: Store, resource: Cluster, before: Cluster | None
    ) -> list[FieldFault]:
        pools = await pools_of(store, before) if before else []
        estate = await load_estate(store)
        return cluster_faults(resource, pools, estate, before=before)

    async def permit(
        self, store: Store, resource: Cluster, before: Cluster | None, principal: Principal
    ) -> None:
        """The labels decide who may: nobody takes a cluster out of reach, or into it, by them."""
        if before is None or resource is before:
            return
        for state in (before, resource):
            require(principal, "clusters.update", state, state.metadata.labels)

    async def created(self, store: Store, resource: Cluster) -> None:
        await assign(store, resource)

    async def replaced(self, store: Store, resource: Cluster) -> None:
        await withdraw_plans(store, resource.metadata.uid)

    async def deleting(self, store: Store, resource: Cluster) -> None:
        for pool in await store.list(NodePool, owner=resource.metadata.uid):
            await store.request_deletion(NodePool, *pool.key)
            await release_unseen(store, pool)
        await release_unseen(store, resource)


class NodePoolRules(Rules[NodePool]):
    """A node pool belongs to its cluster and goes where the cluster goes."""

    def __init__(self) -> None:
        super().__init__(NodePool)

    async def prepare(self, store: Store, resource: NodePool, before: NodePool | None) -> None:
        if before is not None:
            return
        cluster = await store.find(Cluster, resource.metadata.project, resource.spec.cluster)
        if cluster is not None:
            adopt(resource, cluster)

    async def faults(
        self, store: Store, resource: NodePool, before: NodePool | None
    ) -> list[FieldFault]:
        spec = resource.spec
        cluster = await store.find(Cluster, resource.metadata.project, spec.cluster)
        estate = await load_estate(store)
        others = [
            pool
            for pool in (await pools_of(store, cluster) if cluster else [])
            if pool.metadata.name != resource.metadata.name
        ]
        faults = pool_faults(resource, cluster, estate, before=before, others=others)
        name = pool_resource_name(spec.cluster, spec.pool)
        if before is None and resource.metadata.name != name:
            faults.append(FieldFault("metadata.name", f"must be {name}, from cluster and pool"))
        return faults

    async def permit(
        self, store: Store, resource: NodePool, before: NodePool | None, principal: Principal
    ) -> None:
        """A new pool names its cluster in its body: it has to be one that the caller reaches."""
        project, name = resource.metadata.project, resource.spec.cluster
        if before is not None or principal.may("nodepools.create", project):
            return
        cluster = await store.find(Cluster, project, name)
        labels = cluster.metadata.labels if cluster else None
        if not principal.may("clusters.get", project, labels):
            raise NotFoundError(f"Cluster {project}/{name} does not exist")
        require(principal, "nodepools.create", resource, labels)

    async def replaced(self, store: Store, resource: NodePool) -> None:
        if resource.metadata.owner is not None:
            await withdraw_plans(store, resource.metadata.owner.uid)

    async def deleting(self, store: Store, resource: NodePool) -> None:
        await self.replaced(store, resource)
        await release_unseen(store, resource)


class OperationRules(Rules[Operation]):
    """An operation names its subject; the hub adds the subject's UID, who asked, and an end."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Operation)
        self._clock = clock

    async def prepare(self, store: Store, resource: Operation, before: Operation | None) -> None:
        spec = resource.spec
        latest = self._clock.now() + OPERATION_MAX_TTL
        spec.expires_at = min(spec.expires_at or self._clock.now() + OPERATION_TTL, latest)
        spec.subject_uid = ""
        subject = await self._subject(store, resource)
        if subject is not None:
            spec.subject_uid = subject.metadata.uid
            resource.metadata.owner = subject.owner()
            resource.metadata.route = subject.metadata.route
            resource.metadata.epoch = subject.metadata.epoch

    async def faults(
        self, store: Store, resource: Operation, before: Operation | None
    ) -> list[FieldFault]:
        spec = resource.spec
        faults = []
        if not spec.subject_uid:
            faults.append(
                FieldFault(
                    "spec.subjectName",
                    f"there is no {spec.subject_kind} {spec.subject_name} in this project",
                )
            )
        wanted = _SUBJECTS[spec.verb]
        if spec.subject_kind != wanted:
            faults.append(FieldFault("spec.subjectKind", f"{spec.verb} is asked of a {wanted}"))
        check = _ARGUMENTS.get(spec.verb, _no_arguments)
        return [*faults, *check(spec.arguments)]

    async def permit(
        self, store: Store, resource: Operation, before: Operation | None, principal: Principal
    ) -> None:
        """What is asked of the subject has a permission of its own.

        Tags in vCenter are everybody's: who works in one project does not change them.
        """
        if before is not None:
            return
        asked = resource.spec
        subject = await self._subject(store, resource)
        labels = None if subject is None else await cluster_labels(store, subject)
        if asked.subject_kind != "CloudAccount" and not principal.may(
            f"{_PLURALS[asked.subject_kind]}.get", resource.metadata.project, labels
        ):
            where = f"{resource.metadata.project}/{asked.subject_name}"
            raise NotFoundError(f"{asked.subject_kind} {where} does not exist")
        require(principal, _PERMISSIONS[asked.verb], resource, labels)
        if asked.verb is not Verb.ZONES or not asked.arguments.get("apply"):
            return
        if not principal.may("accounts.update"):
            raise ForbiddenError(
                f"{principal.username} may not change tags in vCenter: all projects' nodes get "
                "their region and zone from them. Ask an administrator of the whole installation; "
                "without `apply` everybody may see what would be done"
            )

    def sign(self, resource: Operation, username: str) -> None:
        resource.metadata.labels[REQUESTED_BY] = username

    async def _subject(self, store: Store, resource: Operation) -> Resource | None:
        kind = KINDS[resource.spec.subject_kind]
        project = "" if kind.scope is Scope.HUB else resource.metadata.project
        return await store.find(kind, project, resource.spec.subject_name)


def require(
    principal: Principal, permission: str, resource: Resource, labels: Mapping[str, str] | None
) -> None:
    """Raise ``ForbiddenError`` unless the permission reaches the resource's cluster."""
    if not principal.may(permission, resource.metadata.project, labels):
        kind, _, verb = permission.partition(".")
        raise ForbiddenError(
            f"{principal.username} may not {verb} {kind} here ({resource}): the permission "
            f"{permission} is missing"
        )


async def pools_of(store: Store, cluster: Cluster) -> list[NodePool]:
    """Return the cluster's node pools, those being deleted left out."""
    pools = await store.list(NodePool, owner=cluster.metadata.uid)
    return [pool for pool in pools if not pool.is_deleting]


def adopt(pool: NodePool, cluster: Cluster) -> None:
    """Make a new node pool the cluster's own."""
    route_to(pool, cluster.metadata.route, None)
    pool.metadata.owner = cluster.owner()
    pool.metadata.epoch = cluster.metadata.epoch


def _kubeconfig_faults(arguments: dict[str, Any]) -> list[FieldFault]:
    faults = [
        FieldFault(f"spec.arguments.{name}", "there is no such argument")
        for name in arguments
        if name not in ("csr", "ttlSeconds")
    ]
    csr, ttl = arguments.get("csr"), arguments.get("ttlSeconds")
    path = "spec.arguments.csr"
    if not isinstance(csr, str) or len(csr) > _MAX_CSR:
        faults.append(FieldFault(path, "a PEM certificate request is required"))
    else:
        try:
            if not x509.load_pem_x509_csr(csr.encode()).is_signature_valid:
                faults.append(FieldFault(path, "its signature is wrong"))
        except ValueError as error:
            faults.append(FieldFault(path, f"not a PEM certificate request: {error}"))
    low, high = _TTL_SECONDS
    if ttl is not None and (
        not isinstance(ttl, int) or isinstance(ttl, bool) or not low <= ttl <= high
    ):
        faults.append(FieldFault("spec.arguments.ttlSeconds", f"must lie between {low} and {high}"))
    return faults


def _no_arguments(arguments: dict[str, Any]) -> list[FieldFault]:
    return [FieldFault(f"spec.arguments.{name}", "there is no such argument") for name in arguments]


def _faults_of(model: type[Model], arguments: dict[str, Any]) -> list[FieldFault]:
    try:
        model.model_validate(arguments)
    except ValidationError as error:
        return list(invalid_from(error, "the arguments", root="spec.arguments").faults)
    return []


_ARGUMENTS: dict[Verb, Callable[[dict[str, Any]], list[FieldFault]]] = {
    Verb.KUBECONFIG: _kubeconfig_faults,
    Verb.CHECK: partial(_faults_of, CheckArguments),
    Verb.ZONES: partial(_faults_of, ZonesArguments),
    Verb.ESTATE: partial(_faults_of, EstateArguments),
}
