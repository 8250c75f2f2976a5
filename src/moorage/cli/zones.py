"""``moorage accounts zones``: region and zone tags of datacenters and compute clusters."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from moorage.cli.say import examples, say
from moorage.kit.errors import InvalidError

if TYPE_CHECKING:
    from moorage.resources.zones import TagChange, ZonesResult

ZONES_EXAMPLES = examples(
    "moorage accounts zones prod",
    "moorage accounts zones prod --region dc1=eu-1 --zone cc1=eu-1a --zone /dc1/host/cc2=eu-1b",
    "moorage accounts zones prod --region dc1=eu-1 --zone cc1=eu-1a --apply",
)


async def zones(
    name: str,
    *,
    region: list[str] | None = None,
    zone: list[str] | None = None,
    apply: Annotated[bool, Parameter(negative=())] = False,
    timeout_s: float = 90,
) -> None:
    """Show which region and zone nodes would get by tags in vCenter; make such tags.

    With --region and --zone it says what is missing for that, and with --apply it makes the tag
    categories and tags that are missing and attaches them. All is looked at first: where one thing
    is in the way, nothing is changed. No tag is ever taken away.

    Args:
        name: Name of the account, which also names the tag categories.
        region: DATACENTER=REGION, by name or inventory path; may be repeated.
        zone: COMPUTE_CLUSTER=ZONE, by name or inventory path; may be repeated.
        apply: Change vCenter; needs an administrator of the whole installation.
        timeout_s: How long to wait for the gateway's answer, in seconds.
    """
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.cli.kubeconfig import operate
    from moorage.cli.output import show_document
    from moorage.cli.settings import output_format
    from moorage.resources.operation import OperationSpec, Verb
    from moorage.resources.zones import ZonesArguments, ZonesResult

    given = {"regions": _pairs("--region", region), "zones": _pairs("--zone", zone)}
    if apply and not any(given.values()):
        raise InvalidError("--apply: name what to tag with --region and --zone")
    arguments = build(ZonesArguments, "what the flags name", {**given, "apply": apply})
    context = Context.current()
    async with context.api() as api:
        spec = OperationSpec(
            verb=Verb.ZONES,
            subject_kind="CloudAccount",
            subject_name=name,
            arguments=arguments.document(),
        )
        operation = await operate(api, context.project, spec, timeout_s)
    result = ZonesResult.model_validate(operation.status.result)
    if output_format() == "table":
        _show(result, asked=any(given.values()))
    else:
        show_document(result.document())


def _pairs(flag: str, given: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.rpartition("=")
        if not equals or not name or not value:
            raise InvalidError(f"{flag} {text!r}: give NAME=VALUE, such as dc1=eu-1")
        if name in found:
            raise InvalidError(f"{flag}: {name} is named twice")
        found[name] = value
    return found


def _show(result: "ZonesResult", *, asked: bool) -> None:
    from moorage.cli.output import print_table

    rows = [
        [
            one.object,
            one.kind,
            _told(one.region, one.region_from, one.object),
            _told(one.zone, one.zone_from, one.object),
            one.message,
        ]
        for one in result.objects
    ]
    print_table(("OBJECT", "KIND", "REGION", "ZONE", "WHAT IS WRONG"), rows)
    say(f"by tags of the categories {result.region_category} and {result.zone_category}")
    if not asked:
        return
    for change in result.changes:
        say(f"{'done' if result.applied else 'to do'}: {_said(change)}")
    if not result.changes:
        say("all tags are there and attached: nothing to do")
    elif not result.applied:
        say("nothing was changed: add --apply to do it")


def _told(value: str, source: str, at: str) -> str:
    if not value:
        return "-"
    return value if source == at else f"{value} (tag on {source})"


def _said(change: "TagChange") -> str:
    words = [change.action.value, change.tag or change.category]
    if change.tag:
        words.append(f"of category {change.category}")
    if change.object:
        words.append(f"to {change.object}")
    return " ".join(words)
