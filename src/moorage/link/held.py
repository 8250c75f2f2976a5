"""Intents that a gateway holds and its hub, restored from a backup, knows otherwise or not at all.

The gateway marks such an intent with a condition and offers its copy; the hub keeps the copies
beside its resources until an administrator decides whose version stays. Nothing is ever deleted
for being absent.
"""

import json
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import BaseModel

from moorage.engine.store import Store
from moorage.kit.errors import ConflictError, NotFoundError
from moorage.link.frames import Delete, Frame, Put, read_resource
from moorage.link.replicate import INTENT_CONFLICT, intents, kind_of
from moorage.resources import Assignment, Gateway, Resource
from moorage.resources.meta import GATEWAY_FINALIZER, Document

R = TypeVar("R", bound=Resource)

UNKNOWN = "UnknownToHub"
"""Reason of the condition of an intent that the hub does not know."""
OFFERED = frozenset({UNKNOWN, "HubIsOlder"})


class HeldIntent(BaseModel):
    """One gateway's copy, and what was decided of it."""

    resource: Document
    seen_at: datetime
    deleting: bool = False
    """Decided: the gateway shall take it down. Told again until it has."""
    gone: bool = False
    """It has. Remembered, because an older offer of it may still be under way."""


def without_conflict(resource: R) -> R:
    """Return a copy without the condition that speaks of the conflict."""
    copy = resource.copy_deep()
    claims = copy.status.conditions
    copy.status.conditions = [claim for claim in claims if claim.type != INTENT_CONFLICT]
    return copy


# At the gateway


async def read_offered(store: Store) -> list[Frame]:
    """Collect the copies of all intents in conflict: told on each connection."""
    return [offer(row) async for row in intents(store) if is_offered(row)]


def is_offered(row: Resource) -> bool:
    """Tell whether an intent of the gateway waits for a decision at the hub."""
    claim = row.status.condition(INTENT_CONFLICT)
    return claim is not None and claim.status == "True" and claim.reason in OFFERED


def offer(row: Resource) -> Put:
    """Return the frame that shows the gateway's copy to the hub; an older hub rejects it."""
    return Put(sequence=0, resource=row.document())


# At the hub


async def load_held(store: Store, gateway: str) -> dict[str, HeldIntent]:
    """Return what a gateway holds otherwise, by UID; what is gone by now too."""
    text = await store.get_value(f"link.held.{gateway}")
    return {uid: HeldIntent.model_validate(one) for uid, one in json.loads(text or "{}").items()}


async def save_held(store: Store, gateway: str, held: dict[str, HeldIntent], now: datetime) -> None:
    """Store it, and say on the gateway how many wait for a decision."""
    text = json.dumps({uid: one.model_dump(mode="json") for uid, one in held.items()})
    await store.set_value(f"link.held.{gateway}", text)
    shown = await store.find(Gateway, "", gateway)
    if shown is None:
        return
    shown = without_conflict(shown)
    left = [one for one in held.values() if not one.gone]
    if left:
        shown.status.set_condition(
            INTENT_CONFLICT,
            "True",
            "Undecided" if any(not one.deleting for one in left) else "Deleting",
            f"{len(left)} intents are known otherwise at the gateway, or only there: see `moorage "
            f"gateways conflicts {gateway}`",
            now=now,
        )
    await store.put_status(shown)


async def take_offer(store: Store, gateway: str, resource: Resource, now: datetime) -> list[Frame]:
    """Keep a gateway's copy; returns the deletion, once that was decided."""
    held = await load_held(store, gateway)
    uid = resource.metadata.uid
    ours = await store.find_uid(type(resource), uid)
    if ours is not None and _agree(ours, resource):
        return []  # offered before the decision had arrived
    known = held.get(uid)
    if known is not None and known.gone:
        return [deletion(resource)]
    held[uid] = HeldIntent(
        resource=resource.document(),
        seen_at=now,
        deleting=known is not None and known.deleting,
    )
    await save_held(store, gateway, held, now)
    return [deletion(resource)] if held[uid].deleting else []


