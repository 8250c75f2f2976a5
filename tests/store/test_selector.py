"""Label selectors: read as Kubernetes reads them, the same in SQL as in a plain model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.kit.errors import InvalidError
from moorage.resources import Metadata, Project
from moorage.resources.selector import Requirement, parse_selector
from moorage.store import SqlStore

LABELS: list[dict[str, str]] = [
    {},
    {"a": "x"},
    {"a": "y", "b": "x"},
    {"a": "", "example.com/b": "x"},
    {"b": "y", "example.com/b": "y.z_1-2"},
]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("a=b", (Requirement("a", "in", ("b",)),)),
        ("a == b", (Requirement("a", "in", ("b",)),)),
        ("a=", (Requirement("a", "in", ("",)),)),
        ("a!=b", (Requirement("a", "notin", ("b",)),)),
        ("e in (x, y)", (Requirement("e", "in", ("x", "y")),)),
        ("e notin (x)", (Requirement("e", "notin", ("x",)),)),
        ("f", (Requirement("f", "exists"),)),
        ("! g", (Requirement("g", "absent"),)),
        (
            "example.com/a=b, c in (d,e),!f",
            (
                Requirement("example.com/a", "in", ("b",)),
                Requirement("c", "in", ("d", "e")),
                Requirement("f", "absent"),
            ),
        ),
        ("in in (in)", (Requirement("in", "in", ("in",)),)),
    ],
)
def test_selectors_are_read(text: str, parts: tuple[Requirement, ...]) -> None:
    assert parse_selector(text) == parts


@pytest.mark.parametrize(
    "text",
    ["a=b,", ",", "a=b c", "a in x", "a in (x", "a in (x))", "=b", "a=b=c", "a>1", "A/b/c", "é=1"],
)
def test_what_is_no_selector_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidError, match="write a=b"):
        parse_selector(text)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        parts = parse_selector(text)
    except InvalidError:
        return
    assert all('"' not in part.key and "'" not in part.key for part in parts)


@pytest.mark.parametrize(
    "selector",
    [
        "a=x",
        "a!=x",
        "a",
        "!a",
        "a=",
        "b in (x,y)",
        "b notin (x)",
        "example.com/b=y.z_1-2",
        "a!=x,!b",
        "a in (x,y),b",
    ],
)
async def test_sql_selects_what_the_model_selects(store: SqlStore, selector: str) -> None:
    for number, labels in enumerate(LABELS):
        await store.create(Project(metadata=Metadata(name=f"p{number}", labels=labels)))
    expected = [
        f"p{number}"
        for number, labels in enumerate(LABELS)
        if all(_holds(part, labels) for part in parse_selector(selector))
    ]

    found = await store.list(Project, selector=selector)

    assert [project.metadata.name for project in found] == expected


async def test_labels_must_all_be_borne(store: SqlStore) -> None:
    for number, labels in enumerate(LABELS):
        await store.create(Project(metadata=Metadata(name=f"p{number}", labels=labels)))

    found = await store.list(Project, labels={"a": "y", "b": "x"}, selector="!c")

    assert [project.metadata.name for project in found] == ["p2"]


def _holds(part: Requirement, labels: dict[str, str]) -> bool:
    value = labels.get(part.key)
    match part.operator:
        case "in":
            return value in part.values
        case "notin":
            return value not in part.values
        case "exists":
            return value is not None
        case "absent":
            return value is None
