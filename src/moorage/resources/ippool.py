"""IPPool and IPAddress: addresses that Moorage may give, and those it gave."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar, Literal, Self

from pydantic import Field, IPvAnyAddress, model_validator

from moorage.resources.meta import Model, Name, Owner, Ownership, Resource, Scope, Spec, Status

MAX_POOL_SIZE = 65_536

_MAX_POOL_NAME = 47


class IPPoolSpec(Spec):
    """A range (``start`` to ``end``) or a ``subnet``, and what a node needs beside its address."""

    gateway: Name
    """Moorage gateway that gives the addresses out; immutable. (The router is ``router``.)"""
    start: IPv4Address | None = None
    end: IPv4Address | None = None
    subnet: IPv4Network | None = None
    """Instead of a range: all usable addresses of the network, the router's left out."""
    prefix: int | None = Field(default=None, ge=1, le=32)
    """Prefix length of the addresses; required with a range, the subnet's own otherwise."""
    router: IPv4Address
    """Default gateway of the nodes."""
    name_servers: list[IPvAnyAddress] = Field(default_factory=list)
    search: list[str] = Field(default_factory=list)
    exclude: list[IPv4Address] = Field(default_factory=list)
    restrict_to_single_cluster: bool = False
    hold_off_s: int = Field(default=300, ge=0, le=7 * 24 * 3600)
    """Seconds for which a released address is not given again, while ARP caches and DNS still
    name its last holder; unless the pool has no other. 0: given again at once."""
    probe: bool = False
    """Try to reach an address from the gateway before it is given: by ping, where the system
    lets ordinary users, and at TCP ports 22, 443, 6443 and 10250. It costs a second for each
    machine, and tells nothing where a firewall drops, or answers for others."""

    @model_validator(mode="after")
    def _is_a_range_or_a_subnet(self) -> Self:
        is_range = self.start is not None or self.end is not None
        if is_range == (self.subnet is not None):
            raise ValueError("give either start and end, or subnet")
        if is_range:
            if self.start is None or self.end is None or self.prefix is None:
                raise ValueError("a range needs start, end and prefix")
            if int(self.start) > int(self.end):
                raise ValueError(f"start {self.start} lies behind end {self.end}")
            network = IPv4Network((self.start, self.prefix), strict=False)
            if self.end not in network or self.router not in network:
                raise ValueError(f"end and router must lie in {network}, the network of start")
        elif self.subnet is not None:
            if self.prefix is not None and self.prefix != self.subnet.prefixlen:
                raise ValueError("prefix contradicts subnet; leave it out")
            if self.router not in self.subnet:
                raise ValueError(f"router must lie in {self.subnet}")
        if self.size() > MAX_POOL_SIZE:
            raise ValueError(f"a pool may hold {MAX_POOL_SIZE} addresses at most")
        return self

    @property
    def prefix_length(self) -> int:
        """Prefix length of every address of the pool."""
        if self.subnet is not None:
            return self.subnet.prefixlen
        assert self.prefix is not None  # noqa: S101 - the validator has seen to it
        return self.prefix

    def bounds(self) -> tuple[int, int]:
        """Return the first and last address as integers, exclusions not considered."""
        if self.subnet is not None:
            low, high = int(self.subnet.network_address), int(self.subnet.broadcast_address)
            return (low + 1, high - 1) if self.subnet.prefixlen < 31 else (low, high)  # noqa: PLR2004
        assert self.start is not None  # noqa: S101
        assert self.end is not None  # noqa: S101
        return int(self.start), int(self.end)

    def size(self) -> int:
        """Return how many addresses the bounds hold, exclusions not considered."""
        low, high = self.bounds()
        return high - low + 1

    def numbers(self) -> Iterator[int]:
        """Yield every address that may be given, in order, as integers."""
        kept_back = self._kept_back()
        low, high = self.bounds()
        return (number for number in range(low, high + 1) if number not in kept_back)

    def usable(self) -> int:
        """Return how many addresses may be given."""
        low, high = self.bounds()
        return self.size() - sum(1 for number in self._kept_back() if low <= number <= high)

    def may_give(self, address: IPv4Address) -> bool:
        """Tell whether an address is one of the pool's."""
        low, high = self.bounds()
        return low <= int(address) <= high and int(address) not in self._kept_back()

    def _kept_back(self) -> set[int]:
        return {int(self.router), *(int(address) for address in self.exclude)}


class AddressConflict(Model):
    """An address of the pool that somebody else uses: it is not given while that lasts."""

    address: IPv4Address
    used_by: str
    """Who, in words: a VM that reports it, or what answered."""
    account: str | None = None
    """Cloud account in whose vCenter that VM was seen; ``None`` for an answer from the network."""
    network: str | None = None
    """Moref of the network there."""
    since: datetime


class IPPoolStatus(Status):
    """How full the pool is."""

    total: int = 0
    claimed: int = 0
    held_back: int = 0
    """Released less than ``holdOffS`` ago: given only when no other is free."""
    free: int = 0
    """What is not claimed, those held back among it."""
    clusters: list[str] = Field(default_factory=list)
    """``project/name`` of the clusters that hold addresses."""
    conflicts: list[AddressConflict] = Field(default_factory=list)
    """Addresses that were passed over, because somebody else uses them."""


class IPPool(Resource):
    plural: ClassVar[str] = "ippools"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["IPPool"] = "IPPool"
    spec: IPPoolSpec
    status: IPPoolStatus = Field(default_factory=IPPoolStatus)

    @model_validator(mode="after")
    def _leaves_room_for_the_address(self) -> Self:
        if len(self.metadata.name) > _MAX_POOL_NAME:
            raise ValueError(
                f"metadata.name may have {_MAX_POOL_NAME} characters at most: "
                "each claimed address is a resource called POOL-ADDRESS"
            )
        return self


class IPAddressSpec(Spec):
    """One claimed address. Its resource's name is made from pool and address, and is the lock."""

    pool: Name
    address: IPv4Address
    cluster: str
    """``project/name`` of the cluster."""
    claimed_by: Owner
    """The Machine, or the Cluster for its VIP; who had it last, once it is released."""
    released_at: datetime | None = None
    """Since when nobody holds it; it goes when the pool's hold-off is over."""

    def is_held_back(self, hold_off_s: int, now: datetime) -> bool:
        """Tell whether the address is released, and its hold-off not over.

        One that was released in the future, because a clock was set back since, is over.
        """
        released = self.released_at
        return released is not None and released <= now < released + timedelta(seconds=hold_off_s)


class IPAddressStatus(Status):
    """Nothing beyond conditions."""


class IPAddress(Resource):
    plural: ClassVar[str] = "ipaddresses"
    ownership: ClassVar[Ownership] = Ownership.DERIVED
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["IPAddress"] = "IPAddress"
    spec: IPAddressSpec
    status: IPAddressStatus = Field(default_factory=IPAddressStatus)


def claim_name(pool: str, address: IPv4Address) -> str:
    """Return the name of the IPAddress resource that stands for this address of the pool."""
    return f"{pool}-{str(address).replace('.', '-')}"


def claimed_address(name: str) -> tuple[str, IPv4Address]:
    """Return pool and address that the name of an IPAddress resource stands for."""
    pool, *numbers = name.rsplit("-", 4)
    return pool, IPv4Address(".".join(numbers))
