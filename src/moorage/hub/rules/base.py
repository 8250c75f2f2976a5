"""How one kind is prepared, judged and deleted. The generic routes ask; the subclasses answer."""

import json
from typing import Generic, TypeVar

from moorage.auth import Principal
from moorage.controllers.tally import tally_of
from moorage.engine.store import Store
from moorage.hub.admission import Estate
from moorage.kit.errors import ConflictError, FieldFault, InvalidError, NotFoundError
from moorage.resources import (
    Assignment,
    CloudAccount,
    Cluster,
    Gateway,
    IPPool,
    Metadata,
    Project,
    Resource,
)
from moorage.resources.gateway import AssignmentSpec
from moorage.resources.meta import GATEWAY_FINALIZER, Document

RESERVED_PREFIX = "moorage.dev/"
"""Labels under it are written by Moorage itself."""

RECOVERY_KEY = "recovery-key"
"""Name of the stored value that holds the installation's public recovery key."""

R = TypeVar("R", bound=Resource)


class Rules(Generic[R]):
    """The rules of a kind that has none of its own."""

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind

    async def prepare(self, store: Store, resource: R, before: R | None) -> None:
        """Fill in what the hub decides: route, owner, finalizers, defaults."""

    async def faults(self, store: Store, resource: R, before: R | None) -> list[FieldFault]:
        """Return all faults that only other resources show."""
        return []

    async def permit(
        self, store: Store, resource: R, before: R | None, principal: Principal
    ) -> None:
        """Raise ``ForbiddenError`` for what needs more rights than the operation itself.

        Asked before anything is written; of a deletion ``resource`` is ``before``.
        """

    def sign(self, resource: R, username: str) -> None:
        """Note in a new resource who asked for it, where the gateway has to know."""

    async def created(self, store: Store, resource: R) -> None:
        """Store what comes with a new resource, in the same transaction."""

    async def replaced(self, store: Store, resource: R) -> None:
        """Store what comes with a new spec, or the same again, in the same transaction."""

    async def check_deletion(self, store: Store, resource: R) -> None:
        """Raise ``ConflictError`` when others still need the resource."""

    async def deleting(self, store: Store, resource: R) -> None:
        """Ask for the deletion of what goes with it, in the same transaction."""

    def show(self, resource: R) -> Document:
        """Return the document that clients see."""
        return resource.document()

    def show_text(self, resource: R) -> str:
        """Return the same as JSON text: long lists and many watchers take the short way."""
        if type(self).show is Rules.show:
            return resource.text()
        return json.dumps(self.show(resource), ensure_ascii=False, separators=(",", ":"))

    async def admit(self, store: Store, resource: R, before: R | None) -> None:
        """Prepare and judge; raises ``InvalidError`` with every fault."""
        faults = label_faults(resource, before)
        await self.prepare(store, resource, before)
        faults += await self.faults(store, resource, before)
        if faults:
            raise InvalidError(f"{resource} cannot be stored like this", tuple(faults))


def label_faults(resource: Resource, before: Resource | None) -> list[FieldFault]:
    """Refuse reserved labels that were not there before."""
    old = before.metadata.labels if before else {}
    return [
        FieldFault(f"metadata.labels.{key}", f"labels under {RESERVED_PREFIX} are Moorage's own")
        for key, value in resource.metadata.labels.items()
        if key.startswith(RESERVED_PREFIX) and old.get(key) != value
    ]


async def load_estate(store: Store) -> Estate:
    """Read what admission looks at: hub-wide kinds, and what all clusters take.

    To be called before the transaction writes.
    """
    return Estate(
        tally=await tally_of(store),
        gateways={g.metadata.name: g for g in await store.list(Gateway)},
        accounts={a.metadata.name: a for a in await store.list(CloudAccount)},
        ip_pools={p.metadata.name: p for p in await store.list(IPPool)},
    )


async def assign(store: Store, subject: Cluster | IPPool) -> Assignment:
    """Give a new cluster or IP pool to its gateway (design, 3.5)."""
    meta = subject.metadata
    return await store.create(
        Assignment(
            metadata=Metadata(
                name=f"{subject.kind.lower()}-{meta.uid}",
                owner=subject.owner(),
                route=meta.route,
                epoch=meta.epoch,
            ),
            spec=AssignmentSpec(
                subject_kind=subject.kind,
                subject_project=meta.project,
                subject_name=meta.name,
                subject_uid=meta.uid,
                gateway=meta.route,
                epoch=meta.epoch,
            ),
        )
    )


def route_to(resource: Resource, gateway: str, before: Resource | None) -> None:
    """Send a resource to its gateway, which must let go of it before it can vanish."""
    resource.metadata.route = gateway
    if before is None:
        resource.metadata.epoch = 1
        resource.metadata.finalizers = [GATEWAY_FINALIZER]


async def release_unseen(store: Store, resource: Resource) -> None:
    """Let a resource go at once when its gateway has never enrolled: nobody else would."""
    gateway = await store.find(Gateway, "", resource.metadata.route)
    if gateway is None or not gateway.status.enrolled:
        await store.remove_finalizer(resource, GATEWAY_FINALIZER)


def in_use(resource: Resource, users: list[str], remedy: str) -> None:
    """Raise ``ConflictError`` when there are users."""
    if users:
        shown = ", ".join(users[:10]) + (f" and {len(users) - 10} more" if len(users) > 10 else "")  # noqa: PLR2004
        raise ConflictError(f"{resource} is in use by {shown}: {remedy}")


async def project_of(store: Store, name: str) -> Project:
    """Return the project; raises ``NotFoundError``, or ``ConflictError`` when it is going."""
    project = await store.find(Project, "", name)
    if project is None:
        raise NotFoundError(f"there is no project {name}, or you may not see it")
    return project
