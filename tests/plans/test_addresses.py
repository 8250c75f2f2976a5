"""Addresses come in order, each once, and never the router's or an excluded one."""

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from moorage.planning import choose_address, missing_addresses
from moorage.resources.ippool import IPPoolSpec, claim_name, claimed_address
from tests.builders import an_ip_pool


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
def test_the_lowest_free_address_is_chosen_until_none_is_left(held: set[int]) -> None:
    spec = an_ip_pool().spec
    every = [IPv4Address(n) for n in spec.numbers()]
    taken = {every[index] for index in held}

    chosen = choose_address(spec, taken)

    free = sorted(set(every) - taken)
    assert chosen == (free[0] if free else None)
    assert missing_addresses(spec, taken, 20) == len(taken)


def test_addresses_outside_the_pool_do_not_count_as_taken() -> None:
    assert missing_addresses(an_ip_pool().spec, {IPv4Address("192.0.2.1")}, 20) == 0


def test_what_may_be_given_is_what_is_yielded() -> None:
    for spec in (
        an_ip_pool().spec,
        IPPoolSpec.model_validate(
            {"gateway": "g", "subnet": "10.0.0.0/29", "router": "10.0.0.1", "exclude": ["10.0.9.9"]}
        ),
    ):
        every = {IPv4Address(number) for number in spec.numbers()}
        low, high = spec.bounds()

        assert spec.usable() == len(every)
        assert {
            IPv4Address(n) for n in range(low - 2, high + 3) if spec.may_give(IPv4Address(n))
        } == every


def test_the_name_of_a_claim_says_pool_and_address() -> None:
    address = IPv4Address("10.0.0.255")

    assert claimed_address(claim_name("a-pool-1", address)) == ("a-pool-1", address)
