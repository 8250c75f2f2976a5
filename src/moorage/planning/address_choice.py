"""Which addresses many machines get, one after the other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from moorage.planning.addresses import free_addresses
from moorage.resources.ippool import IPPoolSpec
from moorage.resources.spans import Address


class GivenAddress(NamedTuple):
    """An address, and where it is from."""

    pool: str
    address: Address


@dataclass(frozen=True, slots=True)
class PoolAddresses:
    """An IP pool as it is now."""

    name: str
    spec: IPPoolSpec
    taken: frozenset[Address]
    """Claimed, held back, or known to be used by others."""
    held_back: tuple[Address, ...] = ()
    """Released lately, the one that has been free for longest first: given when no other is."""
    closed: str = ""
    """Why the cluster gets none of its addresses, such as ``serves another cluster``."""


class AddressChoice:
    """Gives out addresses of several IP pools, each once, the lowest first."""

    def __init__(self, pools: Iterable[PoolAddresses] = ()) -> None:
        self._pools = {pool.name: pool for pool in pools}
        self._fresh: dict[str, Iterator[Address]] = {}
        self._given: set[GivenAddress] = set()

    def take(
        self, pools: Sequence[str], wanted: Sequence[GivenAddress] | None = None
    ) -> tuple[GivenAddress, ...] | str:
        """Return an address of each family that the pools are of; in words, why there is none.

        Args:
            pools: Asked in this order; what is held back is given when none has another.
            wanted: Only these will do.
        """
        families: dict[int, list[PoolAddresses]] = {}
        for name in pools:
            known = self._pools.get(name)
            if known is None:
                return f"IP pool {name} is not at this gateway"
            families.setdefault(known.spec.version, []).append(known)
        taken: list[GivenAddress] = []
        for members in families.values():
            found = self._next(members) if wanted is None else self._check(members, wanted)
            if not isinstance(found, GivenAddress):
                self._give_back(taken)
                return found
            self._given.add(found)
            taken.append(found)
        return tuple(taken)

    def take_all(
        self, cards: Iterable[Sequence[str]], wanted: Sequence[GivenAddress] | None = None
    ) -> tuple[GivenAddress, ...] | str:
        """Return the addresses of all cards of one machine, or in words, why there are none."""
        taken: list[GivenAddress] = []
        for pools in cards:
            found = self.take(pools, wanted)
            if isinstance(found, str):
                self._give_back(taken)
                return found
            taken += found
        return tuple(taken)

    def take_one(self, pools: Sequence[str], wanted: Address | None = None) -> GivenAddress | str:
        """Return one address, of the first pool's family; in words, why there is none."""
        known = [self._pools[name] for name in pools if name in self._pools]
        if not known:
            return f"no IP pool of {', '.join(pools)} is at this gateway"
        members = [pool for pool in known if pool.spec.version == known[0].spec.version]
        if wanted is None:
            found = self._next(members)
        else:
            found = self._check(members, [GivenAddress(pool.name, wanted) for pool in members])
        if isinstance(found, GivenAddress):
            self._given.add(found)
        return found

    def _next(self, pools: Sequence[PoolAddresses]) -> GivenAddress | str:
        open_ = [pool for pool in pools if not pool.closed]
        for pool in open_:
            rest = self._fresh.setdefault(pool.name, free_addresses(pool.spec, pool.taken))
            for address in rest:
                if (found := GivenAddress(pool.name, address)) not in self._given:
                    return found
        for pool in open_:
            for address in pool.held_back:
                found = GivenAddress(pool.name, address)
                if pool.spec.may_give(address) and found not in self._given:
                    return found
        return "; ".join(
            f"IP pool {one.name} {one.closed or 'has no free address'}" for one in pools
        )

    def _check(
        self, pools: Sequence[PoolAddresses], wanted: Sequence[GivenAddress]
    ) -> GivenAddress | str:
        members = {pool.name: pool for pool in pools}
        ours = [one for one in wanted if one.pool in members and one not in self._given]
        if not ours:
            return f"no address of {', '.join(members)} was promised"
        found = next((one for one in ours if members[one.pool].spec.may_give(one.address)), ours[0])
        pool, address = members[found.pool], found.address
        is_free = address not in pool.taken or address in pool.held_back
        if pool.closed or not is_free or found in self._given or not pool.spec.may_give(address):
            return f"{address} of IP pool {pool.name} {pool.closed or 'is taken'}"
        return found

    def _give_back(self, taken: Iterable[GivenAddress]) -> None:
        for one in taken:
            self._given.discard(one)
            self._fresh.pop(one.pool, None)  # begins anew, and passes over what is given
