"""Arithmetic of address ranges, as first and last number: nothing is ever listed one by one."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network

Span = tuple[int, int]
"""First and last address, both included, as integers."""


def read_span(text: str) -> Span:
    """Read an address, a range such as ``10.0.4.10-10.0.4.19``, or a network in CIDR form.

    Raises ``ValueError``.
    """
    first, dash, last = text.partition("-")
    try:
        if dash:
            span = int(IPv4Address(first.strip())), int(IPv4Address(last.strip()))
        elif "/" in text:
            network = IPv4Network(text.strip())
            span = int(network.network_address), int(network.broadcast_address)
        else:
            span = int(IPv4Address(text.strip())), int(IPv4Address(text.strip()))
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no IPv4 address, range (first-last) or network (CIDR): {error}"
        ) from error
    if span[0] > span[1]:
        raise ValueError(f"{text!r} begins behind its end")
    return span


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


def show(span: Span) -> str:
    """Return a span for people."""
    first, last = IPv4Address(span[0]), IPv4Address(span[1])
    return str(first) if first == last else f"{first} to {last}"
