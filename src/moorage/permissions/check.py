"""What has to be asked about some objects, and what an account lacks: pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from moorage.permissions.names import shown_name
from moorage.permissions.row import OPTIONAL, STANDARD, Feature, On, Row
from moorage.resources.permission import (
    CheckedObject,
    CheckResult,
    CheckTarget,
    Finding,
    FindingState,
)

READ = "System.Read"


@dataclass(frozen=True, slots=True)
class Subject:
    """One object that machines are to use."""

    on: On
    path: str
    """Inventory path; what was asked for, where it is not seen."""
    moref: str | None = None
    """``None``: the account does not see it."""
    kind: str = ""
    """vSphere's type."""
    why: str = ""
    """What there is in its place, when it is not seen."""


def wanted_features(
    targets: Iterable[CheckTarget],
    *,
    zone_tags: bool = False,
    template_imports: bool = False,
    lease_imports: bool = False,
) -> tuple[Feature, ...]:
    """Return the features that somebody uses in these places."""
    places = list(targets)
    wanted = {
        Feature.CLUSTER_FOLDERS: any(one.folder_per_cluster for one in places),
        Feature.STORAGE_POLICIES: any(one.storage_policy for one in places),
        Feature.ZONE_TAGS: zone_tags,
        Feature.TEMPLATE_IMPORTS: template_imports,
        Feature.LEASE_IMPORTS: lease_imports,
    }
    return (*STANDARD, *(feature for feature, is_used in wanted.items() if is_used))


def needed(subjects: Iterable[Subject], rows: Sequence[Row]) -> dict[str, set[str]]:
    """Return which privileges are needed on each object that is seen, by moref.

    Objects on which nothing is needed are left out.
    """
    wanted: dict[str, set[str]] = {}
    for subject in subjects:
        names = {row.privilege for row in rows if row.on is subject.on}
        if subject.moref is not None and names:
            wanted.setdefault(subject.moref, set()).update(names)
    return wanted


def judge(
    subjects: Sequence[Subject],
    held: Mapping[str, Collection[str]],
    rows: Sequence[Row],
    api_version: str,
) -> CheckResult:
    """Compare what is needed with what is held.

    Args:
        subjects: Objects that machines are to use.
        held: By moref, those of the needed privileges that the account has.
        rows: Of the table, for this vCenter and the wanted features.
        api_version: Of the vCenter: it tells how its Client names privileges.
    """
    distinct = list(dict.fromkeys(subjects))
    findings: list[Finding] = []
    for subject in distinct:
        lacking = _needed_for(subject, rows)
        if subject.moref is None:
            used = [row for row in rows if row.on is subject.on] or rows
            lacking = {READ: list(dict.fromkeys(row.operation for row in used))}
        else:
            lacking = {
                privilege: operations
                for privilege, operations in lacking.items()
                if privilege not in held.get(subject.moref, ())
            }
        findings += [
            Finding(
                state=_state(subject, privilege, rows),
                kind=subject.on.value,
                object=subject.path,
                moref=subject.moref,
                privilege=privilege,
                shown=shown_name(privilege, api_version),
                needed_for=operations,
                message=subject.why,
            )
            for privilege, operations in lacking.items()
        ]
    findings.sort(key=lambda found: list(FindingState).index(found.state))
    return CheckResult(
        api_version=api_version,
        objects=[
            CheckedObject(kind=one.on.value, object=one.path, moref=one.moref) for one in distinct
        ],
        checked=sum(len(_needed_for(subject, rows)) for subject in distinct),
        findings=findings,
    )


def _state(subject: Subject, privilege: str, rows: Iterable[Row]) -> FindingState:
    if subject.moref is None:
        return FindingState.UNKNOWN
    features = {row.feature for row in rows if (row.on, row.privilege) == (subject.on, privilege)}
    return FindingState.OPTIONAL if features <= OPTIONAL else FindingState.MISSING


def _needed_for(subject: Subject, rows: Iterable[Row]) -> dict[str, list[str]]:
    """Return the privileges that an object needs, each with the operations that need it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.on is subject.on:
            found.setdefault(row.privilege, []).append(row.operation)
    return found
