"""Resources in the store: what each write changes, and what it leaves alone."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from moorage.kit.clock import FakeClock
from moorage.kit.errors import ConflictError, NotFoundError, TerminalError
from moorage.resources import Cluster, Metadata, Project
from moorage.resources.access import ProjectSpec
from moorage.resources.cluster import Layer
from moorage.resources.meta import Status
from moorage.store import SqlStore, open_store
from moorage.store.codec import encode_document
from tests.builders import a_cluster, a_machine, a_node_pool, an_ip_pool

MINE = "moorage.dev/test"


def a_project(name: str = "blue", **labels: str) -> Project:
    return Project(metadata=Metadata(name=name, labels=labels))


@pytest.mark.parametrize(
    "resource", [a_cluster(), a_machine(), a_node_pool(), an_ip_pool()], ids=lambda r: r.kind
)
async def test_what_was_stored_is_read_back(store: SqlStore, resource: Cluster) -> None:
    made = await store.create(resource)

    read = await store.get(type(resource), *resource.key)

    assert read == made
    assert read.spec == resource.spec
    assert read.metadata.uid == resource.metadata.uid or not resource.metadata.uid
    assert await store.find_uid(type(resource), made.metadata.uid) == made


async def test_nothing_of_a_document_is_lost(store: SqlStore) -> None:
    values = {"keep": None, "nested": {"none": None, "list": [1, None, "x"]}, "text": "\u0000é"}
    cluster = a_cluster(layers=[Layer(name="cni", pack="flannel", values=values)])

    await store.create(cluster)

    assert (await store.get(Cluster, *cluster.key)).spec.layers[0].values == values


def test_a_field_set_to_nothing_does_not_come_back_as_its_default() -> None:
    class Limited(Status):
        limit: int | None = 5

    assert Limited.model_validate_json(encode_document(Limited(limit=None))).limit is None


async def test_create_fills_in_what_the_store_knows(store: SqlStore, clock: FakeClock) -> None:
    made = await store.create(a_project())

    assert len(made.metadata.uid) == 36
    assert made.metadata.generation == 1
    assert made.metadata.created_at == clock.now()
    assert made.metadata.resource_version == await store.version() == 1


async def test_a_name_is_taken_once_in_a_project(store: SqlStore) -> None:
    await store.create(a_cluster("one"))
    elsewhere = a_cluster("one")
    elsewhere.metadata.project = "other"
    await store.create(elsewhere)

    with pytest.raises(ConflictError, match="Cluster default/one exists already"):
        await store.create(a_cluster("one"))


async def test_a_uid_is_taken_once(store: SqlStore) -> None:
    made = await store.create(a_project("one"))
    second = a_project("two")
    second.metadata.uid = made.metadata.uid

    with pytest.raises(ConflictError, match=made.metadata.uid):
        await store.create(second)


async def test_get_names_what_is_missing(store: SqlStore) -> None:
    with pytest.raises(NotFoundError, match="Cluster default/none does not exist"):
        await store.get(Cluster, "default", "none")

    assert await store.find(Cluster, "default", "none") is None
    assert await store.find_uid(Cluster, "no-uid") is None


async def test_generation_counts_changes_of_spec_only(store: SqlStore) -> None:
    project = await store.create(a_project())
    project.metadata.labels = {"a": "b"}
    labelled = await store.put_spec(project)
    labelled.spec = ProjectSpec(description="new")
    described = await store.put_spec(labelled)

    assert labelled.metadata.generation == 1
    assert described.metadata.generation == 2
    assert described.metadata.labels == {"a": "b"}
    assert described.metadata.created_at == project.metadata.created_at
    versions = [r.metadata.resource_version for r in (project, labelled, described)]
    assert versions == sorted(set(versions))


async def test_put_spec_leaves_status_alone(store: SqlStore, clock: FakeClock) -> None:
    read = await store.create(a_project())
    reported = read.copy_deep()
    reported.status.set_condition("Ready", "True", "Done", "", now=clock.now())
    await store.put_status(reported)
    read.spec.description = "from someone who read before the status was written"

    written = await store.put_spec(read)

    assert written.status.is_true("Ready")
    assert (await store.get(Project, "", "blue")).status.is_true("Ready")


async def test_put_status_leaves_spec_alone(store: SqlStore, clock: FakeClock) -> None:
    read = await store.create(a_project())
    described = read.copy_deep()
    described.spec.description = "new"
    await store.put_spec(described)
    read.status.set_condition("Ready", "True", "Done", "", now=clock.now())

    version = await store.put_status(read)

    written = await store.get(Project, *read.key)
    assert written.metadata.resource_version == version == await store.version()
    assert written.status.is_true("Ready")
    assert written.spec.description == "new"
    assert written.metadata.generation == 2


async def test_equal_writes_write_nothing(store: SqlStore) -> None:
    made = await store.create(a_cluster())
    before = await store.version()

    async with store.watch() as changes:
        assert await store.put_spec(made) == made
        assert await store.put_status(made) == made.metadata.resource_version
        assert not await store.put_mirror(made)

        assert changes.drain() == []
    assert await store.version() == before


async def test_put_spec_refuses_a_version_that_was_overtaken(store: SqlStore) -> None:
    mine = await store.create(a_project())
    theirs = mine.copy_deep()
    theirs.spec.description = "theirs"
    await store.put_spec(theirs, if_version=mine.metadata.resource_version)
    mine.spec.description = "mine"

    with pytest.raises(ConflictError, match="read it again"):
        await store.put_spec(mine, if_version=mine.metadata.resource_version)

    assert (await store.get(Project, "", "blue")).spec.description == "theirs"


async def test_put_spec_does_not_touch_a_namesake(store: SqlStore) -> None:
    first = await store.create(a_project())
    await store.delete(first)
    await store.create(a_project())
    first.spec.description = "for the first one"

    with pytest.raises(NotFoundError):
        await store.put_spec(first)
    with pytest.raises(NotFoundError):
        await store.put_status(first)
    await store.delete(first)

    assert (await store.get(Project, "", "blue")).spec.description == ""


async def test_deletion_waits_for_every_finalizer(store: SqlStore, clock: FakeClock) -> None:
    project = a_project()
    project.metadata.finalizers = [MINE, "moorage.dev/other"]
    made = await store.create(project)

    asked = await store.request_deletion(Project, "", "blue")
    assert asked is not None
    assert asked.metadata.deletion_requested_at == clock.now()
    await store.remove_finalizer(made, MINE)
    await store.remove_finalizer(made, MINE)
    assert (await store.get(Project, "", "blue")).metadata.finalizers == ["moorage.dev/other"]
    await store.remove_finalizer(made, "moorage.dev/other")

    assert await store.find(Project, "", "blue") is None
    assert [type(one).__name__ for one in await store.changed_since(0)] == ["Tombstone"]


async def test_deletion_without_finalizers_is_at_once(store: SqlStore) -> None:
    await store.create(a_project())

    assert await store.request_deletion(Project, "", "blue") is None

    assert await store.find(Project, "", "blue") is None


async def test_asking_twice_for_deletion_keeps_the_first_moment(
    store: SqlStore, clock: FakeClock
) -> None:
    project = a_project()
    project.metadata.finalizers = [MINE]
    await store.create(project)
    first = await store.request_deletion(Project, "", "blue")
    clock.advance(clock.now() - clock.now().replace(year=2025))

    assert await store.request_deletion(Project, "", "blue") == first


async def test_deletion_respects_the_version_that_was_read(store: SqlStore) -> None:
    made = await store.create(a_project())

    with pytest.raises(ConflictError):
        await store.request_deletion(Project, "", "blue", if_version=99)
    with pytest.raises(NotFoundError):
        await store.request_deletion(Project, "", "none")

    assert await store.get(Project, "", "blue") == made


async def test_a_deleting_resource_gains_no_finalizer(store: SqlStore) -> None:
    project = a_project()
    project.metadata.finalizers = [MINE]
    made = await store.create(project)
    await store.request_deletion(Project, "", "blue")
    made.metadata.finalizers.append("moorage.dev/late")

    written = await store.put_spec(made)

    assert written.metadata.finalizers == [MINE]


async def test_the_last_finalizer_in_a_mirror_leaves_the_row_to_the_hub(
    database_url: str, clock: FakeClock
) -> None:
    store = await open_store(database_url, clock=clock, mirror=True)
    try:
        cluster, machine = a_cluster(), a_machine()
        for resource in (cluster, machine):
            resource.metadata.finalizers = [MINE]
            await store.create(resource)
            await store.request_deletion(type(resource), *resource.key)
            await store.remove_finalizer(resource, MINE)

        kept = await store.get(Cluster, *cluster.key)
        assert kept.metadata.finalizers == []
        assert kept.is_deleting
        assert await store.find(type(machine), *machine.key) is None  # wholly the gateway's own
    finally:
        await store.close()


async def test_a_mirror_is_taken_over_as_it_is(store: SqlStore, clock: FakeClock) -> None:
    await store.create(a_project("other"))
    theirs = a_cluster()
    theirs.metadata.generation = 7
    theirs.metadata.resource_version = 12345
    theirs.metadata.finalizers = [MINE]
    theirs.metadata.created_at = clock.now()
    theirs.status.set_condition("Ready", "True", "Done", "", now=clock.now())

    assert await store.put_mirror(theirs)

    stored = await store.get(Cluster, *theirs.key)
    assert stored.metadata.resource_version == 2
    theirs.metadata.resource_version = 2
    assert stored == theirs


async def test_a_mirror_can_keep_the_status_that_is_here(store: SqlStore, clock: FakeClock) -> None:
    here = await store.create(a_cluster())
    here.status.set_condition("Ready", "True", "Done", "", now=clock.now())
    await store.put_status(here)
    theirs = here.copy_deep()
    theirs.metadata.generation = 2
    theirs.status.conditions.clear()

    assert await store.put_mirror(theirs, keep_status=True)

    stored = await store.get(Cluster, *here.key)
    assert stored.metadata.generation == 2
    assert stored.status.is_true("Ready")


async def test_a_mirror_replaces_a_namesake_of_another_life(store: SqlStore) -> None:
    first, second = a_cluster(), a_cluster()
    await store.put_mirror(first)

    await store.put_mirror(second)

    assert (await store.get(Cluster, *second.key)).metadata.uid == second.metadata.uid
    assert await store.find_uid(Cluster, first.metadata.uid) is None
    changed = await store.changed_since(0)
    assert [getattr(one, "uid", None) for one in changed] == [first.metadata.uid, None]


async def test_a_mirror_that_comes_back_has_no_tombstone(store: SqlStore) -> None:
    cluster = a_cluster()
    await store.put_mirror(cluster)
    await store.delete(cluster)
    await store.put_mirror(cluster)

    assert [type(one).__name__ for one in await store.changed_since(0)] == ["Cluster"]


async def test_values_are_kept_by_name(store: SqlStore) -> None:
    assert await store.get_value("installation") is None
    await store.set_value("installation", "one")
    await store.set_value("installation", "two")

    assert await store.get_value("installation") == "two"


async def test_what_this_release_cannot_read_is_named(store: SqlStore) -> None:
    await store.create(a_project())
    async with store.writing() as unit:
        await unit.execute(text("""UPDATE resource SET spec = '{"colour": "blue"}'"""))

    with pytest.raises(TerminalError, match=r"Project blue .*colour") as caught:
        await store.get(Project, "", "blue")
    assert caught.value.reason == "StoredResourceUnreadable"


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(said=st.text(st.characters(codec="utf-8"), max_size=200))
async def test_any_text_survives(sqlite_store: SqlStore, said: str) -> None:
    project = await sqlite_store.create(a_project(f"p{await sqlite_store.count(Project)}"))
    project.spec.description = said

    await sqlite_store.put_spec(project)

    assert (await sqlite_store.get(Project, *project.key)).spec.description == said
