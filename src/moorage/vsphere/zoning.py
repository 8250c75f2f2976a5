"""Makes region and zone tags, and attaches them: what is there stays, nothing is ever removed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from moorage.engine import lease
from moorage.kit.errors import FieldFault, ForbiddenError, InvalidError, UnavailableError
from moorage.resources.zones import TagAction, TagChange
from moorage.vsphere.places import COMPUTE, Place, Places, near, split_path
from moorage.vsphere.rest import Rest
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.tagging import SINGLE, Category, Tag, Tagging
from moorage.vsphere.zones import Categories, Topology, Zones, chain_of, topology

_DESCRIPTION = "Made by Moorage: where Kubernetes nodes are"
_REGION_TYPES = ("Datacenter",)
_ZONE_TYPES = ("ClusterComputeResource", "HostSystem")
_EFFECT_S = 60.0
"""For all calls of one request: tens of tags, one after the other."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A tag that an object shall bear."""

    place: Place
    path: str
    """Inventory path."""
    category: str
    value: str


@dataclass(slots=True)
class _Scene:
    """What vCenter's tagging service has of what is wished for."""

    categories: dict[str, Category] = field(default_factory=dict)
    tags: dict[tuple[str, str], Tag] = field(default_factory=dict)
    """By names of category and tag."""
    attached: Mapping[str, list[str] | None] = field(default_factory=dict)


class Zoning:
    """Shows and makes the tags of datacenters and compute clusters."""

    def __init__(self, session: Session, stream: Stream, rest: Rest, zones: Zones) -> None:
        self._session = session
        self._stream = stream
        self._rest = rest
        self._zones = zones

    async def survey(self, categories: Categories) -> list[tuple[Place, str, Topology]]:
        """Return each datacenter, compute cluster and standalone host: path, what tags tell."""
        places = self._places()
        found = [*places.of_kind(("Datacenter",)), *places.of_kind(COMPUTE)]
        chains = [chain for one in found if (chain := list(chain_of(places, one)))]
        self._zones.forget()
        tags = await self._zones.tags({one.moref: one for chain in chains for one in chain})
        return [
            (chain[0], f"/{places.path(chain[0])}", topology(chain, tags, categories, places))
            for chain in chains
        ]

    def wishes(
        self, regions: Mapping[str, str], zones: Mapping[str, str], categories: Categories
    ) -> list[Wish]:
        """Find the objects that are named; raises ``InvalidError`` with all that are not there."""
        places = self._places()
        faults: list[FieldFault] = []
        found: list[Wish] = []
        for asked, kinds, category, word in (
            (regions, ("Datacenter",), categories.region, "regions"),
            (zones, COMPUTE, categories.zone, "zones"),
        ):
            for name, value in asked.items():
                chosen = _named(places, name, kinds)
                if isinstance(chosen, str):
                    faults.append(FieldFault(f"{word}[{name}]", chosen))
                elif (place := next(chain_of(places, chosen), None)) is not None:
                    found.append(Wish(place, f"/{places.path(place)}", category, value))
        _check(found, faults)
        return found

    async def change(self, wishes: list[Wish], *, apply: bool) -> list[TagChange]:
        """Say what has to be done, and do it if asked; nothing is done unless all of it can be.

        Raises:
            InvalidError: An object bears another tag of the category, or the category does not
                allow such objects.
            ForbiddenError: The account lacks a privilege; what was done before stays.
        """
        if not wishes:
            return []
        limit = _EFFECT_S if apply else self._session.limits.read_s
        if apply:
            await lease.hold(timedelta(seconds=limit))
        what = f"{'make' if apply else 'look for'} the tags of {len(wishes)} objects"
        work = partial(self._change, wishes, apply)
        try:
            return await self._session.call(what, work, deadline_s=limit)
        finally:
            self._zones.forget()

    def _change(self, wishes: list[Wish], apply: bool) -> list[TagChange]:
        with self._rest.open() as calls:
            tagging = Tagging(calls)
            scene = _look(tagging, wishes)
            changes = _plan(wishes, scene)
            if apply:
                with self._session.effect(f"make the tags of {len(wishes)} objects"):
                    _apply(tagging, wishes, scene, changes)
            return changes

    def _places(self) -> Places:
        inventory = self._stream.inventory
        if not inventory.synced.is_set():
            raise UnavailableError(
                f"the inventory of vCenter {self._session.endpoint.host} is not complete: "
                f"{inventory.why_not}"
            )
        return self._stream.places


