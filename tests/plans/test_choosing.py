"""All machines of a cluster are chosen at once: control plane first, each with an address."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from moorage.planning import (
    ELSEWHERE,
    Choice,
    Fault,
    GivenAddress,
    Group,
    NewMachine,
    PoolAddresses,
    Resident,
    Snapshot,
    choose,
)
from moorage.planning.estate import Datastore, Domain, Host, Load, Place
from moorage.resources import Machine
from tests.builders import EARLY, a_failure_domain, a_machine, an_ip_pool

GIB = 1024**3
FIRST = IPv4Address("10.77.1.10")


def a_group(pool: str | None = None, replicas: int = 1, *domains: str, **changes: object) -> Group:
    """Return a group of small machines that may go to both domains."""
    group = Group(pool, replicas, 4096, domains or ("a", "b"), {"ds1": 0, "ds2": GIB})
    return replace(group, **changes)


def a_domain(name: str, **changes: object) -> Domain:
    """Return a domain with two hosts, and room, whose addresses come from the one pool."""
    hosts = tuple(
        Host(f"{name}{n}", f"{name}{n}", 65536, 0, frozenset({"ds1", "ds2"}), frozenset({"net"}))
        for n in (1, 2)
    )
    store = Datastore("ds1", "ds1", 2048 * GIB, 1000 * GIB)
    domain = Domain(name, hosts, (store,), "net", pins_host=True, ip_pools=(("nodes",),))
    return replace(domain, **changes)


def a_snapshot(*groups: Group, machines: tuple[Machine, ...] = (), **changes: object) -> Snapshot:
    """Return an estate with two domains and twenty addresses."""
    snapshot = Snapshot(groups, machines, (a_domain("a"), a_domain("b")), (), (addresses(),))
    return replace(snapshot, **changes)


def addresses(*taken: int, held_back: tuple[int, ...] = (), closed: str = "") -> PoolAddresses:
    """Return the pool of twenty addresses; those taken and held back by their place in it."""
    gone = frozenset(FIRST + number for number in (*taken, *held_back))
    kept = tuple(FIRST + number for number in held_back)
    return PoolAddresses("nodes", an_ip_pool().spec, gone, kept, closed)


def shown(choice: Choice) -> list[tuple[str | None, int, str, int | None]]:
    """Return pool, ordinal, domain and number of the address of each new machine."""
    return [
        (
            new.pool,
            new.ordinal,
            new.place.domain,
            next((number_of(given) for given in new.place.addresses), None),
        )
        for new in choice.create
    ]


def number_of(given: GivenAddress) -> int:
    """Return an address by its place in the pool."""
    return int(given.address) - int(FIRST)


def made(new: NewMachine, number: int) -> Machine:
    """Return the Machine that a new one becomes."""
    place = new.place
    machine = a_machine(
        f"m{number}",
        pool=new.pool,
        failure_domain=a_failure_domain(place.domain),
        host=place.host,
        created_at=EARLY + timedelta(seconds=number),
    )
    machine.status.node_name = machine.metadata.name
    return machine


def as_promised(place: Place) -> Resident:
    """Return what a placed machine takes, as long as no figure of vCenter's has it."""
    taken = {place.datastore: Load(size_bytes=4 * GIB)}
    if place.host is not None:
        taken[place.host] = Load(memory_mib=4096)
    return Resident(ELSEWHERE, place.domain, place.host, taken)


def test_the_control_plane_is_first_and_pools_follow_by_name() -> None:
    choice = choose(a_snapshot(a_group("web", 1), a_group("db", 2), a_group(None, 3)))

    assert shown(choice) == [
        (None, 1, "a", 0),
        (None, 2, "b", 1),
        (None, 3, "a", 2),
        ("db", 1, "a", 3),
        ("db", 2, "b", 4),
        ("web", 1, "a", 5),
    ]
    assert [new.founds for new in choice.create] == [True, *[False] * 5]


def test_no_address_is_given_twice_and_taken_ones_are_passed_over() -> None:
    snapshot = a_snapshot(a_group(None, 3), ip_pools=(addresses(0, 2),))

    assert [number for *_, number in shown(choose(snapshot))] == [1, 3, 4]


def test_what_is_held_back_is_given_last_longest_free_first() -> None:
    pool = addresses(*range(1, 18), held_back=(19, 18))

    snapshot = a_snapshot(a_group("web", 4), ip_pools=(pool,))

    choice = choose(snapshot)
    assert [number for *_, number in shown(choice)] == [0, 19, 18]
    assert str(choice.shortages[0]) == (
        "1 of 4 machines have no room: b: IP pool nodes has no free address; "
        "a: IP pool nodes has no free address"
    )


def test_a_domain_without_addresses_leaves_its_machines_to_the_others() -> None:
    dry = a_domain("a", ip_pools=(("dry",),))
    none = replace(addresses(*range(20)), name="dry")
    snapshot = a_snapshot(
        a_group("web", 2), domains=(dry, a_domain("b")), ip_pools=(none, addresses())
    )

    assert [domain for _, _, domain, _ in shown(choose(snapshot))] == ["b", "b"]


def test_of_several_pools_the_first_that_has_one_gives_before_what_is_held_back() -> None:
    first = addresses(*range(1, 19), held_back=(19,))
    second = replace(addresses(*range(19)), name="more")
    domain = a_domain("a", ip_pools=(("nodes", "more"),))
    snapshot = a_snapshot(a_group("web", 4, "a"), domains=(domain,), ip_pools=(first, second))

    choice = choose(snapshot)

    assert [given for new in choice.create for given in new.place.addresses] == [
        ("nodes", FIRST),
        ("more", FIRST + 19),
        ("nodes", FIRST + 19),
    ]
    assert choice.shortages[0].why == (
        "a: IP pool nodes has no free address; IP pool more has no free address"
    )


