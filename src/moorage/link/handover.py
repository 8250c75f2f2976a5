"""How clusters change hands at a gateway: taken over whole, and let go without any teardown."""

from moorage.engine.store import Store
from moorage.link.frames import Drop, Dropped, Frame, read_resource
from moorage.link.replicate import RejectedError
from moorage.resources import (
    Assignment,
    CloudAccount,
    ClusterKeys,
    Handover,
    IPAddress,
    Machine,
    Ownership,
    Resource,
    Secret,
    Template,
)
from moorage.resources.gateway import assignment_name


async def take_over(store: Store, handover: Handover) -> None:
    """Store what the gateway before owned; called once for each handover, in one transaction.

    Copies from an earlier time, when the subject was here before, make room first.
    """
    owner = handover.metadata.owner
    if handover.spec.part == 0 and owner is not None:
        for old in await _derived_of(store, owner.uid):
            await store.discard(old)
    for document in handover.spec.resources:
        resource = read_resource(document)
        if resource.ownership is not Ownership.DERIVED:
            raise RejectedError("NotDerived", f"{resource} is nothing that is handed over")
        await store.put_mirror(resource)


async def drop_copies(store: Store, frame: Drop) -> list[Frame]:
    """Note that copies have to go, or say that they are gone.

    A cluster's and a pool's go when no pass works on them any more: its assignment says so to
    the controllers.
    """
    done: list[Frame] = [Dropped(uid=frame.uid, epoch=frame.epoch)]
    if frame.kind == "CloudAccount":
        account = await store.find_uid(CloudAccount, frame.uid)
        if account is not None and account.metadata.epoch < frame.epoch:
            secret = await store.find(Secret, "", account.spec.secret)
            await store.discard(account)
            for template in await store.list(Template):
                if template.spec.account == account.metadata.name:
                    await store.discard(template)
            if secret is not None and secret.spec.gateway == account.spec.gateway:
                await store.discard(secret)
        return done
    held = await store.find(Assignment, "", assignment_name(frame.kind, frame.uid))
    if held is None or held.spec.epoch >= frame.epoch:
        return done
    if held.status.dropped_epoch < frame.epoch:
        held.status.dropped_epoch = frame.epoch
        await store.put_status(held)
    return []


async def _derived_of(store: Store, uid: str) -> list[Resource]:
    machines = await store.list(Machine, owner=uid)
    found: list[Resource] = [*machines, *await store.list(ClusterKeys, owner=uid)]
    for owner in (uid, *(machine.metadata.uid for machine in machines)):
        found += await store.list(IPAddress, owner=owner)
    return found
