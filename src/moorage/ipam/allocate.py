"""Claim and release addresses of a pool."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from moorage.engine.store import Store
from moorage.kit.errors import ConflictError, MoorageError, NotFoundError
from moorage.planning import PoolAddresses, free_addresses
from moorage.resources import IPAddress, IPPool, Metadata, Owner
from moorage.resources.ippool import IPAddressSpec, claim_name, claimed_address
from moorage.resources.spans import Address

_HELD_BACK = {"moorage.dev/held-back": "true"}
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class PoolExhaustedError(MoorageError):
    """Every address of the pool is claimed."""


UsedBy = Callable[[Address], Awaitable[str | None]]
"""Tells in words who else uses an address, ``None`` when nobody is known to."""


async def nobody(_: Address) -> None:
    """Know of no other user of any address."""


async def claim(
    store: Store,
    pools: Sequence[IPPool],
    owner: Owner,
    *,
    cluster: str,
    used_by: UsedBy,
    wanted: Address | None = None,
) -> IPAddress:
    """Return the address that ``owner`` holds in one of the pools, claiming one if it holds none.

    ``pools`` are of one family, and the first that has an address gives one. ``cluster`` is the
    ``project/name`` that the claim is shown under. With ``wanted`` only that address will do. One
    that is held back is given when it is wanted, or when no pool has another; one that
    ``used_by`` knows a user of is not given at all.

    Raises ``PoolExhaustedError`` when no address is free, ``ConflictError`` when ``wanted``
    is claimed by another, or used, or when a pool belongs to another cluster.
    """
    names = {pool.metadata.name for pool in pools}
    for address in await store.list(IPAddress, owner=owner.uid):
        if address.spec.pool in names:
            return address
    for give in (_claim_fresh, _claim_held_back):
        for pool in pools:
            await _check_is_alone(store, pool, cluster)
            wish = _Wish(pool, owner, cluster, used_by, wanted)
            if (given := await give(store, wish)) is not None:
                return given
    raise PoolExhaustedError(
        "; ".join(
            f"all {pool.spec.usable()} addresses of {pool} are claimed, or used by others (see its "
            "status.conflicts)"
            for pool in pools
        )
        + ": widen it, or delete machines"
    )


async def take(
    store: Store, pool: IPPool, address: Address, owner: Owner, *, cluster: str
) -> IPAddress:
    """Claim one address for ``owner``, which was chosen for it from what ``read_pool`` said.

    Raises ``ConflictError`` when somebody else has claimed it since; in one transaction with
    ``read_pool`` nobody can.
    """
    new = _Wish(pool, owner, cluster, nobody, address).claim_of(address)
    held = await store.find(IPAddress, *new.key)
    return await store.create(new) if held is None else await _take_over(store, held, new)


async def read_pool(
    store: Store, pool: IPPool, *, cluster: str, needed: int, used: Collection[Address] = ()
) -> PoolAddresses:
    """Return which addresses of a pool are left.

    Args:
        store: Where claims are.
        pool: Whose.
        cluster: ``project/name`` of the cluster that they are for.
        needed: How many at most: what is held back is read only where the others may not do.
        used: Addresses that somebody else uses.
    """
    name = pool.metadata.name
    closed = ""
    if users := await _foreign(store, pool, cluster):
        closed = f"is restricted to a single cluster and serves {', '.join(users)}"
    held = await store.overview(IPAddress, labels=_label(name))
    taken = {claimed_address(change.name)[1] for change in held} | set(used)
    held_back: list[IPAddress] = []
    if pool.spec.usable() - len(pool.spec.of_these(taken)) < needed:
        held_back = await held_back_of(store, name)
    given_last = (one.spec.address for one in held_back if one.spec.address not in used)
    return PoolAddresses(name, pool.spec, frozenset(taken), tuple(given_last), closed)


async def release(
    store: Store, owner_uid: str, *, now: datetime, only: Address | None = None
) -> int:
    """Give back all addresses that the owner holds, or ``only`` one; return how many there were.

    An address stays as one that is held back, if its pool wants that; ``held_back_of`` has it.
    """
    held = [
        one
        for one in await store.list(IPAddress, owner=owner_uid)
        if only in (None, one.spec.address)
    ]
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


@dataclass(frozen=True, slots=True)
class _Wish:
    """Who wants an address of a pool."""

    pool: IPPool
    owner: Owner
    cluster: str
    used_by: UsedBy
    wanted: Address | None

    def claim_of(self, address: Address) -> IPAddress:
        name = self.pool.metadata.name
        return IPAddress(
            metadata=Metadata(
                name=claim_name(name, address),
                labels=_label(name),
                owner=self.owner,
                route=self.pool.metadata.route,
            ),
            spec=IPAddressSpec(
                pool=name, address=address, cluster=self.cluster, claimed_by=self.owner
            ),
        )


async def _check_is_alone(store: Store, pool: IPPool, cluster: str) -> None:
    if foreign := await _foreign(store, pool, cluster):
        raise ConflictError(
            f"{pool} is restricted to a single cluster and serves {', '.join(foreign)}: use "
            "another pool"
        )


async def _foreign(store: Store, pool: IPPool, cluster: str) -> list[str]:
    """Return the other clusters for which a pool that is restricted to one has no address."""
    if not pool.spec.restrict_to_single_cluster:
        return []
    claims = await claims_of(store, pool.metadata.name)
    return sorted({held.spec.cluster for held in claims} - {cluster})


async def _claim_fresh(store: Store, wish: _Wish) -> IPAddress | None:
    """Give an address that nobody had lately, or the one that is wanted."""
    # The names say it: reading the claims themselves would cost each machine of a thousand all
    # of the others'. What is held back has a name too, and so is passed over.
    held = await store.overview(IPAddress, labels=_label(wish.pool.metadata.name))
    taken = {claimed_address(change.name)[1] for change in held}
    for chosen in [wish.wanted] if wish.wanted else free_addresses(wish.pool.spec, taken):
        if (user := await wish.used_by(chosen)) is not None:
            if wish.wanted is not None:
                raise ConflictError(f"{chosen} is used by {user}")
            continue
        new = wish.claim_of(chosen)
        try:
            return await store.create(new)
        except ConflictError:
            # Another machine of the same pass was quicker, or it is held back.
            if wish.wanted is not None:
                return await _take_over(store, await store.get(IPAddress, *new.key), new)
    return None


async def _claim_held_back(store: Store, wish: _Wish) -> IPAddress | None:
    """Give the address that has been free for longest: there is no other."""
    for held in await held_back_of(store, wish.pool.metadata.name):
        address = held.spec.address
        if not wish.pool.spec.may_give(address) or await wish.used_by(address) is not None:
            continue
        try:
            return await _take_over(store, held, wish.claim_of(address))
        except (ConflictError, NotFoundError):
            continue  # given to another, or over, a moment ago
    return None


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
