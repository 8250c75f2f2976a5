"""Changes of several clusters, moves, DNS mappings, lost gateways, accounts, one machine's page."""

import json
import re
from datetime import timedelta

import pytest

from moorage.resources import Assignment, CloudAccount, Cluster, Operation, Plan
from moorage.resources.estate import EstateCapacity
from moorage.resources.gateway import assignment_name
from moorage.resources.phase import DELETION_HELD
from tests.api.world import PASSWORD, World, a_cluster
from tests.ui.browser import Browser
from tests.ui.test_clusters import a_node
from tests.ui.test_foundation import inline

HERE = "/ui/p/default"


@pytest.fixture
async def two(world: World) -> list[Cluster]:
    """Make clusters `one` and `two`, which share account and IP pool."""
    await world.site()
    for name in ("one", "two"):
        await world.ok("POST", "/v1/projects/default/clusters", a_cluster(name))
    return await world.hub.store.list(Cluster)


async def labels(world: World, name: str) -> dict[str, str]:
    """Return a cluster's labels."""
    found = await world.ok("GET", f"/v1/projects/default/clusters/{name}")
    return dict(found["metadata"].get("labels", {}))


async def connect(world: World, *gateways: str) -> None:
    """Let gateways have been here, and have taken over all that is theirs."""
    for gateway in gateways:
        position = json.dumps({"sequence": 1, "kinds": ["Handover"]})
        await world.hub.store.set_value(f"link.up.{gateway}", position)
    for assignment in await world.hub.store.list(Assignment):
        assignment.status.acknowledged_epoch = assignment.spec.epoch
        await world.hub.store.put_status(assignment)


