"""Templates that are asked for over REST: what the hub refuses, and what it sends where."""

from typing import Any

import pytest

from tests.api.world import Json, World, an_account

TEMPLATES = "/v1/templates"


def a_template(name: str = "ubuntu", **spec: Any) -> Json:
    given = {"account": "vcenter", "datacenter": "dc1", "source": {"existing": "templates/ubuntu"}}
    return {"metadata": {"name": name}, "spec": {**given, **spec}}


async def site(world: World) -> None:
    await world.site()
    if (await world.ok("GET", "/v1/accounts"))["items"] == []:
        await world.ok("POST", "/v1/accounts", an_account())


async def test_a_template_goes_to_the_gateway_of_its_account(world: World) -> None:
    await site(world)

    made = await world.ok("POST", TEMPLATES, a_template())

    assert made["metadata"]["route"] == "site-1"
    assert made["metadata"]["finalizers"] == ["moorage.dev/gateway"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"account": "none"}, "spec.account"),
        ({"source": {}}, "spec.source"),
        ({"source": {"existing": "a", "virtualMachine": "b"}}, "spec.source"),
        ({"prefetch": ["ds1"]}, "spec"),
        ({"prefetch": ["ds1", "ds1"], "computeCluster": "c", "network": "n"}, "spec"),
        ({"nonsense": 1}, "spec.nonsense"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_field(
    world: World, changed: Json, field: str
) -> None:
    await site(world)

    faults = await world.faults("POST", TEMPLATES, a_template(**changed))

    assert set(faults) == {field}


async def test_all_but_the_datastores_is_fixed(world: World) -> None:
    await site(world)
    more = {"computeCluster": "cc1", "network": "nodes"}
    made = await world.ok("POST", TEMPLATES, a_template(**more))
    spec = made["spec"]
    path = f"{TEMPLATES}/ubuntu/spec"

    grown = await world.ok("PUT", path, {**spec, "prefetch": ["ds2"]})
    faults = await world.faults("PUT", path, {**spec, "datacenter": "dc2", "folder": "mine"})

    assert grown["spec"]["prefetch"] == ["ds2"]
    assert set(faults) == {"spec.datacenter", "spec.folder"}


async def test_an_account_stays_while_templates_were_asked_for_with_it(world: World) -> None:
    await site(world)
    await world.ok("POST", TEMPLATES, a_template())

    refused = await world.refused(409, "DELETE", "/v1/accounts/vcenter")

    assert "Template ubuntu" in str(refused)
