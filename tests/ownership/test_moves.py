"""Who moves together, and what a gateway takes over and lets go: on stores, without processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moorage.controllers.hub.moves import group_of, transfer
from moorage.engine import Store, Tombstone
from moorage.hub.rules.base import assign
from moorage.ipam import claim, nobody, release
from moorage.kit.clock import FakeClock
from moorage.kit.ids import new_uid
from moorage.kit.seal import PrivateSealingKey, seal
from moorage.link.frames import Drop, Dropped
from moorage.link.handover import drop_copies, take_over
from moorage.resources import (
    Assignment,
    CloudAccount,
    Cluster,
    Gateway,
    Handover,
    IPAddress,
    IPPool,
    Machine,
    Metadata,
    Owner,
    Secret,
)
from moorage.resources.account import CloudAccountSpec, SecretSpec
from moorage.store import open_store
from tests.builders import a_cluster, a_machine, an_ip_pool


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_store(f"sqlite:///{tmp_path}/hub.db", clock=FakeClock())
    yield store
    await store.close()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Store]:
    url = f"sqlite:///{tmp_path}/gateway.db"
    store = await open_store(url, clock=FakeClock(), mirror=True)
    yield store
    await store.close()


async def an_estate(hub: Store) -> None:
    """Two clusters on one account and pool, a third on its own; all at site-a."""
    gateway = Gateway(metadata=Metadata(name="site-a"))
    gateway = await hub.create(gateway)
    gateway.status.enrolled = True
    await hub.put_status(gateway)
    for name in ("lab", "other"):
        spec = CloudAccountSpec(gateway="site-a", server="vc", username="u", secret=name)
        meta = Metadata(name=name, route="site-a", epoch=1)
        await hub.create(CloudAccount(metadata=meta, spec=spec))
        sealed = seal(b"x", [PrivateSealingKey.generate().public()], {"name": name})
        await hub.create(
            Secret(
                metadata=Metadata(name=name, route="site-a", epoch=1),
                spec=SecretSpec(gateway="site-a", sealed=sealed),
            )
        )
    for pool in (an_ip_pool("nodes"), an_ip_pool("more")):
        pool.metadata.route, pool.metadata.epoch = "site-a", 1
        await assign(hub, await hub.create(pool))
    lone = a_cluster("lone", account="other", endpoint={"host": "10.0.0.9"})
    for domain in lone.spec.placement.failure_domains:
        domain.ip_pool = None
    for cluster in (a_cluster("web"), a_cluster("db"), lone):
        await assign(hub, await hub.create(cluster))


async def test_what_shares_a_pool_or_an_account_moves_together(hub: Store) -> None:
    await an_estate(hub)

    both = await group_of(hub, "site-a", {"default/web"})
    lone = await group_of(hub, "site-a", {"default/lone"})

    assert {one.metadata.name for one in both.clusters} == {"web", "db"}
    assert [one.metadata.name for one in both.ip_pools] == ["nodes"]
    assert [one.metadata.name for one in both.accounts] == ["lab"]
    assert {one.metadata.name for one in lone.subjects} == {"lone"}
    assert [one.metadata.name for one in lone.accounts] == ["other"]


async def test_a_transfer_raises_the_epoch_and_tells_what_was_handed_over_first(
    hub: Store,
) -> None:
    await an_estate(hub)
    web = await hub.get(Cluster, "default", "web")
    machine = a_machine()
    machine.metadata.owner, machine.metadata.route = web.owner(), "site-a"
    await hub.put_mirror(machine)
    since = await hub.version()

    async with hub.transaction() as store:
        group = await group_of(store, "site-a", {"default/web"})
        await transfer(store, group, "site-a", "site-b")

    rows = await hub.changed_since(since, route="site-b", spec_only=True)
    kinds = [row.kind for row in rows]
    first_pool = kinds.index("IPPool")
    assert kinds.index("Handover") < first_pool
    assert "Handover" not in kinds[first_pool:]
    assert kinds[-1] != "Handover"
    for kind, name in ((Cluster, "web"), (Cluster, "db"), (IPPool, "nodes")):
        found = await hub.get(kind, "default" if kind is Cluster else "", name)
        assert (found.metadata.route, found.metadata.epoch) == ("site-b", 2)
        assignment = await hub.get(
            Assignment, "", f"{kind.kind_name().lower()}-{found.metadata.uid}"
        )
        assert (assignment.spec.gateway, assignment.spec.epoch) == ("site-b", 2)
        assert assignment.metadata.route == "site-b"
    assert (await hub.get(Secret, "", "lab")).spec.gateway == "site-b"
    assert (await hub.get(Secret, "", "other")).spec.gateway == "site-a"
    handed = [one for one in await hub.list(Handover) if one.spec.resources]
    assert [doc["metadata"]["name"] for doc in handed[0].spec.resources] == [machine.metadata.name]
    old = await hub.get(Gateway, "", "site-a")
    assert {(one.kind, one.name) for one in old.status.moved_away} == {
        ("Cluster", "web"),
        ("Cluster", "db"),
        ("IPPool", "nodes"),
        ("CloudAccount", "lab"),
    }


async def test_an_address_that_is_held_back_is_forgotten_in_a_move(hub: Store) -> None:
    await an_estate(hub)
    pool = await hub.get(IPPool, "", "nodes")
    pool.spec.hold_off_s = 300
    pool = await hub.put_spec(pool)
    web = await hub.get(Cluster, "default", "web")
    last = Owner(kind="Machine", name="m", uid=new_uid())
    kept = await claim(hub, [pool], web.owner(), cluster="default/web", used_by=nobody)
    await claim(hub, [pool], last, cluster="default/web", used_by=nobody)
    await release(hub, last.uid, now=FakeClock().now())
    assert len(await hub.list(IPAddress)) == 2

    async with hub.transaction() as store:
        group = await group_of(store, "site-a", {"default/web"})
        await transfer(store, group, "site-a", "site-b")

    (found,) = await hub.list(IPAddress)
    assert (found.metadata.uid, found.metadata.route) == (kept.metadata.uid, "site-b")
    handed = [doc for one in await hub.list(Handover) for doc in one.spec.resources]
    assert [doc["metadata"]["name"] for doc in handed] == [kept.metadata.name]


async def test_a_handover_replaces_copies_of_an_earlier_time(gateway: Store) -> None:
    cluster = a_cluster("web")
    stale, fresh = a_machine(), a_machine()
    for machine in (stale, fresh):
        machine.metadata.owner = cluster.owner()
    await gateway.put_mirror(stale)
    handover = Handover.model_validate(
        {
            "metadata": {"name": "h", "owner": cluster.owner().document()},
            "spec": {"gateway": "site-b", "epoch": 3, "resources": [fresh.document()]},
        }
    )

    await take_over(gateway, handover)

    assert [one.metadata.uid for one in await gateway.list(Machine)] == [fresh.metadata.uid]
    assert not any(isinstance(row, Tombstone) for row in await gateway.changed_since(0))


async def test_copies_are_dropped_by_the_epoch_only(gateway: Store) -> None:
    cluster = await gateway.create(a_cluster("web"))
    await assign(gateway, cluster)
    drop = Drop(kind="Cluster", project="default", name="web", uid=cluster.metadata.uid, epoch=1)

    assert await drop_copies(gateway, drop) == [Dropped(uid=cluster.metadata.uid, epoch=1)]
    assert await drop_copies(gateway, drop.model_copy(update={"epoch": 2})) == []

    assignment = (await gateway.list(Assignment))[0]
    assert assignment.status.stopped_by(assignment.spec.epoch) == 2
    assert assignment.status.stopped_by(2) is None
    assert await gateway.find(Cluster, "default", "web") is not None, "no pass may be under way"
    gone = drop.model_copy(update={"uid": "another"})
    assert await drop_copies(gateway, gone) == [Dropped(uid="another", epoch=1)]