async def test_several_clusters_get_a_label_and_lose_it(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    page = await browser.look(f"{HERE}/clusters-bulk?search=o")
    none = await browser.submit(page, "-bulk?search=o", status=422, key="env", act="label")
    assert "choose at least one" in none.text
    both = ["one", "two"]
    page = await browser.submit(
        page, "-bulk?search=o", cluster=both, key="env", value="prod", act="label"
    )
    assert "2 of 2 done" in page.text
    assert [await labels(world, name) for name in both] == [{"env": "prod"}] * 2
    page = await browser.submit(
        page, "-bulk?search=o", cluster=["one", "gone"], key="env", act="unlabel"
    )
    assert "1 of 2 done" in page.text
    assert "gone" in page.text
    assert [await labels(world, name) for name in both] == [{}, {"env": "prod"}]
    bad = await browser.submit(
        page, "-bulk?search=o", cluster=["one"], key="not a key", value="x", act="label"
    )
    assert "0 of 1 done" in bad.text


async def test_several_clusters_are_deleted_when_all_names_are_typed(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    page = await browser.look(f"{HERE}/clusters-bulk")
    fields = page.form("-bulk").fields
    pairs = [*((n, v) for n, v in fields if n == "csrf"), ("cluster", "one"), ("cluster", "two")]
    page = await browser.post(f"{HERE}/clusters-bulk/confirm", pairs)
    kept = await browser.submit(page, "/delete", status=422, names="one")
    assert "nothing was deleted" in kept.text
    done = await browser.submit(kept, "/delete", names="two, one")
    assert "2 of 2 done" in done.text
    for one in await world.hub.store.list(Cluster):
        assert one.is_deleting


async def test_a_held_deletion_waits_for_a_person(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    await world.ok("DELETE", "/v1/projects/default/clusters/one")
    cluster = await world.hub.store.get(Cluster, "default", "one")
    cluster.status.set_condition("VMsGone", "False", DELETION_HELD, "many", now=world.clock.now())
    await world.hub.store.put_status(cluster)

    assert "1 deletion held" in (await browser.look(f"{HERE}/overview")).text
    page = await browser.look(f"{HERE}/clusters?held=yes")
    assert 'id="c-one"' in page.html
    assert 'id="c-two"' not in page.html
    page = await browser.look(f"{HERE}/gateways/site-1")
    assert "moorage-gateway deletions approve default/one" in page.text


async def test_a_cluster_moves_with_what_it_shares(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    page = await browser.look(f"{HERE}/clusters/one/settings")
    assert "no other gateway" in page.text
    await world.enrol("site-2")
    await connect(world, "site-1", "site-2")
    page = await browser.look(f"{HERE}/clusters/one/settings")
    alone = await browser.submit(page, "/preview", status=409, gateway="site-2")
    assert "can only move together" in alone.text
    shown = await browser.submit(page, "/preview", gateway="site-2", withUsers="yes")
    assert "default/one, default/two" in shown.text
    moved = await browser.submit(shown, "/start")
    assert "It moves to site-2" in moved.text
    name = assignment_name("Cluster", two[0].metadata.uid)
    assert (await world.hub.store.get(Assignment, "", name)).spec.moving_to == "site-2"
    stays = await browser.submit(moved, "/cancel")
    assert "It moves to" not in stays.text


async def test_a_gateway_gets_dns_mappings_and_a_second_editor_is_told(
    browser: Browser, world: World
) -> None:
    await world.enrol()
    page = await browser.look(f"{HERE}/gateways/site-1")
    stale = page
    mapping = {"searchDomain": "lab.example.com", "datacenter": "dc1", "network": "nodes"}
    page = await browser.submit(page, "/map", **mapping)
    assert "lab.example.com" in page.text
    conflict = await browser.submit(stale, "/describe", status=412, description="x")
    assert "has changed since it was read" in conflict.text
    again = await browser.submit(page, "/map", status=422, **mapping)
    assert "same network" in again.text
    page = await browser.submit(page, "/unmap")
    assert (await world.ok("GET", "/v1/gateways/site-1"))["spec"].get("dnsMappings", []) == []
    assert inline(page) == []


async def test_a_lost_gateway_is_declared_dead_when_its_name_is_typed(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    await world.enrol("site-2")
    await connect(world, "site-2")
    page = await browser.look(f"{HERE}/gateways/site-1")
    shown = await browser.submit(page, "/declare-dead", successor="site-2")
    assert "2 clusters (default/one, default/two)" in shown.text
    kept = await browser.submit(shown, "/declare-dead", status=422, name="site")
    assert "nothing was changed" in kept.text
    there = await browser.submit(shown, "/declare-dead", name="site-1")
    assert there.url.path == f"{HERE}/gateways/site-2"
    assert {c.metadata.route for c in await world.hub.store.list(Cluster)} == {"site-2"}


async def test_an_account_is_checked_and_its_roles_are_written(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    page = await browser.look(f"{HERE}/accounts/vcenter")
    asked = await browser.submit(page, "accounts/vcenter/check")
    (operation,) = await world.hub.store.list(Operation)
    arguments = operation.spec.arguments
    assert [one["computeCluster"] for one in arguments["targets"]] == ["C0"]
    assert [one["name"] for one in arguments["clusters"]] == ["one", "two"]
    for language, word in (("govc", "govc role.create"), ("terraform", "resource ")):
        path = f"{asked.url.path}/roles?format={language}&switches=dvs1"
        page = await browser.look(path)
        assert word in page.text
        assert "moorage@vsphere.local" in page.text
    place = {"datacenter": "dc9", "folder": "f", "template": "t", "computeCluster": "c"}
    page = await browser.look(f"{HERE}/accounts/vcenter")
    wrong = await browser.submit(page, "accounts/vcenter/check", status=422, datacenter="dc9")
    assert "folder" in wrong.text
    await browser.submit(
        page, "accounts/vcenter/check", **place, datastore="ds", network="n", resourcePool=""
    )
    newest = [o for o in await world.hub.store.list(Operation) if o.key != operation.key]
    assert newest[0].spec.arguments["targets"][0]["datacenter"] == "dc9"


async def test_an_account_becomes_read_only_and_goes(browser: Browser, world: World) -> None:
    await world.site()
    page = await browser.look(f"{HERE}/accounts/vcenter")
    page = await browser.submit(page, "/read-only")
    assert "Nothing is changed there" in page.text
    kept = await browser.submit(page, "/delete", status=422, name="vcente")
    assert "is not its name" in kept.text
    await browser.submit(page, "/delete", name="vcenter")
    left = await world.ask("GET", "/v1/accounts/vcenter")
    assert left.status_code == 404 or "deletionRequestedAt" in left.json()["metadata"]


async def test_the_overview_shows_what_each_vcenter_holds(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    page = await browser.look(f"{HERE}/overview")
    assert "Nobody has asked yet" in page.text
    account = await world.hub.store.get(CloudAccount, "", "vcenter")
    now = world.clock.now()
    account.status.set_condition("Ready", "True", "Done", "", now=now)
    account.status.capacity = EstateCapacity(
        measured_at=now,
        hosts=3,
        hosts_usable=2,
        cpu_mhz=40_000,
        cpu_used_mhz=10_000,
        memory_mib=65536,
        memory_used_mib=16384,
        datastores=2,
        storage_bytes=4 * 1024**4,
        storage_used_bytes=1024**4,
    )
    await world.hub.store.put_status(account)
    await browser.submit(page, "/measure")
    (operation,) = await world.hub.store.list(Operation)
    assert operation.spec.arguments == {"measure": True}
    page = await browser.look(f"{HERE}/overview")
    assert "2 of 3 hosts in service" in page.text
    assert "10.0 of 40.0 GHz used, 30.0 free" in page.text
    assert "16 GiB of 64 GiB used, 48 GiB free" in page.text
    assert "1 TiB of 4 TiB used" in page.text
    assert "used, 48 GiB free" in (await browser.look(f"{HERE}/accounts/vcenter")).text


async def test_a_pool_is_planned_before_it_is_scaled(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    page = await browser.look(f"{HERE}/clusters/one/pools")
    page = await browser.submit(page, "/scale", replicas="7", act="plan")
    (plan,) = await world.hub.store.list(Plan)
    assert plan.spec.node_pools[0].replicas == 7
    assert list(re.findall(r'class="(plus|minus)">(.*)', page.html)) == [
        ("minus", "-   replicas: 1"),
        ("plus", "+   replicas: 7"),
    ]
    pools = await world.ok("GET", "/v1/projects/default/nodepools")
    assert {one["spec"]["replicas"] for one in pools["items"]} == {1}


async def test_a_machine_says_each_step_and_what_it_waits_for(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    (cluster,) = [one for one in two if one.metadata.name == "one"]
    machine = await a_node(world, cluster, "one-cp-1")
    made = machine.metadata.created_at
    assert made is not None
    now = world.clock.now()
    machine.status.timeline = {"VMCreated": (made + timedelta(seconds=3)).isoformat()}
    machine.status.progress = "installing"
    machine.status.set_condition("Ready", "False", "WaitingForNode", "not yet", now=now)
    await world.hub.store.put_status(machine)

    page = await browser.look(f"{HERE}/clusters/one")
    (link,) = [link for link in page.links() if link.endswith("/machines/one-cp-1")]
    page = await browser.look(link)

    assert "Waits: WaitingForNode" in page.text
    assert "VM made 3.0 s" in page.text
    assert "The node says: installing" in page.text
    assert "Joined - not yet" in page.text or "node joined - not yet" in page.text
    assert inline(page) == []
    await browser.look(f"{HERE}/clusters/one/machines/nobody", status=404)


async def test_logs_that_were_asked_for_are_listed(
    browser: Browser, world: World, two: list[Cluster]
) -> None:
    (cluster,) = [one for one in two if one.metadata.name == "one"]
    await a_node(world, cluster, "one-cp-1")
    page = await browser.look(f"{HERE}/clusters/one/logs")
    assert "Nothing in the last 24 hours" in page.text
    await browser.submit(page, "/logs", machine="one-cp-1")
    page = await browser.look(f"{HERE}/clusters/one/logs")
    assert [link for link in page.links() if "/operations/logs-" in link]
    assert "waits" in page.text


async def test_a_viewer_finds_nothing_to_change_here(
    stranger: Browser, world: World, two: list[Cluster]
) -> None:
    await world.enrol("site-2")
    await world.make_user("eve", [{"role": "project-viewer", "project": "default"}])
    await stranger.log_in("eve", PASSWORD)
    for path in (
        "gateways/site-1",
        "accounts/vcenter",
        "clusters/one/settings",
        "clusters/one/logs",
    ):
        page = await stranger.look(f"{HERE}/{path}")
        posts = [form.action for form in page.forms if form.method == "post"]
        assert posts == ["/ui/logout"], path
    csrf = dict(page.form("/ui/logout").fields)["csrf"]
    for path, status in (
        ("gateways/site-1/token", 403),
        ("accounts/vcenter/delete", 403),
        ("clusters/one/move/cancel", 404),
    ):
        name = path.split("/")[1]
        pairs = [("csrf", csrf), ("name", name)]
        await stranger.post(f"{HERE}/{path}", pairs, status=status)