async def drop_settled(store: Store, gateway: str, uid: str, now: datetime) -> None:
    """Forget a copy: the gateway and the hub agree again, or it is gone."""
    held = await load_held(store, gateway)
    if uid not in held or held[uid].gone:
        return
    if held[uid].deleting:
        held[uid].gone = True
    else:
        del held[uid]
    await save_held(store, gateway, held, now)


def _agree(ours: Resource, theirs: Resource) -> bool:
    """Tell whether the gateway will take, or has, what the hub asks: nothing is to be decided."""
    if theirs.is_deleting and not ours.is_deleting:
        return False
    mine, other = ours.metadata.generation, theirs.metadata.generation
    return other < mine or (other == mine and ours.spec == theirs.spec)


async def tell_deletions(store: Store, gateway: str, now: datetime) -> list[Frame]:
    """Collect the deletions that were decided; told until the gateway has let go.

    Of what nothing stands behind, such as an assignment, a gateway lets go without a word: it is
    told once, and once more if it offers it again.
    """
    async with store.transaction() as inside:
        held = await load_held(inside, gateway)
        going = {
            uid: read_resource(one.resource)
            for uid, one in held.items()
            if one.deleting and not one.gone
        }
        for uid, one in going.items():
            if GATEWAY_FINALIZER not in one.metadata.finalizers:
                held[uid].gone = True
        if going:
            await save_held(inside, gateway, held, now)
    return [deletion(one) for one in going.values()]


def deletion(resource: Resource) -> Delete:
    """Return the frame that has the gateway take down what the hub does not want back."""
    meta = resource.metadata
    return Delete(
        sequence=0, kind=resource.kind, project=meta.project, name=meta.name, uid=meta.uid
    )


async def decide(
    store: Store, gateway: str, uid: str, keep: Literal["gateway", "hub"], now: datetime
) -> Resource:
    """Let the gateway's copy or the hub's own version stay; returns the gateway's copy.

    Whatever belongs to a cluster or pool that the hub takes back comes with it. Raises
    ``NotFoundError`` for what is not held, and ``ConflictError`` for what cannot be.
    """
    held = await load_held(store, gateway)
    if uid not in held or held[uid].gone:
        raise NotFoundError(f"gateway {gateway} holds no conflicting {uid}: list them again")
    chosen = read_resource(held[uid].resource)
    for one in _family(chosen, held):
        known = await store.find_uid(type(one), one.metadata.uid)
        if keep == "gateway":
            await _take_back(store, gateway, one, known)
        elif known is None:
            held[one.metadata.uid].deleting = True
            continue
        else:
            await _insist(store, one, known)
        del held[one.metadata.uid]
    await save_held(store, gateway, held, now)
    return chosen


def _family(chosen: Resource, held: dict[str, HeldIntent]) -> list[Resource]:
    others = [read_resource(one.resource) for key, one in held.items()
              if key != chosen.metadata.uid and not one.gone]  # fmt: skip
    return [chosen, *(one for one in others if _belongs(one, chosen.metadata.uid))]


def _belongs(one: Resource, uid: str) -> bool:
    owner = one.metadata.owner
    if owner is not None and owner.uid == uid:
        return True
    return isinstance(one, Assignment) and one.spec.subject_uid == uid


async def _take_back(store: Store, gateway: str, one: Resource, known: Resource | None) -> None:
    namesake = await store.find(type(one), *one.key)
    if known is None and namesake is not None:
        raise ConflictError(
            f"the hub has another {one} ({namesake.metadata.uid}): delete that first, or keep the "
            "hub's and let the gateway delete this one"
        )
    if one.metadata.project:
        project = await store.find(kind_of("Project"), "", one.metadata.project)
        if project is None:
            raise ConflictError(
                f"{one} is of project {one.metadata.project}, which the hub does not know: add it "
                f"with `moorage projects add {one.metadata.project}`"
            )
    back = without_conflict(one)
    back.metadata.route = gateway
    await store.put_mirror(back)


async def _insist(store: Store, one: Resource, known: Resource) -> None:
    if one.is_deleting and not known.is_deleting:
        raise ConflictError(
            f"{one} is being deleted at the gateway, which cannot be taken back: keep the "
            "gateway's version, and create it again once it is gone"
        )
    newer = without_conflict(known)
    newer.metadata.generation = max(one.metadata.generation, known.metadata.generation) + 1
    await store.put_mirror(newer)
