"""Which VM reports which address, strangers among them: kept small, there may be many thousand."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeVar

T = TypeVar("T", str, int)


@dataclass(slots=True)
class Reported:
    """Addresses by VM and VMs by address.

    Most VMs report one address, and most addresses are reported by one VM: such stand without a
    tuple around them, and addresses are numbers. That is half of the memory.
    """

    _vms: dict[int, str | tuple[str, ...]] = field(default_factory=dict)
    _addresses: dict[str, int | tuple[int, ...]] = field(default_factory=dict)

    def put(self, vm: str, addresses: Iterable[str]) -> None:
        """Take what a VM reports now, in place of what it did."""
        before = _each(self._addresses.get(vm, ()))
        now = tuple({_number(one): None for one in addresses})
        if before == now:
            return
        for one in before:
            left = tuple(other for other in _each(self._vms[one]) if other != vm)
            if left:
                self._vms[one] = _alone(left)
            else:
                del self._vms[one]
        for one in now:
            self._vms[one] = _alone((*_each(self._vms.get(one, ())), vm))
        if now:
            self._addresses[vm] = _alone(now)
        else:
            self._addresses.pop(vm, None)

    def at(self, address: str) -> tuple[str, ...]:
        """Return the VMs that report an address, however it is written."""
        return _each(self._vms.get(_number(address), ()))


def _number(address: str) -> int:
    """Return an address as a number: negative for IPv6, so that none is like one of IPv4."""
    found = ip_address(address)
    return int(found) if found.version == 4 else -1 - int(found)  # noqa: PLR2004


def _each(kept: T | tuple[T, ...]) -> tuple[T, ...]:
    return kept if isinstance(kept, tuple) else (kept,)


def _alone(several: tuple[T, ...]) -> T | tuple[T, ...]:
    return several[0] if len(several) == 1 else several
