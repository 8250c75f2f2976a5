"""Claim and release addresses of a pool."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import IPv4Address

from moorage.engine.store import Store
from moorage.kit.errors import ConflictError, MoorageError, NotFoundError
from moorage.planning import choose_address
from moorage.resources import IPAddress, IPPool, Metadata, Owner
from moorage.resources.ippool import IPAddressSpec, claim_name, claimed_address

_HELD_BACK = {"moorage.dev/held-back": "true"}
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class PoolExhaustedError(MoorageError):
    """Every address of the pool is claimed."""


UsedBy = Callable[[IPv4Address], Awaitable[str | None]]
"""Tells in words who else uses an address, ``None`` when nobody is known to."""


async def nobody(_: IPv4Address) -> None:
    """Know of no other user of any address."""


async def claim(
    store: Store,
    pool: IPPool,
    owner: Owner,
    *,
    cluster: str,
    used_by: UsedBy,
    wanted: IPv4Address | None = None,
) -> IPAddress:
    """Return the address that ``owner`` holds in the pool, claiming one if it holds none.

    ``cluster`` is the ``project/name`` that the claim is shown under. With ``wanted`` only
    that address will do. One that is held back is given when it is wanted, or the last; one
    that ``used_by`` knows a user of is not given at all.

    Raises ``PoolExhaustedError`` when no address is free, ``ConflictError`` when ``wanted``
    is claimed by another, or used, or when the pool belongs to another cluster.
    """
    for address in await store.list(IPAddress, owner=owner.uid):
        if address.spec.pool == pool.metadata.name:
            return address
    if pool.spec.restrict_to_single_cluster:
        await _check_is_alone(store, pool, cluster)
    # The names say it: reading the claims themselves would cost each machine of a thousand all
    # of the others'. What is held back has a name too, and so is passed over.
    held = await store.overview(IPAddress, labels=_label(pool.metadata.name))
    taken = {claimed_address(change.name)[1] for change in held}
    while True:
        chosen = wanted or choose_address(pool.spec, taken)
        if chosen is None:
            return await _claim_held_back(store, pool, owner, cluster, used_by)
        if (user := await used_by(chosen)) is not None:
            if wanted is not None:
                raise ConflictError(f"{wanted} is used by {user}")
            taken.add(chosen)
            continue
        new = _claim(pool, chosen, owner, cluster)
        try:
            return await store.create(new)
        except ConflictError:
            # Another machine of the same pass was quicker, or it is held back.
            if wanted is not None:
                return await _take_over(store, await store.get(IPAddress, *new.key), new)
            taken.add(chosen)


async def release(store: Store, owner_uid: str, *, now: datetime) -> int:
    """Give back all addresses that the owner holds; return how many there were.

    An address stays as one that is held back, if its pool wants that; ``held_back_of`` has it.
    """
    held = await store.list(IPAddress, owner=owner_uid)
    for address in held:
        pool = await store.find(IPPool, "", address.spec.pool)
        if pool is None or pool.is_deleting or pool.spec.hold_off_s == 0:
            await store.delete(address)
            continue
        address.spec.released_at = now
        address.metadata.owner = None
        address.metadata.labels = {**_label(address.spec.pool), **_HELD_BACK}
        await store.put_spec(address)
    return len(held)


async def claims_of(store: Store, pool: str) -> list[IPAddress]:
    """Return every claimed address of the pool."""
    every = await store.list(IPAddress, labels=_label(pool))
    return [one for one in every if one.spec.released_at is None]


async def held_back_of(store: Store, pool: str) -> list[IPAddress]:
    """Return the released addresses of the pool that still have a record, oldest first."""
    found = await store.list(IPAddress, labels={**_label(pool), **_HELD_BACK})
    return sorted(found, key=lambda one: one.spec.released_at or _LONG_AGO)


async def forget(store: Store, held: IPAddress) -> None:
    """Delete the record of a released address, unless it was given to somebody meanwhile."""
    with suppress(ConflictError, NotFoundError):
        version = held.metadata.resource_version
        await store.request_deletion(IPAddress, *held.key, if_version=version)


async def _check_is_alone(store: Store, pool: IPPool, cluster: str) -> None:
    claims = await claims_of(store, pool.metadata.name)
    foreign = {held.spec.cluster for held in claims} - {cluster}
    if foreign:
        raise ConflictError(
            f"{pool} is restricted to a single cluster and serves "
            f"{', '.join(sorted(foreign))}: use another pool"
        )


async def _claim_held_back(
    store: Store, pool: IPPool, owner: Owner, cluster: str, used_by: UsedBy
) -> IPAddress:
    """Give the address that has been free for longest: there is no other."""
    for held in await held_back_of(store, pool.metadata.name):
        address = held.spec.address
        if not pool.spec.may_give(address) or await used_by(address) is not None:
            continue
        try:
            return await _take_over(store, held, _claim(pool, address, owner, cluster))
        except (ConflictError, NotFoundError):
            continue  # given to another, or over, a moment ago
    raise PoolExhaustedError(
        f"all {pool.spec.usable()} addresses of {pool} are claimed, or used by others (see its "
        "status.conflicts): widen it, or delete machines"
    )


async def _take_over(store: Store, held: IPAddress, new: IPAddress) -> IPAddress:
    """Make the record of a released address a claim; its version is the lock then.

    Raises ``ConflictError`` when it is claimed, ``NotFoundError`` when it is gone meanwhile.
    """
    if held.spec.released_at is None:
        holder = held.spec.claimed_by
        raise ConflictError(f"{held.spec.address} is claimed by {holder.kind} {holder.name}")
    held.spec = new.spec
    held.metadata.owner = new.metadata.owner
    held.metadata.labels = new.metadata.labels
    return await store.put_spec(held, if_version=held.metadata.resource_version)


def _label(pool: str) -> dict[str, str]:
    return {"moorage.dev/pool": pool}


def _claim(pool: IPPool, address: IPv4Address, owner: Owner, cluster: str) -> IPAddress:
    return IPAddress(
        metadata=Metadata(
            name=claim_name(pool.metadata.name, address),
            labels=_label(pool.metadata.name),
            owner=owner,
            route=pool.metadata.route,
        ),
        spec=IPAddressSpec(
            pool=pool.metadata.name, address=address, cluster=cluster, claimed_by=owner
        ),
    )
