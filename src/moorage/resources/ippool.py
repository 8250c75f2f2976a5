"""IPPool and IPAddress: addresses that Moorage may give, and those it gave."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, IPvAnyAddress, model_validator

from moorage.resources.meta import Model, Name, Owner, Ownership, Resource, Scope, Spec, Status
from moorage.resources.spans import (
    V4,
    V6,
    Address,
    Span,
    Subnet,
    address_of,
    count,
    holds,
    read_span,
    show,
    without,
)

MAX_POOL_SIZE = 65_536
"""Of IPv4; a pool of IPv6 may have any."""
MOST_COUNTED = 2**53 - 1
"""The largest number that is said of a pool's addresses: every reader of JSON has it exact."""

_MAX_POOL_NAME = {V4: 47, V6: 30}
_HEX_DIGITS = 32
_MOST_PARTS = 256


def _is_exclusion(given: object) -> str:
    text = str(given)
    read_span(text)
    return text


OneAddress = Annotated[Address, BeforeValidator(ip_address)]
"""Of either family; by itself pydantic would tell what is wrong once for each, with odd paths."""
Exclusion = Annotated[str, BeforeValidator(_is_exclusion)]
"""An address, a range ``first-last``, or a network in CIDR form."""


class AddressRange(Model):
    """Addresses from ``start`` to ``end``, both included."""

    start: OneAddress
    end: OneAddress


class IPPoolSpec(Spec):
    """A range (``start`` to ``end``), several ``ranges`` or a ``subnet``, with what nodes need.

    All of one family. For nodes with both, a failure domain names a pool of each.
    """

    gateway: Name
    """Moorage gateway that gives the addresses out; immutable. (The router is ``router``.)"""
    start: OneAddress | None = None
    end: OneAddress | None = None
    ranges: list[AddressRange] = Field(default_factory=list, max_length=_MOST_PARTS)
    """Instead of ``start`` and ``end``: several ranges of one network."""
    subnet: Subnet | None = None
    """Instead of a range: all usable addresses of the network, the router's left out. Of IPv6 the
    first and the last 128 addresses are left out too: they are anycast addresses."""
    prefix: int | None = Field(default=None, ge=1, le=128)
    """Prefix length of the addresses; required with ranges, the subnet's own otherwise."""
    router: OneAddress
    """Default gateway of the nodes; of IPv6 it may be link-local (``fe80::1``)."""
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
        self._check_family()
        if self.subnet is not None:
            if self.prefix is not None and self.prefix != self.subnet.prefixlen:
                raise ValueError("prefix contradicts subnet; leave it out")
            if not self._router_is_in(self.subnet):
                raise ValueError(f"router must lie in {self.subnet}")
        else:
            self._check_ranges()
        if self.version == V4 and self.size() > MAX_POOL_SIZE:
            raise ValueError(f"a pool may hold {MAX_POOL_SIZE} addresses at most")
        return self

    def _check_family(self) -> None:
        given: dict[str, Address | Subnet | None] = {
            "start": self.start,
            "end": self.end,
            "subnet": self.subnet,
        }
        for number, one in enumerate(self.ranges):
            given |= {f"ranges[{number}].start": one.start, f"ranges[{number}].end": one.end}
        versions: dict[str, int] = {
            field: one.version for field, one in given.items() if one is not None
        }
        for number, text in enumerate(self.exclude):
            versions[f"exclude[{number}]"] = read_span(text)[0]
        for field, version in versions.items():
            if version != self.version:
                raise ValueError(
                    f"{field} is IPv{version}, but router is IPv{self.version}: a pool is of one "
                    "family; make two, and name both in a failure domain's ipPools"
                )

    def _check_ranges(self) -> None:
        one_is_missing = not self.ranges and (self.start is None or self.end is None)
        if one_is_missing or self.prefix is None:
            raise ValueError("a range needs start, end and prefix")
        if self.prefix > self.router.max_prefixlen:
            raise ValueError(f"prefix {self.prefix} is longer than an address")
        spans = sorted(self._asked())
        for first, last in spans:
            if first > last:
                start, end = self._address(first), self._address(last)
                raise ValueError(f"start {start} lies behind end {end}")
        network = self.network
        for first, last in spans:
            inside = self._address(first) in network and self._address(last) in network
            if not inside or not self._router_is_in(network):
                raise ValueError(f"ends and router must lie in {network}, the network of start")
        for (_, last), following in pairwise(spans):
            if following[0] <= last:
                raise ValueError(f"ranges overlap at {self._address(following[0])}")

    def _router_is_in(self, network: Subnet) -> bool:
        return self.router in network or (self.router.version == V6 and self.router.is_link_local)

    def _address(self, number: int) -> Address:
        return address_of(number, self.version)

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

    @property
    def network(self) -> Subnet:
        """Network that the addresses live in."""
        if self.subnet is not None:
            return self.subnet
        first, _ = min(self._asked())
        return ip_network(f"{self._address(first)}/{self.prefix_length}", strict=False)

    def spans(self) -> tuple[Span, ...]:
        """Return what may be given, in order: without the router, and without exclusions."""
        kept_back = (read_span(one)[1] for one in self.exclude)
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

    def may_give(self, address: Address) -> bool:
        """Tell whether an address is one of the pool's."""
        return address.version == self.version and holds(self.spans(), int(address))

    def of_these(self, addresses: Iterable[Address]) -> list[Address]:
        """Return those of many addresses that are the pool's."""
        spans, version = self.spans(), self.version
        return [one for one in addresses if one.version == version and holds(spans, int(one))]

    def shown(self) -> str:
        """Return what was asked for, for people."""
        return str(self.subnet or ", ".join(show(one, self.version) for one in self._asked()))

    @property
    def path(self) -> str:
        """Field path of what says which addresses there are."""
        if self.subnet is not None:
            return "spec.subnet"
        return "spec.ranges" if self.ranges else "spec.start"

    def _asked(self) -> list[Span]:
        if self.subnet is not None:
            low, high = int(self.subnet[0]), int(self.subnet[-1])
            first, last = _set_apart(self.subnet)
            return [(low + first, high - last)]
        if self.start is not None and self.end is not None:
            return [(int(self.start), int(self.end))]
        return [(int(one.start), int(one.end)) for one in self.ranges]


