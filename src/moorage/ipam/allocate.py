"""Claim and release addresses of a pool."""

from ipaddress import IPv4Address

from moorage.engine.store import Store
from moorage.kit.errors import ConflictError, MoorageError
from moorage.planning import choose_address
from moorage.resources import IPAddress, IPPool, Metadata, Owner
from moorage.resources.ippool import IPAddressSpec, claim_name, claimed_address


class PoolExhaustedError(MoorageError):
    """Every address of the pool is claimed."""


async def claim(
    store: Store, pool: IPPool, owner: Owner, *, cluster: str, wanted: IPv4Address | None = None
) -> IPAddress:
    """Return the address that ``owner`` holds in the pool, claiming one if it holds none.

    ``cluster`` is the ``project/name`` that the claim is shown under. With ``wanted`` only
    that address will do.

    Raises ``PoolExhaustedError`` when no address is free, ``ConflictError`` when ``wanted``
    is claimed by another or when the pool belongs to another cluster.
    """
    for address in await store.list(IPAddress, owner=owner.uid):
        if address.spec.pool == pool.metadata.name:
            return address
    if pool.spec.restrict_to_single_cluster:
        claims = await claims_of(store, pool.metadata.name)
        foreign = {held.spec.cluster for held in claims} - {cluster}
        if foreign:
            raise ConflictError(
                f"{pool} is restricted to a single cluster and serves "
                f"{', '.join(sorted(foreign))}: use another pool"
            )
    # The names say it: reading the claims themselves would cost each machine of a thousand all
    # of the others'.
    held = await store.overview(IPAddress, labels=_label(pool.metadata.name))
    taken = {claimed_address(change.name)[1] for change in held}
    while True:
        chosen = wanted or choose_address(pool.spec, taken)
        if chosen is None:
            raise PoolExhaustedError(
                f"all {len(taken)} addresses of {pool} are claimed: widen it, or delete machines"
            )
        try:
            return await store.create(_claim(pool, chosen, owner, cluster))
        except ConflictError:
            # Another machine of the same pass was quicker: its claim is the lock.
            if wanted is not None:
                raise
            taken.add(chosen)


async def release(store: Store, owner_uid: str) -> int:
    """Give back all addresses that the owner holds; return how many there were."""
    held = await store.list(IPAddress, owner=owner_uid)
    for address in held:
        await store.delete(address)
    return len(held)


async def claims_of(store: Store, pool: str) -> list[IPAddress]:
    """Return every claimed address of the pool."""
    return await store.list(IPAddress, labels=_label(pool))


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
