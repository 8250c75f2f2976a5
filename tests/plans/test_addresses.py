"""Addresses come in order, each once, and never the router's or an excluded one."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from moorage.planning import free_addresses
from moorage.planning.addresses import Source, by_family, needed_by, share_out
from moorage.resources.ippool import IPPoolSpec, claim_name, claimed_address
from moorage.resources.meta import NAME_PATTERN
from moorage.resources.spans import overlap
from tests.builders import (
    a_cluster,
    a_cluster_spec,
    a_failure_domain,
    a_node_pool,
    an_ip_pool,
)


def test_a_subnet_leaves_out_network_broadcast_router_and_exclusions() -> None:
    spec = IPPoolSpec.model_validate(
        {"gateway": "g", "subnet": "10.0.0.0/29", "router": "10.0.0.1", "exclude": ["10.0.0.3"]}
    )

    assert [str(IPv4Address(n)) for n in spec.numbers()] == [
        "10.0.0.2",
        "10.0.0.4",
        "10.0.0.5",
        "10.0.0.6",
    ]


@given(st.sets(st.integers(0, 19)))
def test_free_addresses_come_lowest_first_until_none_is_left(held: set[int]) -> None:
    spec = an_ip_pool().spec
    every = [IPv4Address(n) for n in spec.numbers()]
    taken = {every[index] for index in held}

    assert [*free_addresses(spec, taken)] == sorted(set(every) - taken)


def test_machines_endpoint_and_a_replacement_are_counted_for_each_source() -> None:
    cluster = a_cluster(
        control_plane={"replicas": 3},
        placement={
            **a_cluster_spec().placement.model_dump(),
            "failure_domains": [
                a_failure_domain("a", ip_pool=None, ip_pools=["one", "two"]),
                a_failure_domain("b", ip_pool="two"),
                a_failure_domain("c", ip_pool=None),
            ],
        },
    )
    pools = [a_node_pool(replicas=4, failure_domains=["b", "c"])]

    needed = needed_by(cluster, pools)

    assert needed == {
        Source(("one", "two")): 1 + 1,
        Source(("one", "two"), is_vip=True): 1,
        Source(("two",)): 1 + 2 + 1,
    }
    versions = {"one": 4, "two": 4}
    assert by_family(needed, versions) == {("one", "two"): 3, ("two",): 4}
    assert by_family(needed, {"two": 4}) == {("two",): 7}, "what is not there is left out"


def test_a_card_takes_an_address_of_each_family_and_a_vip_one_of_the_first() -> None:
    needed = {Source(("six", "four", "more")): 5, Source(("six", "four"), is_vip=True): 1}

    split = by_family(needed, {"four": 4, "six": 6, "more": 4})

    assert split == {("six",): 6, ("four", "more"): 5}


names = st.sampled_from("abcd")
some_pools = st.lists(names, min_size=1, max_size=3, unique=True).map(tuple)


@given(
    st.dictionaries(some_pools, st.integers(0, 9), max_size=4),
    st.dictionaries(names, st.integers(0, 9)),
)
def test_what_is_shared_out_is_taken_once_and_only_what_is_there_no_more_lacks(
    wanted: dict[tuple[str, ...], int], free: dict[str, int]
) -> None:
    left = dict(free)

    lacking = share_out(wanted, left)

    assert all(0 <= left[name] <= count for name, count in free.items())
    taken = sum(free.values()) - sum(left.values())
    assert taken + lacking.total() == sum(wanted.values())
    for pools in lacking:
        assert all(left.get(name, 0) == 0 for name in pools), "one of them still has some"


def test_those_with_a_choice_are_counted_first() -> None:
    assert share_out({("a",): 1, ("a", "b"): 1}, {"a": 1, "b": 1}) == {("a",): 1}


def test_what_may_be_given_is_what_is_yielded() -> None:
    for spec in (
        an_ip_pool().spec,
        IPPoolSpec.model_validate(
            {"gateway": "g", "subnet": "10.0.0.0/29", "router": "10.0.0.1", "exclude": ["10.0.9.9"]}
        ),
    ):
        every = {IPv4Address(number) for number in spec.numbers()}
        low, high = min(map(int, every)), max(map(int, every))

        assert spec.usable() == len(every)
        assert {
            IPv4Address(n) for n in range(low - 2, high + 3) if spec.may_give(IPv4Address(n))
        } == every


LOW = int(IPv4Address("10.0.0.0"))


def a_span(numbers: tuple[int, int]) -> str:
    first, last = sorted(numbers)
    return f"{IPv4Address(LOW + first)}-{IPv4Address(LOW + last)}"


pairs = st.tuples(st.integers(0, 255), st.integers(0, 255))


@given(st.lists(pairs, max_size=5), st.lists(pairs, max_size=5))
def test_ranges_and_exclusions_give_what_sets_would(
    ranges: list[tuple[int, int]], excluded: list[tuple[int, int]]
) -> None:
    given = [set(range(min(pair), max(pair) + 1)) for pair in ranges]
    kept_back = {n for pair in excluded for n in range(min(pair), max(pair) + 1)} | {200}
    document = {
        "gateway": "g",
        "router": str(IPv4Address(LOW + 200)),
        "prefix": 24,
        "ranges": [
            {"start": str(IPv4Address(LOW + min(p))), "end": str(IPv4Address(LOW + max(p)))}
            for p in ranges
        ],
        "exclude": [a_span(pair) for pair in excluded],
    }
    if not given or sum(map(len, given)) != len(set().union(*given)):
        with pytest.raises(ValidationError):  # none, or some that overlap
            IPPoolSpec.model_validate(document)
        return

    spec = IPPoolSpec.model_validate(document)

    expected = set().union(*given) - kept_back
    assert {n - LOW for n in spec.numbers()} == expected
    assert list(spec.numbers()) == sorted(spec.numbers())
    assert spec.usable() == len(expected)
    assert all(spec.may_give(IPv4Address(LOW + n)) == (n in expected) for n in range(256))


@given(pairs, pairs)
def test_what_is_in_both_overlaps(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = (min(one), max(one)), (min(other), max(other))
    both = set(range(first[0], first[1] + 1)) & set(range(second[0], second[1] + 1))

    assert overlap([first], [second]) == ((min(both), max(both)) if both else None)


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["10.0.0.0/28"], 239),
        (["10.0.0.10"], 253 - 1),
        (["10.0.0.10 - 10.0.0.19", "10.0.0.15-10.0.0.24"], 253 - 15),
        (["10.0.1.0/24", "10.0.0.255"], 253),
        ([], 253),
    ],
)
def test_exclusions_are_addresses_ranges_and_networks(exclude: list[str], left: int) -> None:
    spec = IPPoolSpec.model_validate(
        {"gateway": "g", "subnet": "10.0.0.0/24", "router": "10.0.0.1", "exclude": exclude}
    )

    assert spec.usable() == left


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exclude": ["10.0.0.1/24"]}, "has host bits set"),
        ({"exclude": ["10.0.0.9-10.0.0.1"]}, "begins behind its end"),
        ({"exclude": ["printer"]}, "no IP address, range"),
        ({"ranges": [{"start": "10.0.0.9", "end": "10.0.0.1"}]}, "lies behind end"),
        ({"ranges": [{"start": "10.0.0.9", "end": "10.0.1.1"}]}, "must lie in 10.0.0.0/24"),
        ({"start": "10.0.0.9", "end": "10.0.0.10"}, "either start and end, or ranges"),
        ({"prefix": None}, "needs start, end and prefix"),
        ({"ranges": []}, "either start and end, or ranges"),
    ],
)
def test_faults_of_ranges_and_exclusions_are_told(changes: dict[str, Any], said: str) -> None:
    document = {
        "gateway": "g",
        "ranges": [{"start": "10.0.0.2", "end": "10.0.0.5"}],
        "prefix": 24,
        "router": "10.0.0.1",
    }

    with pytest.raises(ValidationError, match=said):
        IPPoolSpec.model_validate({**document, **changes})


SIX = {"gateway": "g", "subnet": "fd00:77::/64", "router": "fe80::1"}


def test_a_pool_of_ipv6_is_never_listed() -> None:
    spec = IPPoolSpec.model_validate({**SIX, "exclude": ["fd00:77::1-fd00:77::f"]})

    assert spec.usable() == 2**64 - 1 - 128 - 15, "no anycast address of RFC 4291 and RFC 2526"
    assert str(next(free_addresses(spec, set()))) == "fd00:77::10"
    held = {IPv6Address("fd00:77::10") + n for n in range(500)}
    assert next(free_addresses(spec, held)) == IPv6Address("fd00:77::10") + 500
    assert spec.may_give(IPv6Address("fd00:0077:0::ab"))
    assert not spec.may_give(IPv6Address("fd00:77::")), "the routers' own"
    assert not spec.may_give(IPv6Address("fd00:77::ffff:ffff:ffff:ff80"))
    assert not spec.may_give(IPv4Address(int(IPv6Address("::a00:1"))))
    assert str(spec.network) == "fd00:77::/64"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"router": "10.0.0.1"}, "subnet is IPv6, but router is IPv4: a pool is of one family"),
        ({"exclude": ["10.0.0.1"]}, r"exclude\[0\] is IPv4, but router is IPv6"),
        ({"router": "fd00:78::1"}, "router must lie in fd00:77::/64"),
        ({"subnet": None, "start": "fd00:77::1", "end": "fd00:77::9", "prefix": 129}, "128"),
        (
            {"subnet": None, "start": "10.0.0.1", "end": "10.0.0.2", "prefix": 64}
            | {"router": "10.0.0.3"},
            "prefix 64 is longer than an address",
        ),
        ({"exclude": ["fd00::1-10.0.0.1"]}, "begins with IPv6 and ends with another"),
    ],
)
def test_a_pool_is_of_one_family(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        IPPoolSpec.model_validate({**SIX, **changes})


def test_a_subnet_of_few_addresses_gives_them_all() -> None:
    for subnet, router, usable in (("fd00::/127", "fd00::", 1), ("10.0.0.0/31", "10.0.0.0", 1)):
        spec = {"gateway": "g", "subnet": subnet, "router": router}
        assert IPPoolSpec.model_validate(spec).usable() == usable


@given(st.ip_addresses())
def test_each_address_has_one_name_and_each_name_one_address(
    address: IPv4Address | IPv6Address,
) -> None:
    name = claim_name("a-pool-1", address)

    assert claimed_address(name) == ("a-pool-1", address)
    assert re.fullmatch(NAME_PATTERN, name)
    longest = "p" * {4: 47, 6: 30}[address.version]
    assert len(claim_name(longest, address)) <= 63


def test_the_name_of_a_claim_says_pool_and_address() -> None:
    address = IPv4Address("10.0.0.255")

    assert claimed_address(claim_name("a-pool-1", address)) == ("a-pool-1", address)