class AddressConflict(Model):
    """An address of the pool that somebody else uses: it is not given while that lasts."""

    address: Address
    used_by: str
    """Who, in words: a VM that reports it, or what answered."""
    account: str | None = None
    """Cloud account in whose vCenter that VM was seen; ``None`` for an answer from the network."""
    network: str | None = None
    """Moref of the network there."""
    since: datetime


class IPPoolStatus(Status):
    """How full the pool is."""

    total: int = Field(default=0, le=MOST_COUNTED)
    claimed: int = 0
    reserved: int = 0
    """What clusters will still claim: for machines and endpoints that have no address yet, and one
    more for each of them, so that a machine can be replaced by making the new one first."""
    held_back: int = 0
    """Released less than ``holdOffS`` ago: given only when no other is free."""
    free: int = Field(default=0, le=MOST_COUNTED)
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
        most = _MAX_POOL_NAME[self.spec.version]
        if len(self.metadata.name) > most:
            raise ValueError(
                f"metadata.name may have {most} characters at most: "
                "each claimed address is a resource called POOL-ADDRESS"
            )
        return self


class IPAddressSpec(Spec):
    """One claimed address. Its resource's name is made from pool and address, and is the lock."""

    pool: Name
    address: Address
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


def claim_name(pool: str, address: Address) -> str:
    """Return the name of the IPAddress resource that stands for this address of the pool.

    An address has one name only, however it was written.
    """
    if address.version == V4:
        return f"{pool}-{str(address).replace('.', '-')}"
    return f"{pool}-{int(address):0{_HEX_DIGITS}x}"


def claimed_address(name: str) -> tuple[str, Address]:
    """Return pool and address that the name of an IPAddress resource stands for."""
    pool, _, digits = name.rpartition("-")
    if len(digits) == _HEX_DIGITS:
        return pool, IPv6Address(int(digits, 16))
    pool, *numbers = name.rsplit("-", 4)
    return pool, IPv4Address(".".join(numbers))


def _set_apart(subnet: Subnet) -> tuple[int, int]:
    """Return how many addresses at both ends of a network no node may have.

    Of IPv4 network and broadcast address (not of /31 and /32); of IPv6 the anycast addresses of
    the subnet's routers (RFC 4291) and the reserved ones (RFC 2526).
    """
    host_bits = subnet.max_prefixlen - subnet.prefixlen
    if host_bits < 2:  # noqa: PLR2004
        return 0, 0
    if subnet.version == V4:
        return 1, 1
    return 1, 128 if host_bits > 7 else 0  # noqa: PLR2004
