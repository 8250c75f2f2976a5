"""Decisions about rights, beside any hub: what adds up, what narrows, what is never conveyed."""

from hypothesis import given
from hypothesis import strategies as st

from moorage.auth import (
    BUILT_IN,
    PERMISSIONS,
    Decision,
    Principal,
    Right,
    decide,
    decide_object,
    needs_labels,
    uncovered,
)

PROJECTS = ("*", "shop", "lab")
SELECTORS = ("", "env=dev", "env!=dev", "tier")
LABELS: tuple[dict[str, str], ...] = ({}, {"env": "dev"}, {"env": "prod"}, {"tier": "one"})

rights = st.lists(
    st.builds(
        lambda role, project, selector: Right(role, BUILT_IN[role].permissions, project, selector),
        st.sampled_from(sorted(BUILT_IN)),
        st.sampled_from(PROJECTS),
        st.sampled_from(SELECTORS),
    ),
    max_size=3,
).map(tuple)
permissions = st.sampled_from(sorted(PERMISSIONS))
projects = st.sampled_from(("", "shop", "lab"))
labels = st.sampled_from((None, *LABELS))


@given(rights, rights, permissions, projects, labels)
def test_more_rights_never_allow_less(
    some: tuple[Right, ...],
    more: tuple[Right, ...],
    permission: str,
    project: str,
    of: dict[str, str] | None,
) -> None:
    if Principal("ann", some).may(permission, project, of):
        assert Principal("ann", some + more).may(permission, project, of)


@given(rights, rights, permissions, projects, labels)
def test_a_narrowed_credential_may_what_both_may(
    held: tuple[Right, ...],
    bounds: tuple[Right, ...],
    permission: str,
    project: str,
    of: dict[str, str] | None,
) -> None:
    narrowed = Principal("ann", held, bounds=bounds).may(permission, project, of)
    both = Principal("ann", held).may(permission, project, of) and Principal("", bounds).may(
        permission, project, of
    )
    assert narrowed == both


@given(rights, permissions, projects, st.sampled_from(LABELS))
def test_what_does_not_need_labels_is_decided_alike_with_any(
    held: tuple[Right, ...], permission: str, project: str, of: dict[str, str]
) -> None:
    principal = Principal("ann", held)
    if not needs_labels(principal, permission, project):
        without = decide_object(principal, permission, project, None)
        assert decide_object(principal, permission, project, of) == without


@given(rights, permissions)
def test_grants_by_labels_never_create_and_reach_nothing_hub_wide(
    held: tuple[Right, ...], permission: str
) -> None:
    by_labels = tuple(right for right in held if right.selector)
    principal = Principal("ann", by_labels)
    assert decide(principal, "clusters.create", "shop") is not Decision.ALLOWED
    if permission.partition(".")[2] not in ("list", "get", "check"):
        assert decide(principal, permission, "") is not Decision.ALLOWED


@given(rights, rights)
def test_nobody_gives_more_than_he_may(giver: tuple[Right, ...], given_: tuple[Right, ...]) -> None:
    if uncovered(Principal("ann", giver), given_):
        return
    for permission in PERMISSIONS:
        for project in ("", "shop", "lab"):
            for of in (None, *LABELS):
                if Principal("bob", given_).may(permission, project, of):
                    assert Principal("ann", giver).may(permission, project, of)


def test_nobody_has_nothing() -> None:
    for permission in PERMISSIONS:
        for project in ("", "shop"):
            assert decide(Principal("ann"), permission, project) is Decision.HIDDEN
