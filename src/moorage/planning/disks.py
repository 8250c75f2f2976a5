"""Extra disks with a place of their own: which datastore each goes to, beside the machine's own."""

from collections.abc import Mapping, Sequence

from moorage.planning.estate import Datastore, Disk, Host


def spread(
    disks: Sequence[Disk],
    own: str,
    stores: Mapping[str, Datastore],
    hosts: Sequence[Host],
    room: Mapping[str, int],
) -> tuple[tuple[str, ...], list[Host]] | str:
    """Return a datastore for each disk, and the hosts that reach them all; or why there is none.

    One that may lie beside the machine's other disks does; else it goes where most space is left.

    Args:
        disks: In their order.
        own: Datastore of the machine, which all of the hosts reach.
        stores: By ref; all that disks name.
        hosts: That the machine may run on.
        room: By datastore, the bytes that are left beside the machine and its own disks.
    """
    if all(disk.datastores is None for disk in disks):
        return (own,) * len(disks), [*hosts]
    why: list[str] = []
    for reached in dict.fromkeys(host.datastores for host in hosts):
        found = _within(disks, own, stores, reached, dict(room))
        if isinstance(found, str):
            why.append(found)
            continue
        return found, [host for host in hosts if host.datastores.issuperset(found)]
    return "; ".join(dict.fromkeys(why))


def _within(
    disks: Sequence[Disk],
    own: str,
    stores: Mapping[str, Datastore],
    reached: frozenset[str],
    left: dict[str, int],
) -> tuple[str, ...] | str:
    """Choose among what some hosts reach."""
    found: list[str] = []
    for number, disk in enumerate(disks, 1):
        if disk.datastores is None:
            found.append(own)
            continue
        order = sorted(
            disk.datastores, key=lambda ref: (ref != own, -left.get(ref, 0), stores[ref].name)
        )
        lacking = [_lacks(stores[ref], disk, reached, left) for ref in order]
        if "" not in lacking:
            said = "; ".join(lacking) or "its datastore is not one of those allowed any more"
            return f"extra disk {number}: {said}"
        taken = order[lacking.index("")]
        left[taken] -= disk.size_bytes
        found.append(taken)
    return tuple(found)


def _lacks(store: Datastore, disk: Disk, reached: frozenset[str], left: Mapping[str, int]) -> str:
    """Return why a disk cannot lie on a datastore, else ``""``."""
    if store.out_of_service:
        return f"datastore {store.name} is {store.out_of_service}"
    if store.ref not in reached:
        return f"no host that the machine may run on reaches datastore {store.name}"
    if left[store.ref] < disk.size_bytes:
        free, needed = gib(left[store.ref]), gib(disk.size_bytes)
        return f"datastore {store.name} has {free} free of {needed} needed"
    return ""


def gib(size: int) -> str:
    """Say a size for people."""
    return f"{max(0, size) / 1024**3:.1f} GiB"
