"""Machines go where they can run, apart from each other, and a plan in parts ends the same."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from moorage.planning import Group, Snapshot, how_many_fit
from moorage.planning.estate import (
    Datastore,
    Disk,
    Domain,
    Host,
    Load,
    Place,
    Pool,
    Refusal,
    Reserved,
    Resident,
    Slot,
    loads,
)
from moorage.planning.solver import solve

GIB = 1024**3
DOMAINS = ("a", "b", "c")


def a_host(name: str, **changes: object) -> Host:
    """Return a host of 64 GiB that reaches all."""
    host = Host(name, name, 65536, 0, frozenset({"ds1", "ds2"}), frozenset({"net"}))
    return replace(host, **changes)


def a_store(name: str = "ds1", free_gib: int = 1000, **changes: object) -> Datastore:
    """Return a datastore of 2 TiB."""
    return replace(Datastore(name, name, 2048 * GIB, free_gib * GIB), **changes)


def a_domain(name: str = "a", *hosts: Host, **changes: object) -> Domain:
    """Return a domain without DRS."""
    domain = Domain(name, hosts or (a_host(f"{name}1"),), (a_store(),), "net", pins_host=True)
    return replace(domain, **changes)


def _everywhere(disk_gib: int) -> dict[str, int]:
    return dict.fromkeys(("ds1", "ds2", "ds3", "full"), disk_gib * GIB)


def a_slot(*domains: str, memory_mib: int = 4096, disk_gib: int = 20, group: str = "cp") -> Slot:
    """Return a machine that may go anywhere, unless told otherwise."""
    return Slot(group, memory_mib, _everywhere(disk_gib), domains or ("a",))


def why(answer: Place | Refusal) -> str:
    """Return the reasons of a refusal."""
    assert isinstance(answer, Refusal)
    return " / ".join(answer.reasons)


def hosts_of(answers: list[Place | Refusal]) -> list[str | None]:
    """Return the hosts of machines that were all placed."""
    return [answer.host for answer in answers if isinstance(answer, Place)]


def test_without_drs_control_planes_go_to_hosts_of_their_own() -> None:
    domain = a_domain("a", *(a_host(f"h{n}", memory_used_mib=n * 1000) for n in range(4)))

    answers = solve([a_slot()] * 3, [domain])

    assert hosts_of(answers) == ["h0", "h1", "h2"]


def test_with_drs_no_host_is_promised() -> None:
    answers = solve([a_slot()], [a_domain(pins_host=False)])

    assert answers == [Place("a", "ds1", None)]


def test_another_group_may_share_the_host_and_the_emptier_one_is_taken() -> None:
    domain = a_domain("a", a_host("h1", memory_used_mib=9000), a_host("h2"))
    there = [Resident("cp", "a", "h2"), Resident("workers", "a", "h1")]

    assert hosts_of(solve([a_slot(group="db")], [domain], there)) == ["h2"]
    assert hosts_of(solve([a_slot(group="cp")], [domain], there)) == ["h1"]


def test_a_machine_that_is_being_made_counts_on_its_host() -> None:
    domain = a_domain("a", a_host("h1"), a_host("h2", memory_used_mib=1000))
    coming = [Resident("db", "a", "h1", {"h1": Load(memory_mib=8192)})]

    assert hosts_of(solve([a_slot()], [domain], coming)) == ["h2"]


def test_hosts_in_maintenance_take_nothing_and_are_named() -> None:
    resting = a_host("h1", out_of_service="in maintenance mode")

    assert hosts_of(solve([a_slot()], [a_domain("a", resting, a_host("h2"))])) == ["h2"]
    (refused,) = solve([a_slot()], [a_domain("a", resting)])
    assert why(refused) == "a: host h1 is in maintenance mode"


def test_each_thing_that_lacks_is_named() -> None:
    cases = {
        "none of h1 has the network": a_domain("a", a_host("h1", networks=frozenset())),
        "4096 MiB of memory are more than any of h1 has": a_domain(
            "a", a_host("h1", memory_mib=2048)
        ),
        "none of h1 reaches datastore ds3": a_domain(
            "a", a_host("h1"), datastores=(a_store("ds3"),)
        ),
        "datastore ds1 is in maintenance": a_domain(
            "a", datastores=(a_store(out_of_service="in maintenance"),)
        ),
        "datastore ds1 has 23.0 GiB free of 24.0 GiB needed": a_domain(
            "a", datastores=(a_store(free_gib=23),)
        ),
        "the compute cluster has no host": a_domain("a", hosts=()),
        "it names no datastore": a_domain("a", datastores=()),
    }
    for reason, domain in cases.items():
        (refused,) = solve([a_slot()], [domain])
        assert why(refused) == f"a: {reason}"
    (refused,) = solve([a_slot("a", "z")], [a_domain("a", datastores=())])
    assert why(refused) == "a: it names no datastore / z: not known"


def stores_of(answers: list[Place | Refusal]) -> list[str]:
    """Return the datastores of machines that were all placed."""
    return [answer.datastore for answer in answers if isinstance(answer, Place)]


def test_the_limit_of_a_resource_pool_holds_for_all_domains_that_share_it() -> None:
    pool = Pool("pool", "small", limit_mib=12000, used_mib=3000)
    domains = [a_domain(name, pools=(pool,)) for name in ("a", "b")]

    answers = solve([a_slot("a", "b")] * 3, domains)

    assert [isinstance(answer, Place) for answer in answers] == [True, True, False]
    assert why(answers[2]).count("resource pool small has 808 MiB left of its limit of") == 2


def test_what_is_reserved_has_to_be_left_in_the_pool() -> None:
    left = Reserved(memory_mib=10000, cpu_mhz=2500)
    pool = Pool("pool", "kept", unreserved=left)
    domain = a_domain("a", pools=(pool, Pool("above", "small", limit_mib=100000)))
    memory = replace(a_slot(), reserved=Reserved(memory_mib=4000))
    cpu = replace(a_slot(), reserved=Reserved(cpu_mhz=1000))

    by_memory, by_cpu = solve([memory] * 3, [domain]), solve([cpu] * 3, [domain])

    assert len(stores_of(by_memory)) == len(stores_of(by_cpu)) == 2
    said = "a: resource pool kept can reserve {} more, and {} are to be reserved"
    assert why(by_memory[2]) == said.format("2000 MiB", "4000 MiB")
    assert why(by_cpu[2]) == said.format("500 MHz", "1000 MHz")
    assert len(stores_of(solve([a_slot()] * 3, [domain]))) == 3, "nothing is reserved for these"


def test_what_is_reserved_needs_no_swap_file() -> None:
    slot = a_slot()
    store = a_store(free_gib=40)  # for one: the clone, and a swap file as large as the memory
    kept = replace(slot, reserved=Reserved(memory_mib=slot.memory_mib))

    with_swap = solve([slot] * 9, [a_domain(datastores=(store,))])
    without = solve([kept] * 9, [a_domain(datastores=(store,))])

    assert len(stores_of(without)) > len(stores_of(with_swap))


def test_what_vsan_writes_twice_is_counted_twice() -> None:
    store = a_store(free_gib=30, copies=2)

    (answer,) = solve([a_slot()], [a_domain(datastores=(store,))])

    assert why(answer) == "a: datastore ds1 has 15.0 GiB free of 24.0 GiB needed"


def test_datastores_fill_evenly() -> None:
    domain = a_domain("a", datastores=(a_store(free_gib=70), a_store("ds2", free_gib=100)))

    assert stores_of(solve([a_slot()] * 5, [domain])) == ["ds2", "ds2", "ds1", "ds2", "ds1"]


def test_a_clone_goes_where_it_copies_nothing_as_long_as_there_is_room() -> None:
    domain = a_domain("a", datastores=(a_store(free_gib=10), a_store("ds2")))
    slot = replace(a_slot(), disk_bytes={"ds1": 0, "ds2": 20 * GIB})

    assert stores_of(solve([slot] * 3, [domain])) == ["ds1", "ds1", "ds2"]


def test_a_full_domain_is_left_out_and_the_others_share_what_it_would_have_had() -> None:
    full = a_domain("a", datastores=(a_store("full", free_gib=1),))
    hosts = (a_host("a1", datastores=frozenset({"full"})),)

    answers = solve(
        [a_slot("a", "b", "c")] * 4, [replace(full, hosts=hosts), a_domain("b"), a_domain("c")]
    )

    assert [one.domain for one in answers if isinstance(one, Place)] == ["b", "c", "b", "c"]


some_hosts = st.lists(
    st.builds(
        a_host,
        st.sampled_from(["h1", "h2", "h3", "h4"]),
        memory_mib=st.sampled_from([2048, 16384, 65536]),
        memory_used_mib=st.integers(0, 40000),
        networks=st.sampled_from([frozenset({"net"}), frozenset()]),
        datastores=st.sampled_from([frozenset({"ds1", "ds2"}), frozenset({"ds2"})]),
        out_of_service=st.sampled_from(["", "", "", "disconnected"]),
    ),
    max_size=4,
    unique_by=lambda host: host.ref,
)


def _domains(free_gib: int) -> st.SearchStrategy[list[Domain]]:
    def a_world(name: str, hosts: list[Host], pins_host: bool) -> Domain:
        own = [replace(one, ref=f"{name}-{one.ref}", name=f"{name}-{one.ref}") for one in hosts]
        stores = (a_store("ds1", free_gib), a_store("ds2", 300))
        return Domain(name, tuple(own), stores, "net", pins_host)

    one = st.builds(a_world, st.sampled_from(DOMAINS), some_hosts, st.booleans())
    return st.lists(one, max_size=3, unique_by=lambda domain: domain.name)


some_domains = st.integers(0, 200).flatmap(_domains)
some_slots = st.lists(
    st.builds(
        Slot,
        st.sampled_from(["cp", "workers"]),
        st.sampled_from([1024, 4096, 32768]),
        st.integers(0, 60).map(_everywhere),
        st.permutations(DOMAINS).map(tuple),
    ),
    max_size=12,
)


@given(some_domains, some_slots, st.integers(0, 12))
def test_a_plan_that_is_carried_out_in_two_parts_ends_the_same(
    domains: list[Domain], slots: list[Slot], cut: int
) -> None:
    first = solve(slots[:cut], domains)
    known = {domain.name: domain for domain in domains}
    there = [
        Resident(
            slot.group,
            place.domain,
            place.host,
            loads(slot, place, known[place.domain], slot.disk_bytes[place.datastore]),
        )
        for slot, place in zip(slots, first, strict=False)
        if isinstance(place, Place)
    ]

    assert [*first, *solve(slots[cut:], domains, there)] == solve(slots, domains)


@given(some_domains, some_slots)
def test_a_place_is_one_where_the_machine_can_run(domains: list[Domain], slots: list[Slot]) -> None:
    known = {domain.name: domain for domain in domains}
    taken: Counter[str] = Counter()
    for slot, place in zip(slots, solve(slots, domains), strict=True):
        if isinstance(place, Refusal):
            assert len(place.reasons) == len(slot.domains)
            continue
        domain = known[place.domain]
        able = {
            host.ref
            for host in domain.hosts
            if not host.out_of_service
            and domain.network in host.networks
            and place.datastore in host.datastores
            and host.memory_mib >= slot.memory_mib
        }
        assert able
        assert (place.host in able) if domain.pins_host else place.host is None
        taken[place.datastore] += slot.disk_bytes[place.datastore] + slot.memory_mib * 1024**2
        store = next(one for one in domain.datastores if one.ref == place.datastore)
        assert taken[place.datastore] <= store.free_bytes


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 6))
def test_as_long_as_there_are_hosts_no_two_of_a_group_share_one(
    hosts: int, machines: int, before: int
) -> None:
    domain = a_domain("a", *(a_host(f"h{n}") for n in range(hosts)))
    there = [Resident("cp", "a", f"h{n % hosts}") for n in range(before)]

    answers = solve([a_slot()] * machines, [domain], there)

    load = Counter(one.host for one in there) + Counter(hosts_of(answers))
    assert max(load.values()) - min(load[f"h{n}"] for n in range(hosts)) <= 1


def test_the_first_linked_clone_brings_the_replica_whatever_disks_it_has_beside() -> None:
    domain = a_domain(datastores=(a_store(free_gib=40, replica_bytes=20 * GIB),))
    slot = replace(a_slot(disk_gib=0), disks=(Disk(8 * GIB),))

    first, second = solve([slot, slot], [domain])

    assert isinstance(first, Place)  # 20 + 8 GiB, and 4 GiB of swap file
    assert why(second) == "a: datastore ds1 has 8.0 GiB free of 12.0 GiB needed"


def test_how_many_more_clusters_fit_counts_resource_pools_from_one_to_the_next() -> None:
    group = Group(None, 1, 4096, ("a",), {"ds1": 0}, reserved=Reserved(memory_mib=4096))
    limited = Pool("pool", "small", limit_mib=3 * 4096, used_mib=0)
    reserving = Pool("pool", "kept", unreserved=Reserved(memory_mib=2 * 4096))

    found = [
        how_many_fit(Snapshot((group,), (), (a_domain("a", pools=(pool,)),)), most=9)
        for pool in (limited, reserving)
    ]

    assert [one.clusters for one in found] == [3, 2]
    assert "resource pool small has 0 MiB left of its limit" in found[0].limited_by
    assert "resource pool kept can reserve 0 MiB more" in found[1].limited_by


def test_a_host_that_is_chosen_can_reserve_what_is_asked_for() -> None:
    hosts = [
        a_host("full", unreserved=Reserved(1000, 9000)),
        a_host("busy", unreserved=Reserved(9000, 100), memory_used_mib=10),
        a_host("free", unreserved=Reserved(9000, 900), memory_used_mib=60000),
    ]
    slot = replace(a_slot(), reserved=Reserved(4096, 500))

    first, second = solve([slot, slot], [a_domain("a", *hosts)])

    assert isinstance(first, Place)
    assert first.host == "free", "though it has least memory left"
    assert why(second) == "a: none of full, busy, free can reserve 4096 MiB and 500 MHz more"
    assert hosts_of(solve([a_slot()], [a_domain("a", *hosts)])) == ["full"]
    moved = solve([slot, slot], [a_domain("a", *hosts, pins_host=False)])
    assert hosts_of(moved) == [None, None], "DRS makes room"


def test_what_other_clusters_reserve_in_a_pool_counts_from_the_moment_it_is_placed() -> None:
    pool = Pool("pool", "kept", limit_mib=20000, unreserved=Reserved(6000, 1000))
    domain = a_domain("a", pools=(pool,))
    slot = replace(a_slot(), reserved=Reserved(4096))
    (place,) = solve([slot], [domain])
    assert isinstance(place, Place)
    other = Resident("*", "a", place.host, loads(slot, place, domain, 0))

    (refused,) = solve([slot], [domain], [other])

    assert "resource pool kept can reserve 1904 MiB more, and 4096" in why(refused)