def _named(places: Places, asked: str, kinds: Iterable[str]) -> Place | str:
    """Return the object of that path or unique name, or why there is none."""
    every = places.of_kind(tuple(kinds))
    wanted = split_path(asked)
    paths = {one.moref: places.path(one) for one in every}
    found = [one for one in every if split_path(paths[one.moref]) == wanted]
    if not found and len(wanted) == 1:
        found = [one for one in every if one.name == wanted[0]]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(sorted(f"/{paths[one.moref]}" for one in found))
        return f"{asked!r} is not unique: give one of {several}"
    return f"there is no {asked!r}: {near(asked, [f'/{path}' for path in paths.values()])}"


def _check(wishes: list[Wish], faults: list[FieldFault]) -> None:
    seen: dict[tuple[str, str], Wish] = {}
    for wish in wishes:
        other = seen.setdefault((wish.place.moref, wish.category), wish)
        if other.value != wish.value:
            message = f"{wish.path} is named twice, with {other.value} and {wish.value}"
            faults.append(FieldFault(wish.category, message))
    if faults:
        raise InvalidError("the tags cannot be made; nothing was changed", tuple(faults))


def _look(tagging: Tagging, wishes: list[Wish]) -> _Scene:
    wanted = {wish.category for wish in wishes}
    scene = _Scene()
    for category in tagging.categories():
        if category.name in wanted:
            scene.categories[category.name] = category
            for tag in tagging.tags_of(category):
                scene.tags[category.name, tag.name] = tag
    scene.attached = tagging.attached(list({one.place.moref: one.place for one in wishes}.values()))
    return scene


def _plan(wishes: list[Wish], scene: _Scene) -> list[TagChange]:
    """Return what is to be done, in order; raises ``InvalidError`` for what is in the way."""
    faults: list[FieldFault] = []
    changes: list[TagChange] = []
    names = {tag.identifier: key for key, tag in scene.tags.items()}
    for wish in wishes:
        category = scene.categories.get(wish.category)
        if category is None:
            changes.append(TagChange(action=TagAction.CREATE_CATEGORY, category=wish.category))
        elif category.types and wish.place.kind not in category.types:
            faults.append(
                FieldFault(
                    wish.path,
                    f"tags of category {wish.category} cannot be attached to a {wish.place.kind}, "
                    f"only to {', '.join(category.types)}: let the category allow it, in the "
                    "vSphere Client",
                )
            )
        if (wish.category, wish.value) not in scene.tags:
            tag = TagChange(action=TagAction.CREATE_TAG, category=wish.category, tag=wish.value)
            changes.append(tag)
        held = scene.attached.get(wish.place.moref)
        if held is None:
            faults.append(FieldFault(wish.path, "the account may not read its tags"))
            continue
        values = [names[one][1] for one in held if one in names and names[one][0] == wish.category]
        others = [value for value in values if value != wish.value]
        if others:
            faults.append(
                FieldFault(
                    wish.path,
                    f"it has the tag {', '.join(others)} of category {wish.category}, which is not "
                    "taken away here: detach it in the vSphere Client first",
                )
            )
        if wish.value not in values:
            attach = TagChange(
                action=TagAction.ATTACH, category=wish.category, tag=wish.value, object=wish.path
            )
            changes.append(attach)
    if faults:
        raise InvalidError("the tags cannot be made; nothing was changed", tuple(faults))
    order = list(TagAction)
    once = [change for at, change in enumerate(changes) if change not in changes[:at]]
    return sorted(once, key=lambda change: order.index(change.action))


def _apply(
    tagging: Tagging, wishes: list[Wish], scene: _Scene, changes: Sequence[TagChange]
) -> None:
    places = {wish.path: wish.place for wish in wishes}
    is_zone = {wish.category: wish.place.kind != "Datacenter" for wish in wishes}
    for done, change in enumerate(changes):
        try:
            _make(tagging, scene, change, places, is_zone)
        except ForbiddenError as error:
            before = f"{done} of {len(changes)} changes were made before and stay"
            raise ForbiddenError(f"{error}. {before}") from error


def _make(
    tagging: Tagging,
    scene: _Scene,
    change: TagChange,
    places: Mapping[str, Place],
    is_zone: Mapping[str, bool],
) -> None:
    match change.action:
        case TagAction.CREATE_CATEGORY:
            types = _ZONE_TYPES if is_zone[change.category] else _REGION_TYPES
            made = tagging.create_category(change.category, _DESCRIPTION, types)
            scene.categories[change.category] = Category(made, change.category, SINGLE, types)
        case TagAction.CREATE_TAG:
            category = scene.categories[change.category].identifier
            made = tagging.create_tag(category, change.tag, _DESCRIPTION)
            scene.tags[change.category, change.tag] = Tag(made, change.tag, category)
        case TagAction.ATTACH:
            tagging.attach(scene.tags[change.category, change.tag], places[change.object])
