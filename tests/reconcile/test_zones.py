"""Which region and zone new machines get: named, by tags, or the failure domain's name."""

from typing import Any

import pytest

from moorage.resources import CloudAccount, Cluster, Machine, NodePool
from tests.builders import a_cluster_spec, a_failure_domain
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import ask_all, delete_all, powered_on
from tests.tags import Tagger

NAMED = {"region": "here", "zone": "z"}


def placed(*domains: Any) -> dict[str, Any]:
    """Return the placement of a small cluster, with other failure domains."""
    placement = a_cluster_spec().placement
    return {**placement.model_dump(), "failure_domains": list(domains)}


def over_rest(world: World) -> dict[str, int]:
    calls: dict[str, int] = world.vcenter.control.counters()["calls"]
    return {name: n for name, n in calls.items() if " /" in name}


def told(machines: list[Machine]) -> dict[str, tuple[str, str]]:
    domains = [machine.spec.failure_domain for machine in machines]
    return {one.name: (one.region, one.zone) for one in domains}


async def test_tags_are_read_once_and_recorded_in_machines_and_cluster(world: World) -> None:
    with Tagger(world.vcenter) as tagger:
        tagger.put("k8s-region", "eu-1", "/dc1")
        tagger.put("k8s-zone", "eu-1a", "/dc1/host/cc1")
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    world.vcenter.control.reset_counters()
    domains = (
        a_failure_domain("a"),
        a_failure_domain("b", compute_cluster="cc2"),
        a_failure_domain("c", **NAMED),
    )

    cluster = await ask_all(world, control_plane={"replicas": 3}, placement=placed(*domains))
    machines = await world.until(Machine, powered_on(5), "five machines are powered on")

    assert told(machines) == {"a": ("eu-1", "eu-1a"), "b": ("eu-1", ""), "c": ("here", "z")}
    asked = over_rest(world)
    assert asked["POST /api/cis/tagging/tag-association"] == 1
    assert asked["POST /api/session"] == asked["DELETE /api/session"] == 1
    assert sum(asked.values()) <= 7  # a session, one list, two tags with their categories
    found = await world.store.get(Cluster, *cluster.key)
    noted = [(one.failure_domain, one.zone, one.zone_from) for one in found.status.topology]
    assert noted == [("a", "eu-1a", "/dc1/host/cc1"), ("b", "b", "")]
    assert [one.region_from for one in found.status.topology] == ["/dc1", "/dc1"]


async def test_nobody_is_asked_when_every_domain_names_region_and_zone(world: World) -> None:
    domains = (a_failure_domain("a", **NAMED), a_failure_domain("b", **NAMED))
    await ask_all(world, placement=placed(*domains))

    machines = await world.until(Machine, powered_on(3), "three machines are powered on")

    assert over_rest(world) == {}
    assert set(told(machines).values()) == {("here", "z")}


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (("eu_", "ok"), "tag 'eu_' of category k8s-zone on /dc1/host/cc1"),
        (("a", "b"), "/dc1/host/cc1 has 2 tags of category k8s-zone (a, b)"),
    ],
)
async def test_a_tag_that_cannot_be_used_is_said_before_a_machine_is_made(
    world: World, tags: tuple[str, str], said: str
) -> None:
    with Tagger(world.vcenter) as tagger:
        first, second = (tagger.tag("k8s-zone", name) for name in tags)
        tagger.attach(first, "/dc1/host/cc1")
        tagger.attach(second, "/dc1/host/cc1" if tags[1] == "b" else "/dc1")
    cluster = await ask_all(world)

    def is_told(clusters: list[Cluster]) -> bool:
        condition = clusters[0].status.condition("MachinesExist")
        return condition is not None and condition.reason == "ZoneTagsInvalid"

    (found,) = await world.until(Cluster, is_told, "the tag is complained about")

    condition = found.status.condition("MachinesExist")
    assert condition is not None
    assert said in condition.message
    assert "Name region and zone" in condition.message
    assert world.vms() == []
    # Whoever names the zone needs no tag.
    named = found.copy_deep()
    named.spec.placement.failure_domains = [
        one.model_copy(update=NAMED) for one in named.spec.placement.failure_domains
    ]
    await world.ask(named)
    machines = await world.until(Machine, powered_on(3), "three machines are powered on")
    assert set(told(machines).values()) == {("here", "z")}
    await delete_all(world, cluster)


async def test_machines_keep_their_zone_when_the_tag_changes(world: World) -> None:
    with Tagger(world.vcenter) as tagger:
        tagger.put("k8s-zone", "before", "/dc1/host/cc1")
        await ask_all(world)
        machines = await world.until(Machine, powered_on(3), "three machines are powered on")
        tagger.put("k8s-zone", "after", "/dc1/host/cc1")  # two now, which nobody could use
    (pool,) = await world.store.list(NodePool)
    pool.spec.replicas = 3
    await world.ask(pool)

    # What was read a moment ago still counts for a fourth one.
    machines = await world.until(Machine, powered_on(4), "four machines are powered on")
    assert {zone for _, zone in told(machines).values()} == {"before"}