def test_an_unknown_or_closed_pool_is_told() -> None:
    snapshot = a_snapshot(a_group(None, 1, "a"), ip_pools=())
    closed = a_snapshot(a_group(None, 1, "a"), ip_pools=(addresses(closed="serves x"),))

    assert choose(snapshot).shortages[0].why == "a: IP pool nodes is not at this gateway"
    assert choose(closed).shortages[0].why == "a: IP pool nodes serves x"


def test_a_fault_of_one_pool_is_told_and_the_others_are_made() -> None:
    broken = a_group("db", 2, fault=Fault("LinkedCloneImpossible", "its disk must grow"))

    choice = choose(a_snapshot(a_group(None, 1), broken, a_group("web", 1)))

    assert [(new.pool, new.ordinal) for new in choice.create] == [(None, 1), ("web", 1)]
    (short,) = choice.shortages
    assert (short.pool, short.reason, str(short)) == (
        "db",
        "LinkedCloneImpossible",
        "its disk must grow",
    )


def test_what_goes_what_stays_and_why() -> None:
    web = [a_machine(f"w{n}", pool="web", domain="a") for n in range(3)]
    for machine in web[:2]:
        machine.status.node_name = machine.metadata.name
    going = a_machine("going", pool="web")
    going.metadata.deletion_requested_at = EARLY
    other = a_machine("other", pool="of a pool that goes")

    choice = choose(a_snapshot(a_group("web", 2), machines=(*web, going, other)))

    assert [(one.machine.metadata.name, one.why) for one in choice.delete] == [
        ("w2", "pool web shrinks from 3 to 2 machines: it has not become a node")
    ]
    assert [one.metadata.name for one in choice.keep] == ["w0", "w1", "other"]
    assert [one.metadata.name for one in choice.leaving] == ["going"]
    assert not choice.create


def test_a_machine_goes_where_it_was_promised_or_nowhere() -> None:
    promised = Place("b", "ds1", "b2", (GivenAddress("nodes", FIRST + 7),))
    snapshot = a_snapshot(a_group(None, 1))

    kept = choose(snapshot, {None: [promised]})
    taken = choose(replace(snapshot, ip_pools=(addresses(7),)), {None: [promised]})
    gone = choose(snapshot, {None: [replace(promised, host="b3")]})
    moved = choose(a_snapshot(a_group(None, 1, "a")), {None: [promised]})

    assert [new.place for new in kept.create] == [promised]
    assert [one.shortages[0].why for one in (taken, gone, moved)] == [
        "b: 10.77.1.17 of IP pool nodes is taken",
        "b: the compute cluster has no host",
        "b: not allowed any more",
    ]


@given(
    founders=st.sampled_from([1, 3, 5]),
    workers=st.dictionaries(st.sampled_from(["db", "web", "zoo"]), st.integers(0, 4)),
    taken=st.sets(st.integers(0, 19), max_size=5),
    parts=st.integers(1, 6),
)
def test_chosen_in_parts_ends_as_chosen_at_once(
    founders: int, workers: dict[str, int], taken: set[int], parts: int
) -> None:
    """A pass that was cut short is taken up where it ended."""
    groups = [a_group(None, founders), *(a_group(name, n) for name, n in workers.items())]
    snapshot = a_snapshot(*groups, ip_pools=(addresses(*taken),))
    whole = choose(snapshot)

    machines: list[Machine] = []
    gone = set(taken)
    places: list[tuple[str | None, Place]] = []
    while True:
        now = replace(
            snapshot,
            machines=tuple(machines),
            promised=tuple(as_promised(place) for _, place in places),
            ip_pools=(addresses(*gone),),
        )
        some = choose(now).create[:parts]
        if not some:
            break
        for new in some:
            machines.append(made(new, len(machines)))
            places.append((new.pool, new.place))
            gone |= {number_of(given) for given in new.place.addresses}

    assert places == [(new.pool, new.place) for new in whole.create]


def test_a_machine_with_several_cards_gets_an_address_for_each_or_none() -> None:
    storage = PoolAddresses("storage", an_ip_pool("storage", end="10.77.1.10").spec, frozenset())
    domain = a_domain("a", ip_pools=(("nodes",), ("storage",)))
    snapshot = a_snapshot(a_group(None, 3, "a"), domains=(domain,), ip_pools=(addresses(), storage))

    choice = choose(snapshot)

    assert [new.place.addresses for new in choice.create] == [
        (GivenAddress("nodes", FIRST), GivenAddress("storage", FIRST))
    ]
    lacking = choice.shortage(None)
    assert lacking is not None
    assert "IP pool storage has no free address" in lacking.why


def test_a_host_has_to_reach_the_networks_of_all_cards() -> None:
    near = a_domain("a", more_networks=frozenset({"storage"}))
    reaching = replace(near.hosts[1], networks=frozenset({"net", "storage"}))

    choice = choose(
        a_snapshot(a_group(None, 1, "a"), domains=(replace(near, hosts=(near.hosts[0], reaching)),))
    )
    nowhere = choose(a_snapshot(a_group(None, 1, "a"), domains=(near,)))

    assert [new.place.host for new in choice.create] == [reaching.ref]
    assert "none of a1, a2 has the networks" in str(nowhere.shortage(None))
