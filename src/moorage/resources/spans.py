"""Arithmetic of address ranges, as first and last number: nothing is ever listed one by one.

A span says nothing of its family: only spans of one are put together.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network
V4, V6 = 4, 6
"""IP versions."""
Span = tuple[int, int]
"""First and last address, both included, as integers."""


def read_span(text: str) -> tuple[int, Span]:
    """Read an address, a range such as ``10.0.4.10-10.0.4.19``, or a network in CIDR form.

    Returns IP version and span; raises ``ValueError``.
    """
    first, dash, last = text.partition("-")
    try:
        if "/" in text:
            network = ip_network(text.strip())
            ends: tuple[Address, Address] = network[0], network[-1]
        else:
            ends = ip_address(first.strip()), ip_address((last if dash else first).strip())
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no IP address, range (first-last) or network (CIDR): {error}"
        ) from error
    if ends[0].version != ends[1].version:
        raise ValueError(f"{text!r} begins with IPv{ends[0].version} and ends with another")
    span = int(ends[0]), int(ends[1])
    if span[0] > span[1]:
        raise ValueError(f"{text!r} begins behind its end")
    return ends[0].version, span


def address_of(number: int, version: int) -> Address:
    """Return the address of an IP version that a number stands for."""
    return IPv4Address(number) if version == V4 else IPv6Address(number)


def without(spans: Iterable[Span], taken: Iterable[Span]) -> tuple[Span, ...]:
    """Return what is left of spans, in order, once others are taken out."""
    left = sorted(spans)
    for low, high in taken:
        left = [
            piece
            for first, last in left
            for piece in ((first, min(last, low - 1)), (max(first, high + 1), last))
            if piece[0] <= piece[1]
        ]
    return tuple(left)


def overlap(one: Sequence[Span], other: Sequence[Span]) -> Span | None:
    """Return the first addresses that are in both, ``None`` when there are none."""
    return next(
        (
            (max(low, first), min(high, last))
            for low, high in one
            for first, last in other
            if low <= last and first <= high
        ),
        None,
    )


def count(spans: Iterable[Span]) -> int:
    """Return how many addresses there are in spans that do not overlap."""
    return sum(last - first + 1 for first, last in spans)


def holds(spans: Sequence[Span], number: int) -> bool:
    """Tell whether an address is in one of the spans."""
    return any(first <= number <= last for first, last in spans)


def show(span: Span, version: int) -> str:
    """Return a span of an IP version for people."""
    first, last = (str(address_of(number, version)) for number in span)
    return first if first == last else f"{first} to {last}"
