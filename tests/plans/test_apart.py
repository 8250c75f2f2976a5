"""A rule holds as many machines as there are hosts, and changes as seldom as can be."""

from hypothesis import given
from hypothesis import strategies as st

from moorage.planning import choose_apart, is_rule_name, is_rule_of, rule_name

vms = st.lists(st.integers(0, 40).map(str), max_size=12, unique=True)
hosts = st.integers(0, 12)


@given(vms=vms, hosts=hosts, members=st.frozensets(st.integers(0, 40).map(str)))
def test_a_rule_never_has_more_machines_than_hosts_and_never_one_alone(
    vms: list[str], hosts: int, members: frozenset[str]
) -> None:
    apart = choose_apart(vms, hosts, members)

    assert len(apart.members) <= hosts
    assert len(apart.members) != 1
    assert apart.members <= set(vms)
    if hosts > 0:
        assert apart.sharing == max(0, len(vms) - hosts)


@given(vms=vms, hosts=hosts)
def test_what_was_chosen_is_chosen_again_whoever_comes(vms: list[str], hosts: int) -> None:
    apart = choose_apart(vms, hosts)

    later = choose_apart(["0new", *vms], hosts, apart.members)

    assert apart.members <= later.members
    assert choose_apart(vms, hosts, apart.members) == apart


def test_five_on_three_hosts_leave_two_that_share() -> None:
    apart = choose_apart(["a", "b", "c", "d", "e"], 3)

    assert apart.members == {"a", "b", "c"}
    assert apart.sharing == 2


def test_a_machine_that_goes_makes_room_for_another() -> None:
    assert choose_apart(["a", "c", "d"], 2, {"b", "c"}).members == {"a", "c"}


def test_a_host_that_goes_takes_one_out_of_the_rule() -> None:
    assert choose_apart(["a", "b", "c"], 2, {"a", "b", "c"}).members == {"a", "b"}
    assert choose_apart(["a", "b", "c"], 1, {"a", "b"}).members == frozenset()


def test_names_of_rules_tell_role_and_cluster() -> None:
    names = [
        rule_name(cluster, pool, uid)
        for cluster in ("web", "web-a")
        for pool in (None, "a", "control-plane")
        for uid in ("0123456789", "abcdef0123")
    ]

    assert len(set(names)) == len(names)
    assert all(is_rule_name(name) for name in names)
    ours = [name for name in names if is_rule_of(name, "0123456789")]
    assert len(ours) == len(names) / 2
    longest = rule_name("c" * 30, "p" * 20, "0" * 10)
    assert len(longest) <= 80, "vCenter takes no longer name"


def test_rules_of_others_are_not_ours() -> None:
    for name in ("", "moorage", "web.0123456789.a", "moorage.web", "moorage.a.b.c.d", "separate"):
        assert not is_rule_name(name)
        assert not is_rule_of(name, "0123456789")
