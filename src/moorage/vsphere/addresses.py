"""Which VM says that it has an address: so that it is given to no other."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from pyVmomi import vim

from moorage.vsphere.inventory import Inventory, card_addresses
from moorage.vsphere.properties import Want, moref, retrieve, text
from moorage.vsphere.session import Session

_STILL_TRUE_S = 20.0


@dataclass(frozen=True, slots=True)
class _Read:
    """What vCenter said of one address in one network."""

    at: float
    """``time.monotonic``."""
    asked: frozenset[str]
    names: dict[str, str]
    """Moref -> name of those of the asked VMs that have the address there."""


@dataclass(slots=True)
class Addresses:
    """What VMware Tools of all VMs that the account can see report. Guests may lie.

    Memory says whether any VM has an address; only then vCenter is asked which network that VM
    is in: the same address elsewhere is none of ours.
    """

    _session: Session
    _inventory: Inventory
    _read: dict[tuple[str, str], _Read] = field(default_factory=dict)
    """By address and network."""
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def can_tell(self) -> bool:
        """Tell whether every VM that the account can see is in memory now."""
        return self._inventory.synced.is_set()

    def is_seen(self, address: str) -> bool:
        """Tell whether any VM reports this address, in whatever network; from memory."""
        return bool(self._inventory.seen_at(address))

    async def user_of(self, address: str, *, network: str, claimant: str = "") -> str | None:
        """Return in words which VM has an address in a network, ``None`` when none is seen.

        Args:
            address: As ``ipaddress`` writes it.
            network: Moref of the network.
            claimant: UID of a machine or cluster whose VMs do not count.
        """
        seen = [one for one in self._inventory.seen_at(address) if not self._is_of(one, claimant)]
        if not seen:
            return None
        async with self._turn:  # a hundred machines ask for the same one
            read = self._read.get((address, network))
            now = time.monotonic()
            if read is None or now - read.at >= _STILL_TRUE_S or not read.asked >= set(seen):
                named = await self._session.call(
                    f"look which VM has {address}", partial(self._search, address, network, seen)
                )
                read = _Read(now, frozenset(seen), named)
                self._read = {k: r for k, r in self._read.items() if now - r.at < _STILL_TRUE_S}
                self._read[address, network] = read
        found = sorted(f"{read.names[one]} ({one})" for one in seen if one in read.names)
        host = self._session.endpoint.host
        return f"VM {', '.join(found)} of vCenter {host}" if found else None

    def _is_of(self, moref_: str, claimant: str) -> bool:
        vm = self._inventory.get(moref_)
        mark = vm.owner if vm is not None else None
        return bool(claimant) and mark is not None and claimant in (mark.uid, mark.cluster)

    def _search(self, address: str, network: str, morefs: Iterable[str]) -> dict[str, str]:
        want = Want(vim.VirtualMachine, [*morefs], ["name", "network", "guest.net"])
        return {
            found: text(values.get("name"))
            for found, values in retrieve(self._session, [want]).items()
            if network in _morefs(values.get("network"))
            and address in card_addresses(values.get("guest.net"))
        }


def _morefs(found: Any) -> set[str | None]:
    return {moref(one) for one in found or ()}
