"""Region and zone tags on the command line."""

from moorage.resources import Operation
from moorage.resources.zones import (
    TagAction,
    TagChange,
    TaggedObject,
    ZonesArguments,
    ZonesResult,
)
from tests.cli.world import Mouth, World

OBJECTS = [
    TaggedObject(kind="datacenter", object="/dc1", region="eu-1", region_from="/dc1"),
    TaggedObject(
        kind="compute cluster", object="/dc1/host/cc1", region="eu-1", region_from="/dc1",
        zone="eu-1a", zone_from="/dc1/host/cc1", message="",
    ),
    TaggedObject(kind="compute cluster", object="/dc1/host/cc2", message="two tags"),
]  # fmt: skip
CHANGES = [
    TagChange(action=TagAction.CREATE_TAG, category="k8s-zone", tag="eu-1b"),
    TagChange(
        action=TagAction.ATTACH, category="k8s-zone", tag="eu-1b", object="/dc1/host/Köln %2f"
    ),
]


def answering(changes: list[TagChange]) -> tuple[Mouth, list[ZonesArguments]]:
    asked: list[ZonesArguments] = []

    def answer(operation: Operation) -> None:
        arguments = ZonesArguments.model_validate(operation.spec.arguments)
        asked.append(arguments)
        operation.status.result = ZonesResult(
            region_category="k8s-region",
            zone_category="k8s-zone",
            objects=OBJECTS,
            changes=changes,
            applied=arguments.apply,
        ).document()

    return answer, asked


def test_tags_are_shown_with_where_they_come_from(site: World) -> None:
    answer, asked = answering([])

    with site.answering(answer):
        said = site.ok("accounts zones lab -o table")

    lines = {line.split()[0]: line for line in said.out.splitlines() if line.startswith("/")}
    assert "eu-1 (tag on /dc1)" in lines["/dc1/host/cc1"]
    assert "eu-1a" in lines["/dc1/host/cc1"]
    assert "two tags" in lines["/dc1/host/cc2"]
    assert "nothing" not in said.err
    assert asked == [ZonesArguments()]


def test_what_is_missing_is_said_and_made_on_request_only(site: World) -> None:
    answer, asked = answering(CHANGES)
    flags = "--region dc1=eu-1 --zone 'a=b=eu-1b'"

    with site.answering(answer):
        planned = site.ok(f"accounts zones lab {flags} -o table")
        done = site.ok(f"accounts zones lab {flags} --apply -o table")

    assert "to do: attach tag eu-1b of category k8s-zone to /dc1/host/Köln %2f" in planned.err
    assert "add --apply" in planned.err
    assert "done: create tag eu-1b of category k8s-zone" in done.err
    assert [one.apply for one in asked] == [False, True]
    assert asked[0].regions == {"dc1": "eu-1"}
    assert asked[0].zones == {"a=b": "eu-1b"}


def test_flags_that_say_nothing_are_refused_before_anything_is_asked(site: World) -> None:
    assert "NAME=VALUE" in site.refused("accounts zones lab --zone cc1", code=2)
    assert "zones" in site.refused("accounts zones lab --zone cc1=_x", code=2)
    assert "twice" in site.refused("accounts zones lab --zone a=b --zone a=c", code=2)
    assert "--apply" in site.refused("accounts zones lab --apply", code=2)
