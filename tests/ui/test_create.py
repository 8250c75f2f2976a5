"""The way to a new cluster: account, estate, form, faults in their places, YAML, plan."""

from typing import Any

import pytest

from moorage.hub.ui.documents import UnreadableError, from_yaml
from moorage.hub.ui.wizard import Wish
from moorage.resources import Operation, Plan
from moorage.resources.estate import EstateResult
from moorage.resources.plan import PlanState
from tests.api.world import World
from tests.ui.browser import Browser, Look
from tests.ui.test_foundation import inline

HERE = "/ui/p/default"
ESTATE = {
    "datacenters": [
        {
            "path": "DC0",
            "folders": ["moorage", "other"],
            "templates": ["ubuntu"],
            "compute": [
                {
                    "path": "C0",
                    "hosts": 2,
                    "hostsUsable": 2,
                    "resourcePools": ["gold"],
                    "datastores": ["LocalDS_0"],
                    "datastoreClusters": ["pod"],
                    "networks": ["VM Network"],
                },
                {"path": "C1", "hosts": 1, "hostsUsable": 1, "datastores": ["far"]},
            ],
        }
    ]
}
FILLED = {
    "name": "one",
    "version": "v1.34.4",
    "folder": "moorage",
    "template": "ubuntu",
    "domain": "a",
    "compute": "C0",
    "datastore": "LocalDS_0",
    "network": "VM Network",
    "ipPool": "nodes",
}


async def begin(browser: Browser, world: World) -> Look:
    """Choose the account, and let its gateway answer."""
    await world.site()
    page = await browser.look(f"{HERE}/new-cluster")
    waiting = await browser.submit(page, "/estate", account="vcenter")
    assert "gateway is asked" in waiting.text
    (operation,) = await world.hub.store.list(Operation)
    operation.status.result = EstateResult.model_validate(ESTATE).document()
    operation.status.completed_at = world.clock.now()
    await world.hub.store.put_status(operation)
    page = await browser.look(str(waiting.url))
    assert inline(page) == []
    return page


def options(page: Look, name: str) -> set[str]:
    """Return what can be chosen in the selects of that name."""
    found, inside = set(), ""
    for tag, got in page.tags:
        if tag == "select":
            inside = got.get("name", "")
        elif tag == "option" and inside == name:
            found.add(got["value"])
    return found - {""}


async def test_the_estate_can_be_looked_at(browser: Browser, world: World) -> None:
    await begin(browser, world)
    account = await browser.look(f"{HERE}/accounts/vcenter")
    page = await browser.submit(account, "/estate")
    assert "The gateway is asked" in page.text
    (done,) = [o for o in await world.hub.store.list(Operation) if o.status.completed_at]
    page = await browser.look(f"{HERE}/operations/{done.metadata.name}")
    assert "2 of 2 usable" in page.text
    assert "LocalDS_0, pod" in page.text


async def test_choices_come_from_the_estate_and_follow_each_other(
    browser: Browser, world: World
) -> None:
    page = await begin(browser, world)
    assert options(page, "folder") == {"moorage", "other"}
    assert options(page, "compute") == {"C0", "C1"}
    assert options(page, "datastore") == set()

    page = await browser.submit(page, "/form", compute="C0", name="one")
    assert options(page, "datastore") == {"LocalDS_0", "pod:pod"}
    assert options(page, "ipPool") == {"nodes"}
    page = await browser.submit(page, "/form", act="add-domain")
    assert [v for n, v in page.form("/form").fields if n == "domain"] == ["a", "b"]
    page = await browser.submit(page, "/form", act="remove-domain-0")
    page = await browser.submit(page, "/form", act="add-pool")
    assert [v for n, v in page.form("/form").fields if n == "domain"] == ["b"]
    assert len([1 for n, _ in page.form("/form").fields if n == "replicas"]) == 2


async def test_all_faults_are_shown_at_once_and_in_their_places(
    browser: Browser, world: World
) -> None:
    page = await begin(browser, world)
    fields = FILLED | {"name": "Not A Name", "version": "v1.2.3", "cpus": "x", "cpMemoryMib": "1"}
    wrong = await browser.submit(page, "/form", status=422, act="check", **fields)
    hints = {got["aria-describedby"] for _, got in wrong.tags if "aria-describedby" in got}
    invalid = {got.get("name") for _, got in wrong.tags if got.get("aria-invalid")}
    assert invalid >= {"name", "version", "cpus"}
    assert hints <= {got.get("id") for _, got in wrong.tags}
    assert 'value="Not A Name"' in wrong.html


async def test_the_form_makes_what_its_yaml_says(browser: Browser, world: World) -> None:
    page = await begin(browser, world)
    page = await browser.submit(page, "/form", act="check", **FILLED)
    assert "The hub would take this" in page.text
    assert "kubernetesVersion: v1.34.4" in page.text
    await browser.submit(page, "/form", act="create")

    made = await world.ok("GET", "/v1/projects/default/clusters/one")
    (domain,) = made["spec"]["placement"]["failureDomains"]
    assert (domain["datastore"], domain["ipPool"]) == ("LocalDS_0", "nodes")
    pools = await world.ok("GET", "/v1/projects/default/nodepools")
    assert [(p["spec"]["pool"], p["spec"]["replicas"]) for p in pools["items"]] == [("workers", 2)]


async def test_a_plan_is_shown_and_then_applied(browser: Browser, world: World) -> None:
    page = await begin(browser, world)
    page = await browser.submit(page, "/form", act="plan", **FILLED)
    assert "WaitingForGateway" in page.text
    (plan,) = await world.hub.store.list(Plan)
    plan.status.state, plan.status.planned_at = PlanState.READY, world.clock.now()
    await world.hub.store.put_status(plan)

    page = await browser.look(str(page.url))
    there = await browser.submit(page, "/apply")

    assert there.url.path == f"{HERE}/clusters/one"
    assert (await world.ok("GET", "/v1/projects/default/clusters/one"))["spec"]["account"]


async def test_a_cluster_is_changed_as_yaml_by_a_plan(browser: Browser, world: World) -> None:
    page = await begin(browser, world)
    await browser.submit(page, "/form", act="create", **FILLED)
    editor = await browser.look(f"{HERE}/clusters/one/edit")
    text = dict(editor.form("/edit").fields)["text"]
    bad = await browser.submit(editor, "/edit", status=422, act="plan", text="a: [")
    assert "not YAML" in bad.text
    page = await browser.submit(
        editor, "/edit", act="plan", text=text.replace("replicas: 2", "replicas: 4")
    )
    (plan,) = await world.hub.store.list(Plan)
    assert plan.spec.node_pools[0].replicas == 4
    assert page.url.path == f"{HERE}/plans/{plan.metadata.name}"


@pytest.mark.parametrize("text", ["", "[1]", "a: &x [1]\nb: *x", "a: [", "!!python/name:os.system"])
def test_a_text_that_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        from_yaml(text)


def test_what_is_no_number_goes_on_to_be_refused_by_name() -> None:
    form: dict[str, Any] = {"name": ["one"], "pool": ["w"], "replicas": ["many"], "cpus": ["4"]}
    (pool,) = Wish(form).document()["nodePools"]
    assert pool == {"name": "w", "replicas": "many", "cpus": 4}
