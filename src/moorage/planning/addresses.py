"""Which address comes next, and whether a pool holds enough."""

from collections.abc import Collection
from ipaddress import IPv4Address

from moorage.resources.ippool import IPPoolSpec


def choose_address(pool: IPPoolSpec, taken: Collection[IPv4Address]) -> IPv4Address | None:
    """Return the lowest address of the pool that is not taken, ``None`` when all are."""
    held = {int(address) for address in taken}
    free = next((number for number in pool.numbers() if number not in held), None)
    return None if free is None else IPv4Address(free)


def missing_addresses(pool: IPPoolSpec, taken: Collection[IPv4Address], needed: int) -> int:
    """Return how many of ``needed`` further addresses the pool cannot give."""
    held = len(pool.of_these(set(taken)))
    return max(0, needed - (pool.usable() - held))
