"""What a transfer writes: mirrors handed over, intents and assignments on another route."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from moorage.engine import Store
from moorage.ipam import held_back_of
from moorage.resources import (
    Assignment,
    CloudAccount,
    Cluster,
    ClusterKeys,
    Handover,
    IPAddress,
    IPPool,
    Machine,
    Metadata,
    NodePool,
    Operation,
    Plan,
    Resource,
    Secret,
    Template,
)
from moorage.resources.gateway import HandoverSpec, assignment_name

if TYPE_CHECKING:
    from moorage.resources.meta import Document

_PART = 200
"""Resources in one handover: it has to fit one frame of the link."""


async def hand_over(store: Store, subject: Cluster | IPPool, assignment: Assignment) -> None:
    """Route what the gateway before owned to the new one, and write down what it takes over.

    ``assignment`` is the new one; it is stored later, after everything that it rests on.
    """
    to, epoch = assignment.spec.gateway, assignment.spec.epoch
    documents: list[Document] = []
    if isinstance(subject, Cluster):
        for one in await _derived_of(store, subject):
            one.metadata.route, one.metadata.epoch = to, epoch
            documents.append((await store.put_spec(one)).document())
    else:
        # Held back for courtesy, and forgotten in a move: the gateway before drops its copies.
        for one in await held_back_of(store, subject.metadata.name):
            await store.discard(one)
    for part, start in enumerate(range(0, max(len(documents), 1), _PART)):
        await store.create(
            Handover(
                metadata=Metadata(
                    name=f"{assignment.metadata.name}-{epoch}-{part}",
                    owner=subject.owner(),
                    route=to,
                    epoch=epoch,
                ),
                spec=HandoverSpec(
                    gateway=to,
                    epoch=epoch,
                    part=part,
                    resources=documents[start : start + _PART],
                ),
            )
        )


async def give_account(store: Store, account: CloudAccount, to: str) -> None:
    """Give a cloud account, under the epoch that it has by now, and its secret to a gateway.

    The templates that were asked for with it go along.
    """
    secret = await store.find(Secret, "", account.spec.secret)
    if secret is not None and secret.spec.gateway == account.spec.gateway:
        secret.spec.gateway = secret.metadata.route = to
        await store.put_spec(secret)
    account.spec.gateway = account.metadata.route = to
    await store.put_spec(account)
    templates = await store.list(Template)
    mine = [one for one in templates if one.spec.account == account.metadata.name]
    await _route(mine, store, to, account.metadata.epoch)


async def give_subject(store: Store, subject: Cluster | IPPool, to: str) -> None:
    """Give a cluster with all intents about it, or an IP pool, and its assignment to a gateway."""
    name = assignment_name(subject.kind, subject.metadata.uid)
    assignment = await store.get(Assignment, "", name)
    spec = assignment.spec
    spec.epoch += 1
    spec.gateway, spec.moving_to, spec.move = to, None, ""
    if isinstance(subject, IPPool):
        subject.spec.gateway = to
        await _route([subject, assignment], store, to, spec.epoch)
        return
    pools = await store.list(NodePool, owner=subject.metadata.uid)
    plans = await store.list(Plan, owner=subject.metadata.uid)
    machines = await store.list(Machine, owner=subject.metadata.uid)
    owners = {subject.metadata.uid, *(machine.metadata.uid for machine in machines)}
    operations = [
        one
        for one in await store.list(Operation, project=subject.metadata.project)
        if one.metadata.owner is not None and one.metadata.owner.uid in owners
    ]
    await _route([*plans, assignment, subject, *pools, *operations], store, to, spec.epoch)


async def _route(resources: Iterable[Resource], store: Store, to: str, epoch: int) -> None:
    for one in resources:
        one.metadata.route, one.metadata.epoch = to, epoch
        await store.put_spec(one)


async def _derived_of(store: Store, cluster: Cluster) -> list[Machine | ClusterKeys | IPAddress]:
    uid, key = cluster.metadata.uid, "/".join(cluster.key)
    addresses = await store.list(IPAddress, route=cluster.metadata.route)
    return [
        *await store.list(ClusterKeys, owner=uid),
        *await store.list(Machine, owner=uid),
        *(one for one in addresses if one.spec.cluster == key and one.spec.released_at is None),
    ]
