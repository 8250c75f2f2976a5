"""Which address comes next, and whether a pool holds enough."""

from collections.abc import Collection
from ipaddress import IPv4Address

from moorage.resources.ippool import IPPoolSpec


def choose_address(pool: IPPoolSpec, taken: Collection[IPv4Address]) -> IPv4Address | None:
    """Return the lowest address of the pool that is not taken, ``None`` when all are."""
    return next((address for address in pool.addresses() if address not in taken), None)


def missing_addresses(pool: IPPoolSpec, taken: Collection[IPv4Address], needed: int) -> int:
    """Return how many of ``needed`` further addresses the pool cannot give."""
    free = sum(1 for address in pool.addresses() if address not in taken)
    return max(0, needed - free)
