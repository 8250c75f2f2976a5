"""Who may ask for region and zone tags, and with which arguments."""

from tests.api.world import Json, World

OPERATIONS = "/v1/projects/default/operations"


def asked(**arguments: object) -> Json:
    spec = {"verb": "zones", "subjectKind": "CloudAccount", "subjectName": "vcenter"}
    return {"metadata": {}, "spec": {**spec, "arguments": arguments}}


async def test_all_wrong_values_are_named_before_anything_is_asked(world: World) -> None:
    await world.site()
    body = asked(regions={"dc1": "eu 1"}, zones={"cc1": "", "Köln %2f 1": "ok"}, remove=True)

    faults = await world.faults("POST", OPERATIONS, body)

    assert set(faults) == {
        "spec.arguments.regions.dc1",
        "spec.arguments.zones.cc1",
        "spec.arguments.remove",
    }


async def test_who_works_in_one_project_sees_tags_and_does_not_change_them(world: World) -> None:
    await world.site()
    await world.make_user("ann", [{"role": "project-admin", "project": "default"}])
    await world.ok("POST", OPERATIONS, asked(zones={"cc1": "z"}, apply=True))

    await world.ok("POST", OPERATIONS, asked(zones={"cc1": "z"}), user="ann")
    body = asked(zones={"cc1": "z"}, apply=True)
    refused = await world.refused(403, "POST", OPERATIONS, body, user="ann")

    assert "all projects' nodes" in str(refused)
