"""Named properties of managed objects: fetched in one call, made into plain values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim, vmodl

from moorage.vsphere.session import Session

Collector = vmodl.query.PropertyCollector

Values = dict[str, Any]
"""Property path -> value; a path that is unset in vCenter is not there."""


@dataclass(frozen=True, slots=True)
class Want:
    """Which properties of which objects."""

    kind: type[Any]
    morefs: Sequence[str]
    paths: Sequence[str]
    via: Sequence[Any] = ()
    """``SelectionSpec``s from these objects to further ones."""
    also: Mapping[type[Any], Sequence[str]] = field(default_factory=dict)
    """Properties of those further ones."""


def keyed(key: str) -> str:
    """Return the property path of one ``extraConfig`` value."""
    return f'config.extraConfig["{key}"]'


def retrieve(session: Session, wants: Iterable[Want]) -> dict[str, Values]:
    """Fetch properties; inside ``Session.run``. Objects that are gone are left out.

    Returns moref -> path -> pyVmomi value.
    """
    specs = [
        Collector.FilterSpec(
            propSet=[
                Collector.PropertySpec(type=kind, pathSet=list(paths), all=False)
                for kind, paths in {want.kind: want.paths, **want.also}.items()
            ],
            objectSet=[
                Collector.ObjectSpec(
                    obj=session.ref(want.kind, moref), skip=False, selectSet=list(want.via)
                )
                for moref in want.morefs
            ],
            reportMissingObjectsInResults=True,
        )
        for want in wants
        if want.morefs
    ]
    if not specs:
        return {}
    found: dict[str, Values] = {}
    result = session.collector.RetrievePropertiesEx(specs, Collector.RetrieveOptions())
    while result is not None:
        for content in result.objects:
            values = found.setdefault(content.obj._moId, {})  # noqa: SLF001 - no public way to it
            values.update((prop.name, prop.val) for prop in content.propSet)
            check_missing(content.missingSet)
        if not result.token:
            break
        result = session.collector.ContinueRetrievePropertiesEx(result.token)
    return found


def check_missing(missing: Iterable[Any] | None) -> None:
    """Raise when properties are missing because the session is: vCenter says so for each one."""
    for one in missing or ():
        if isinstance(one.fault, vim.fault.NotAuthenticated):
            raise one.fault


def moref(value: Any) -> str | None:
    """Return the moref of a managed object."""
    return None if value is None else str(value._moId)  # noqa: SLF001 - no public way to it


def morefs(value: Any) -> tuple[str, ...]:
    """Return the morefs of an array of managed objects."""
    return tuple(str(one._moId) for one in value or ())  # noqa: SLF001 - no public way to it


def text(value: Any) -> str:
    """Return a string; of an ``OptionValue``, its value."""
    inner = getattr(value, "value", value)
    return "" if inner is None else str(inner)


def lower(value: Any) -> str:
    """Return lower-case text: UUIDs and MACs are compared so."""
    return text(value).lower()
