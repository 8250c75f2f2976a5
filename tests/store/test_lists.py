"""Lists and pages: complete, in order, and quick when there is much."""

import time

from sqlalchemy import insert, text
from sqlalchemy.dialects import postgresql, sqlite

from moorage.resources import Cluster, Machine, Metadata, Project
from moorage.store import SqlStore, tables
from moorage.store.codec import encode, values
from moorage.store.resource_read import page_query
from tests.builders import a_cluster, a_machine


async def test_pages_hold_everything_once_in_order(store: SqlStore) -> None:
    expected = []
    for project in ("", "a", "a-b", "b"):
        for name in ("x", "x-1", "x1", "y"):
            cluster = a_cluster(name)
            cluster.metadata.project = project
            await store.create(cluster)
            expected.append((project, name))

    async def all_pages(project: str | None) -> list[tuple[str, str]]:
        seen: list[tuple[str, str]] = []
        after: tuple[str, str] | None = None
        while page := await store.list(Cluster, project=project, limit=3, after=after):
            assert len(page) <= 3
            seen.extend(cluster.key for cluster in page)
            after = page[-1].key
        return seen

    assert await all_pages(None) == sorted(expected)
    assert await all_pages("a") == [("a", name) for name in ("x", "x-1", "x1", "y")]


async def test_an_overview_tells_what_changes_would_tell(store: SqlStore) -> None:
    cluster = await store.create(a_cluster())
    for name in ("m-1", "m-2", "m-3"):
        machine = a_machine(name)
        machine.metadata.owner = cluster.owner()
        machine.metadata.route = "site-b"
        async with store.watch() as changes:
            await store.create(machine)
            told = changes.drain()

    first = await store.overview(Machine, limit=2)
    rest = await store.overview(Machine, after=(first[-1].project, first[-1].name))

    assert [change.key for change in first + rest] == ["default/m-1", "default/m-2", "default/m-3"]
    assert rest == told


async def test_a_page_with_a_selector_is_full_when_there_is_enough(store: SqlStore) -> None:
    for number in range(20):
        labels = {"odd": "true"} if number % 2 else {}
        await store.create(Project(metadata=Metadata(name=f"p{number:02}", labels=labels)))

    first = await store.list(Project, selector="odd", limit=4)
    second = await store.list(Project, selector="odd", limit=4, after=first[-1].key)

    assert [p.metadata.name for p in first] == ["p01", "p03", "p05", "p07"]
    assert [p.metadata.name for p in second] == ["p09", "p11", "p13", "p15"]


async def test_lists_can_be_narrowed(store: SqlStore) -> None:
    cluster = await store.create(a_cluster())
    owned, free = a_machine("owned"), a_machine("free")
    owned.metadata.owner = cluster.owner()
    owned.metadata.route = "site-b"
    elsewhere = a_machine("owned")
    elsewhere.metadata.project = "other"
    for machine in (owned, free, elsewhere):
        await store.create(machine)

    async def names(**asked: str) -> list[tuple[str, str]]:
        return [m.key for m in await store.list(Machine, **asked)]  # type: ignore[arg-type]

    assert await names(owner=cluster.metadata.uid) == [("default", "owned")]
    assert await names(route="site-b") == [("default", "owned")]
    assert await names(project="other") == [("other", "owned")]
    assert await names(project="default", owner="") == [("default", "free")]
    assert await store.count(Machine) == 3
    assert await store.count(Machine, project="default") == 2
    assert await store.count(Machine, route="site-b") == 1


async def test_a_page_of_many_with_a_selector_is_quick(store: SqlStore) -> None:
    """The budget is 100 ms at the API; here an ample bound that a scan without index breaks."""
    rows = []
    for number in range(10_000):
        cluster = a_cluster(f"c{number:05}") if number == 0 else cluster  # noqa: F821
        cluster.metadata.name = f"c{number:05}"
        cluster.metadata.uid = f"uid-{number}"
        cluster.metadata.labels = {"tier": "gold" if number % 3 == 0 else "blue"}
        rows.append(values(encode(cluster, resource_version=number, spec_version=number)))
    async with store.writing(ordered=True) as unit:
        await unit.execute(insert(tables.resource), rows)
        await unit.execute(text("UPDATE sequence SET value = 10000"))
    took = []
    for start in (0, 5_000, 9_600):
        begun = time.perf_counter()
        page = await store.list(
            Cluster, selector="tier=gold", limit=100, after=("default", f"c{start:05}")
        )
        took.append(time.perf_counter() - begun)
        assert len(page) == 100
    assert min(took) < 0.2
    for project in (None, "default"):
        plan = await _plan(store, project)
        # An index gives the order: the rest of 10,000 rows is neither read nor sorted.
        assert "resource_kind_project_name" in plan or "resource_2" in plan, plan
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan
    # What one owner has is found without all the rest of its kind.
    assert "owner_uid" in await _plan(store, None, owner="somebody")


async def _plan(store: SqlStore, project: str | None, owner: str | None = None) -> str:
    """Return how the database would find a page in the middle."""
    query = page_query(
        "Cluster",
        project=project,
        labels=None,
        selector=None,
        owner=owner,
        route=None,
        limit=None if owner else 100,
        after=None if owner else ("default", "c05000"),
    )
    async with store.reading() as unit:
        if store.is_shared:
            await unit.execute(text("ANALYZE resource"))
        words = "EXPLAIN" if store.is_shared else "EXPLAIN QUERY PLAN"
        dialect = postgresql.dialect() if store.is_shared else sqlite.dialect()  # type: ignore[no-untyped-call]
        sql = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        return " ".join(str(row) for row in await unit.execute(text(f"{words} {sql}")))
