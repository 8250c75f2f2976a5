"""What clusters take of IP pools, kept up to date by changes: as if it were counted anew."""

import random

import pytest

from moorage.controllers.tally import Tally, tally_of
from moorage.ipam import claim, nobody, release
from moorage.kit.clock import FakeClock
from moorage.kit.ids import new_uid
from moorage.resources import Cluster, IPPool, NodePool, Owner
from moorage.store import SqlStore
from tests.builders import a_cluster, a_failure_domain, a_node_pool, an_ip_pool

pytestmark = pytest.mark.anyio

POOLS = {
    name: an_ip_pool(name, start=f"10.77.{third}.1", end=f"10.77.{third}.90")
    for third, name in enumerate(("one", "two", "three"), start=1)
}


async def change_something(store: SqlStore, clock: FakeClock, chance: random.Random) -> None:
    clusters, pools = await store.list(Cluster), await store.list(NodePool)
    match chance.randrange(6):
        case 0:
            name = f"c{chance.randrange(10**9)}"
            made = a_cluster(name, control_plane={"replicas": chance.choice([1, 3])})
            made.spec.placement.failure_domains = [
                a_failure_domain("a", ip_pool=None, ip_pools=chance.sample([*POOLS], 2)),
                a_failure_domain("b", ip_pool=chance.choice([*POOLS])),
            ]
            made = await store.create(made)
            pool = a_node_pool(name, replicas=chance.randrange(5))
            pool.metadata.owner = made.owner()
            await store.create(pool)
        case 1 if pools:
            one = chance.choice(pools)
            one.spec.replicas = chance.randrange(5)
            await store.put_spec(one)
        case 2 if pools and chance.random() < 0.5:
            await store.delete(chance.choice(pools))
        case 3 if clusters and chance.random() < 0.3:
            await store.delete(chance.choice(clusters))
        case 4 | 5 if clusters:
            cluster = chance.choice(clusters)
            owner = Owner(kind="Machine", name="m", uid=new_uid())
            source = [POOLS[name] for name in chance.choice(
                cluster.spec.placement.failure_domains).pools()]  # fmt: skip
            key = f"default/{cluster.metadata.name}"
            await claim(store, source, owner, cluster=key, used_by=nobody)
            if chance.random() < 0.3:
                await release(store, owner.uid, now=clock.now())


@pytest.mark.parametrize("seed", range(5))
async def test_what_is_kept_is_what_a_fresh_count_gives(
    sqlite_store: SqlStore, clock: FakeClock, seed: int
) -> None:
    store, chance = sqlite_store, random.Random(seed)  # noqa: S311 - a test's dice
    pools = {name: await store.create(pool.copy_deep()) for name, pool in POOLS.items()}

    for _ in range(40):
        await change_something(store, clock, chance)
        kept = await tally_of(store)
        store.views().pop(Tally)
        fresh = await tally_of(store)
        store.views()[Tally] = kept

        for name, pool in pools.items():
            assert kept.reserved(name, pools) == fresh.reserved(name, pools)
            assert len(kept.claims(name)) == len(fresh.claims(name))
            assert 0 <= kept.reserved(name, pools) <= pool.spec.usable()
        for cluster in await store.list(Cluster):
            key, named = f"default/{cluster.metadata.name}", cluster.spec.ip_pools()
            assert kept.room_for(key, named, pools) == fresh.room_for(key, named, pools)


async def test_a_cluster_has_no_room_where_others_will_take_all(sqlite_store: SqlStore) -> None:
    store = sqlite_store
    small: dict[str, IPPool] = {
        "one": await store.create(an_ip_pool("one", end="10.77.1.12")),
        "two": await store.create(an_ip_pool("two", start="10.77.2.1", end="10.77.2.9")),
    }
    other = a_cluster("other")
    other.spec.placement.failure_domains = [
        a_failure_domain("a", ip_pool=None, ip_pools=["one", "two"])
    ]
    await store.create(other)  # a machine, its VIP and a replacement

    tally = await tally_of(store)

    assert tally.room_for("default/mine", {"one"}, small) == {"one": 0, "two": 9}
    assert tally.room_for("default/other", {"one"}, small) == {"one": 3, "two": 9}
    assert (tally.reserved("one", small), tally.reserved("two", small)) == (3, 0)
