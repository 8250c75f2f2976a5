"""IPPool and IPAddress: addresses that Moorage may give, and those it gave."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, IPvAnyAddress, model_validator

from moorage.resources.meta import Model, Name, Owner, Ownership, Resource, Scope, Spec, Status
from moorage.resources.spans import Span, count, holds, read_span, show, without

MAX_POOL_SIZE = 65_536

_MAX_POOL_NAME = 47
_MOST_PARTS = 256


def _is_exclusion(given: object) -> str:
    text = str(given)
    read_span(text)
    return text


Exclusion = Annotated[str, BeforeValidator(_is_exclusion)]
"""An address, a range ``first-last``, or a network in CIDR form."""


class AddressRange(Model):
    """Addresses from ``start`` to ``end``, both included."""

    start: IPv4Address
    end: IPv4Address


class IPPoolSpec(Spec):
    """A range (``start`` to ``end``), several ``ranges`` or a ``subnet``, with what nodes need."""

    gateway: Name
    """Moorage gateway that gives the addresses out; immutable. (The router is ``router``.)"""
    start: IPv4Address | None = None
    end: IPv4Address | None = None
    ranges: list[AddressRange] = Field(default_factory=list, max_length=_MOST_PARTS)
    """Instead of ``start`` and ``end``: several ranges of one network."""
    subnet: IPv4Network | None = None
    """Instead of a range: all usable addresses of the network, the router's left out."""
    prefix: int | None = Field(default=None, ge=1, le=32)
    """Prefix length of the addresses; required with ranges, the subnet's own otherwise."""
    router: IPv4Address
    """Default gateway of the nodes."""
    name_servers: list[IPvAnyAddress] = Field(default_factory=list)
    search: list[str] = Field(default_factory=list)
    exclude: list[Exclusion] = Field(default_factory=list, max_length=_MOST_PARTS)
    """What is never given: addresses, ranges (``10.0.4.10-10.0.4.19``) and networks (CIDR)."""
    restrict_to_single_cluster: bool = False
    hold_off_s: int = Field(default=300, ge=0, le=7 * 24 * 3600)
    """Seconds for which a released address is not given again, while ARP caches and DNS still
    name its last holder; unless the pool has no other. 0: given again at once."""
    probe: bool = False
    """Try to reach an address from the gateway before it is given: by ping, where the system
    lets ordinary users, and at TCP ports 22, 443, 6443 and 10250. It costs a second for each
    machine, and tells nothing where a firewall drops, or answers for others."""

    @model_validator(mode="after")
    def _is_ranges_or_a_subnet(self) -> Self:
        is_range = self.start is not None or self.end is not None
        if [is_range, bool(self.ranges), self.subnet is not None].count(True) != 1:
            raise ValueError("give either start and end, or ranges, or subnet")
        if self.subnet is not None:
            if self.prefix is not None and self.prefix != self.subnet.prefixlen:
                raise ValueError("prefix contradicts subnet; leave it out")
            if self.router not in self.subnet:
                raise ValueError(f"router must lie in {self.subnet}")
        else:
            self._check_ranges()
        if self.size() > MAX_POOL_SIZE:
            raise ValueError(f"a pool may hold {MAX_POOL_SIZE} addresses at most")
        return self

    def _check_ranges(self) -> None:
        one_is_missing = not self.ranges and (self.start is None or self.end is None)
        if one_is_missing or self.prefix is None:
            raise ValueError("a range needs start, end and prefix")
        spans = sorted(self._asked())
        for first, last in spans:
            if first > last:
                raise ValueError(f"start {IPv4Address(first)} lies behind end {IPv4Address(last)}")
        network = IPv4Network((spans[0][0], self.prefix), strict=False)
        for first, last in spans:
            inside = IPv4Address(first) in network and IPv4Address(last) in network
            if not inside or self.router not in network:
                raise ValueError(f"ends and router must lie in {network}, the network of start")
        for (_, last), following in pairwise(spans):
            if following[0] <= last:
                raise ValueError(f"ranges overlap at {IPv4Address(following[0])}")

    @property
    def version(self) -> int:
        """IP version of the addresses."""
        return self.router.version

    @property
    def prefix_length(self) -> int:
        """Prefix length of every address of the pool."""
        if self.subnet is not None:
            return self.subnet.prefixlen
        assert self.prefix is not None  # noqa: S101 - the validator has seen to it
        return self.prefix

    def spans(self) -> tuple[Span, ...]:
        """Return what may be given, in order: without the router, and without exclusions."""
        kept_back = (read_span(one) for one in self.exclude)
        return without(self._asked(), [(int(self.router), int(self.router)), *kept_back])

    def size(self) -> int:
        """Return how many addresses were asked for, exclusions not considered."""
        return count(self._asked())

    def numbers(self) -> Iterator[int]:
        """Yield every address that may be given, in order, as integers."""
        return (number for first, last in self.spans() for number in range(first, last + 1))

    def usable(self) -> int:
        """Return how many addresses may be given."""
        return count(self.spans())

    def may_give(self, address: IPv4Address) -> bool:
        """Tell whether an address is one of the pool's."""
        return holds(self.spans(), int(address))

    def of_these(self, addresses: Iterable[IPv4Address]) -> list[IPv4Address]:
        """Return those of many addresses that are the pool's."""
        spans = self.spans()
        return [address for address in addresses if holds(spans, int(address))]

    def shown(self) -> str:
        """Return what was asked for, for people."""
        return str(self.subnet or ", ".join(map(show, self._asked())))

    @property
    def path(self) -> str:
        """Field path of what says which addresses there are."""
        if self.subnet is not None:
            return "spec.subnet"
        return "spec.ranges" if self.ranges else "spec.start"

    def _asked(self) -> list[Span]:
        if self.subnet is not None:
            low, high = int(self.subnet.network_address), int(self.subnet.broadcast_address)
            return [(low + 1, high - 1) if self.subnet.prefixlen < 31 else (low, high)]  # noqa: PLR2004
        if self.start is not None and self.end is not None:
            return [(int(self.start), int(self.end))]
        return [(int(one.start), int(one.end)) for one in self.ranges]


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
    reserved: int = 0
    """What clusters will still claim: for machines and endpoints that have no address yet, and one
    more for each of them, so that a machine can be replaced by making the new one first."""
    held_back: int = 0
    """Released less than ``holdOffS`` ago: given only when no other is free."""
    free: int = 0
    """What is not claimed, those reserved and held back among it."""
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
