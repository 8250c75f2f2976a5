"""What a plan has promised, held against what would come now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from moorage.planning.address_choice import GivenAddress
from moorage.planning.choosing import Choice, NewMachine
from moorage.planning.estate import Place
from moorage.resources.plan import PlannedMachine, PlanStatus
from moorage.resources.spans import Address


@dataclass(frozen=True, slots=True)
class Copies:
    """What new machines are copies of, and how much is copied for them."""

    template: str = ""
    """Digest of what the template holds; empty: nothing is made of one."""
    machines: Mapping[tuple[str | None, int], int] = field(default_factory=dict)
    """Pool and ordinal -> bytes of its full clone; 0 for a linked one."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Moref of a datastore that the template is copied to first -> bytes."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The part of a plan that has to come as it says."""

    places: Mapping[str | None, Sequence[Place]] = field(default_factory=dict)
    """By pool, of its new machines in their order."""
    uids: Mapping[tuple[str | None, int], str] = field(default_factory=dict)
    """Pool and ordinal -> UID of the new machine."""
    deletions: frozenset[str] = frozenset()
    """Names of the machines that go."""
    endpoint: Address | None = None
    copies: Copies = field(default_factory=Copies)

    @classmethod
    def of(cls, status: PlanStatus) -> "Promise":
        """Read what a plan says."""
        places: dict[str | None, list[Place]] = {}
        uids: dict[tuple[str | None, int], str] = {}
        for one in status.actions:
            if one.ordinal is not None:
                places.setdefault(one.pool, []).append(place_of(one))
                uids[one.pool, one.ordinal] = one.uid
        gone = frozenset(one.machine for one in status.actions if one.action == "delete")
        copies = Copies(
            status.template_digest,
            {
                (one.pool, one.ordinal): one.bytes_to_copy
                for one in status.actions
                if one.ordinal is not None
            },
            {one.datastore_ref: one.bytes_to_copy for one in status.replicas},
        )
        return cls(places, uids, gone, status.endpoint, copies)


def place_of(action: PlannedMachine) -> Place:
    """Return where a planned machine goes."""
    given = (one.rpartition("/") for one in action.addresses)
    own = action.datastore_ref or ""
    return Place(
        domain=action.failure_domain,
        datastore=own,
        host=action.host_ref,
        addresses=tuple(GivenAddress(pool, ip_address(address)) for pool, _, address in given),
        disks=tuple(one.datastore_ref or own for one in action.extra_disks),
    )


def differences(promise: Promise, choice: Choice, copies: Copies) -> list[str]:
    """Say what would come otherwise than promised; nothing when all would come as it says.

    ``choice`` was made with the promised places: so a better place that has come up since makes
    no difference, and one that cannot be had any more does. Neither does it matter that less has
    to be copied.
    """
    found = [str(short) for short in choice.shortages]
    if choice.no_endpoint:
        found.append(f"the API would have no address: {choice.no_endpoint}")
    promised = {
        (pool, number): place
        for pool, places in promise.places.items()
        for number, place in enumerate(places, 1)
    }
    coming = {(new.pool, new.ordinal): new for new in choice.create}
    refused = {short.pool for short in choice.shortages}
    for key in sorted(promised.keys() | coming.keys(), key=lambda one: (one[0] or "", one[1])):
        found += _difference(key, promised.get(key), coming.get(key), refused)
    doomed = {removal.machine.metadata.name for removal in choice.delete}
    found += [f"{name} would be deleted too" for name in sorted(doomed - promise.deletions)]
    found += [f"{name} would not be deleted" for name in sorted(promise.deletions - doomed)]
    return found + _more_copied(promise.copies, copies)


def _more_copied(promised: Copies, coming: Copies) -> list[str]:
    if promised.template and coming.template and promised.template != coming.template:
        return ["the template was changed since"]
    found = [
        f"{_which(key)} would be a full clone of {_gib(size)}"
        for key, size in coming.machines.items()
        if size > promised.machines.get(key, size)
    ]
    return found + [
        f"the template would first be copied to datastore {datastore}, {_gib(size)}"
        for datastore, size in coming.replicas.items()
        if promised.template and size > promised.replicas.get(datastore, 0)
    ]


def _difference(
    key: tuple[str | None, int],
    promised: Place | None,
    coming: NewMachine | None,
    refused: set[str | None],
) -> list[str]:
    pool, which = key[0], _which(key)
    if promised is None:
        return [f"{which} would be made too"]
    if coming is None:
        return [] if pool in refused else [f"{which} would not be made"]
    if coming.place == promised:
        return []
    return [f"{which} would go to {_shown(coming.place)} in place of {_shown(promised)}"]


def _which(key: tuple[str | None, int]) -> str:
    pool, ordinal = key
    return f"new machine {ordinal} of {pool or 'the control plane'}"


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"


def _shown(place: Place) -> str:
    parts = [place.domain, place.host or "", place.datastore]
    parts += [
        f"disk {n} on {ref}" for n, ref in enumerate(place.disks, 1) if ref != place.datastore
    ]
    return " ".join([*filter(None, parts), *(str(one.address) for one in place.addresses)])
