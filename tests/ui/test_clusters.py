"""Clusters in the browser: list, filters, tabs, progress, and every change that the pages offer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moorage.hub.ui.progress import progress_of
from moorage.resources import Cluster, Machine, Operation
from moorage.resources.permission import CheckResult, Finding, FindingState
from tests.api.world import PASSWORD, World, a_cluster
from tests.builders import a_machine
from tests.ui.browser import Browser
from tests.ui.test_foundation import inline

HERE = "/ui/p/default/clusters"


@pytest.fixture
async def one(world: World) -> Cluster:
    """Make a cluster of one pool, with labels that try to be code."""
    await world.site()
    document = a_cluster("one")
    document["metadata"]["labels"] = {"env": "prod"}
    await world.ok("POST", "/v1/projects/default/clusters", document)
    return await world.hub.store.get(Cluster, "default", "one")


async def a_node(world: World, cluster: Cluster, name: str, **status: Any) -> Machine:
    """Store a machine of the cluster as a gateway would mirror it."""
    machine = a_machine(name, cluster="one")
    machine.metadata.labels = {"moorage.dev/cluster": "one"}
    machine.metadata.owner = cluster.owner()
    for field, value in status.items():
        setattr(machine.status, field, value)
    return await world.hub.store.create(machine)


async def test_the_list_finds_by_name_state_version_and_label(
    browser: Browser, world: World, one: Cluster
) -> None:
    await world.ok(
        "POST", "/v1/projects/default/clusters", a_cluster("two", kubernetesVersion="v1.33.1")
    )
    everything = await browser.look(HERE)
    assert "2 of 2 clusters" in everything.text
    for query, found in (
        ("search=ON", {"one"}),
        ("version=v1.33.1", {"two"}),
        ("state=Pending", {"one", "two"}),
        ("state=Ready", set()),
        ("labels=env%3Dprod", {"one"}),
    ):
        page = await browser.look(f"{HERE}?{query}")
        names = {link.rpartition("/")[2] for link in page.links() if link.startswith(f"{HERE}/")}
        assert names == found, query
    wrong = await browser.look(f"{HERE}?labels=((", status=422)
    assert "cannot read" in wrong.text


async def test_long_lists_are_paged(browser: Browser, world: World, one: Cluster) -> None:
    for number in range(60):
        copy = one.copy_deep()
        copy.metadata.name, copy.metadata.uid = f"c{number:02}", ""
        await world.hub.store.create(copy)
    first = await browser.look(HERE)
    (following,) = [link for link in first.links() if "continue=" in link]
    second = await browser.look(following)
    assert f'id="c-{"c49"}"' in first.html
    assert "c-c50" not in first.html
    assert "c-c50" in second.html
    assert "First page" in second.text


async def test_the_page_shows_what_each_machine_waits_for(
    browser: Browser, world: World, one: Cluster
) -> None:
    now = datetime.now(UTC)
    machine = await a_node(world, one, "one-cp-1", timeline={"VMCreated": now.isoformat()})
    machine.status.set_condition("Ready", "False", "WaitingForIPAddress", "no <b>address", now=now)
    await world.hub.store.put_status(machine)

    page = await browser.look(f"{HERE}/one")

    assert "WaitingForIPAddress" in page.text
    assert "no &lt;b&gt;address" in page.html
    assert "VM made" in page.text
    for tab in ("topology", "pools", "events", "yaml", "settings"):
        seen = await browser.look(f"{HERE}/one/{tab}")
        assert inline(seen) == []
    assert "one-cp-1" in (await browser.look(f"{HERE}/one/topology")).text
    asked = await browser.submit(page, "/logs")
    assert asked.url.path.startswith("/ui/p/default/operations/logs-")
    assert "Logs of one-cp-1" in asked.text
    assert "kubernetesVersion: v1.34.4" in (await browser.look(f"{HERE}/one/yaml")).text


async def test_a_pool_is_scaled_added_and_removed(
    browser: Browser, world: World, one: Cluster
) -> None:
    pools = "/v1/projects/default/nodepools"
    page = await browser.look(f"{HERE}/one/pools")
    page = await browser.submit(page, "/scale", replicas="3")
    assert "3 wanted" in page.text
    wrong = await browser.submit(page, "/add-pool", status=422, pool="UP", replicas="x", cpus="0")
    for path in ("spec.pool", "spec.replicas", "spec.cpus"):
        assert path in wrong.text
    assert 'value="UP"' in wrong.html

    page = await browser.submit(wrong, "/add-pool", pool="big", replicas="1", cpus="4")
    assert (await world.ok("GET", f"{pools}/one-big"))["spec"]["cpus"] == 4
    kept = await browser.post(
        f"{HERE}/one/remove-pool",
        [(n, v) for n, v in page.forms[-2].fields if n != "name"] + [("name", "nig")],
        status=422,
    )
    assert "not its name" in kept.text
    csrf = dict(page.forms[-1].fields)["csrf"]
    await browser.post(
        f"{HERE}/one/remove-pool", [("csrf", csrf), ("pool", "big"), ("name", "big")]
    )
    left = await world.ok("GET", pools)
    there = [p for p in left["items"] if "deletionRequestedAt" not in p["metadata"]]
    assert [pool["spec"]["pool"] for pool in there] == ["workers"]


async def test_who_comes_second_is_told_that_it_has_changed(browser: Browser, one: Cluster) -> None:
    first = await browser.look(f"{HERE}/one/pools")
    second = await browser.look(f"{HERE}/one/pools")
    await browser.submit(first, "/scale", replicas="2")

    conflict = await browser.submit(second, "/scale", status=412, replicas="5")

    assert "has changed since it was read" in conflict.text
    assert "2 wanted" in conflict.text
    assert "5 wanted" in (await browser.submit(conflict, "/scale", replicas="5")).text


async def test_a_cluster_is_deleted_when_its_name_is_typed(
    browser: Browser, world: World, one: Cluster
) -> None:
    page = await browser.look(f"{HERE}/one/settings")
    kept = await browser.submit(page, "/delete", status=422, name="on")
    assert "not its name" in kept.text
    await browser.submit(kept, "/delete", name="one")
    found = await world.ok("GET", "/v1/projects/default/clusters/one")
    assert "deletionRequestedAt" in found["metadata"]
    entries = await world.ok("GET", "/v1/audit", kind="Cluster")
    assert (entries["items"][0]["actor"], entries["items"][0]["verb"]) == ("admin", "delete")


async def test_privileges_are_checked_and_what_is_missing_is_shown(
    browser: Browser, world: World, one: Cluster
) -> None:
    asked = await browser.submit(await browser.look(f"{HERE}/one/settings"), "/check")
    (operation,) = await world.hub.store.list(Operation)
    assert operation.spec.arguments["targets"][0]["datastore"] == "LocalDS_0"
    finding = Finding(
        state=FindingState.MISSING,
        kind="datastore",
        object="LocalDS_0",
        privilege="Datastore.AllocateSpace",
        shown="Allocate space",
        needed_for=["clone"],
    )
    result = CheckResult(api_version="8.0.3", objects=[], checked=40, findings=[finding])
    operation.status.result = result.document()
    operation.status.completed_at = world.clock.now()
    await world.hub.store.put_status(operation)
    seen = await browser.look(str(asked.url))
    assert "Allocate space" in seen.text
    assert "40 privileges" in seen.text


async def test_a_viewer_is_offered_nothing_that_is_refused(
    stranger: Browser, world: World, one: Cluster
) -> None:
    await world.make_user("eve", [{"role": "project-viewer", "project": "default"}])
    await stranger.log_in("eve", PASSWORD)
    for path in (HERE, f"{HERE}/one", f"{HERE}/one/pools", f"{HERE}/one/settings"):
        page = await stranger.look(path)
        posts = [form.action for form in page.forms if form.method == "post"]
        assert posts == ["/ui/logout"], path
    csrf = dict((await stranger.look(HERE)).form("/ui/logout").fields)["csrf"]
    await stranger.post(f"{HERE}/one/delete", [("csrf", csrf), ("name", "one")], status=403)


def test_all_bars_of_a_cluster_have_one_scale() -> None:
    began = datetime(2026, 11, 23, tzinfo=UTC)

    def machine(name: str, *seconds: float, ready: bool = True) -> dict[str, Any]:
        reached = zip(("VMCreated", "PoweredOn", "Ready"), seconds, strict=False)
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        return {
            "metadata": {"name": name, "createdAt": began.isoformat()},
            "status": {
                "timeline": {k: (began + timedelta(seconds=s)).isoformat() for k, s in reached},
                "conditions": conditions,
            },
        }

    bars = progress_of(
        [machine("slow", 4, 6, 10), machine("quick", 1, 2, 5), machine("on", 2, ready=False)],
        began + timedelta(seconds=8),
    )

    assert [(s.name, s.start, s.width) for s in bars["slow"].segments] == [
        ("VM made", 0, 40),
        ("switched on", 40, 20),
        ("Ready", 60, 40),
    ]
    assert bars["quick"].seconds == 5
    assert [(s.stage, s.seconds) for s in bars["on"].segments] == [(0, 2), (-1, 6)]
    assert bars["on"].told() == "VM made 2.0 s, waits 6.0 s"
