"""Grants of users and teams, by labels too; and that nobody makes anybody mightier."""

from typing import Any

import pytest

from moorage.resources import Metadata
from moorage.resources.meta import Owner
from tests.api.world import Json, World, a_cluster, spec_of
from tests.builders import a_machine

CLUSTERS = "/v1/projects/default/clusters"
POOLS = "/v1/projects/default/nodepools"
MACHINES = "/v1/projects/default/machines"
OPERATIONS = "/v1/projects/default/operations"


def labelled(name: str, **labels: str) -> Json:
    document = a_cluster(name)
    document["metadata"]["labels"] = labels
    return document


async def two_clusters(world: World) -> None:
    """Make clusters ``dev`` and ``prod`` with these values of ``env``."""
    await world.site()
    for name in ("dev", "prod"):
        await world.ok("POST", CLUSTERS, labelled(name, env=name))


def names(answer: Json) -> list[str]:
    return [item["metadata"]["name"] for item in answer["items"]]


def some_of_default(role: str = "cluster-admin", selector: str = "env=dev") -> list[Json]:
    return [{"role": role, "project": "default", "selector": selector}]


async def kubeconfig_of(world: World, cluster: str, user: str, status: int) -> str:
    spec = {
        "verb": "kubeconfig",
        "subjectKind": "Cluster",
        "subjectName": cluster,
        "arguments": {"csr": world.certificate_request()},
    }
    answer = await world.ask("POST", OPERATIONS, {"metadata": {}, "spec": spec}, user=user)
    assert answer.status_code == status, answer.text
    return str(answer.json().get("detail") or answer.json()["metadata"]["name"])


async def test_lists_show_clusters_of_the_right_labels_and_their_parts_only(world: World) -> None:
    await two_clusters(world)
    for name in ("dev", "prod"):
        cluster = await world.ok("GET", f"{CLUSTERS}/{name}")
        owner = Owner(kind="Cluster", name=name, uid=cluster["metadata"]["uid"])
        machine = a_machine(name=f"{name}-one", cluster=name)
        machine.metadata = Metadata(name=f"{name}-one", project="default", owner=owner)
        await world.hub.store.create(machine)
    await world.make_user("ann", some_of_default())

    assert names(await world.ok("GET", CLUSTERS, user="ann")) == ["dev"]
    assert names(await world.ok("GET", POOLS, user="ann")) == ["dev-workers"]
    assert names(await world.ok("GET", MACHINES, user="ann")) == ["dev-one"]
    assert names(await world.ok("GET", "/v1/projects", user="ann")) == ["default"]
    assert len(names(await world.ok("GET", CLUSTERS))) == 2
    assert (await world.ok("GET", "/v1/accounts", user="ann"))["items"]


async def test_what_labels_hide_is_told_like_what_is_not_there(world: World) -> None:
    await two_clusters(world)
    await world.make_user("ann", some_of_default())

    for method, path, body in (
        ("GET", f"{CLUSTERS}/NAME", None),
        ("DELETE", f"{CLUSTERS}/NAME", None),
        ("PUT", f"{CLUSTERS}/NAME/labels", {}),
        ("PUT", f"{CLUSTERS}/NAME/spec", spec_of(a_cluster())),
        ("GET", f"{POOLS}/NAME-workers", None),
        ("DELETE", f"{POOLS}/NAME-workers", None),
        ("PUT", f"{CLUSTERS}/NAME", None),
        ("POST", f"{CLUSTERS}/NAME/plans", None),
    ):
        told = []
        for name in ("prod", "none"):
            document = labelled(name) if body is None and method in ("PUT", "POST") else body
            problem = await world.refused(
                404, method, path.replace("NAME", name), document, user="ann"
            )
            told.append(problem["detail"].replace(name, "NAME"))
        assert told[0] == told[1], (method, path)
    hidden = await kubeconfig_of(world, "prod", "ann", 404)
    assert hidden.replace("prod", "none") == await kubeconfig_of(world, "none", "ann", 404)


async def test_a_grant_by_labels_lets_change_and_delete_but_not_create(world: World) -> None:
    await two_clusters(world)
    await world.make_user("ann", some_of_default())

    document = labelled("dev", env="dev", tier="one")
    await world.ok("PUT", f"{CLUSTERS}/dev", document, user="ann")
    document["nodePools"].append({"name": "more", "replicas": 1})
    await world.ok("PUT", f"{CLUSTERS}/dev", document, user="ann")
    await kubeconfig_of(world, "dev", "ann", 201)
    pool = {
        "metadata": {"name": "dev-extra"},
        "spec": {"cluster": "dev", "pool": "extra", "replicas": 1},
    }
    await world.ok("POST", POOLS, pool, user="ann")
    await world.refused(403, "POST", CLUSTERS, labelled("new", env="dev"), user="ann")
    foreign = {
        "metadata": {"name": "prod-extra"},
        "spec": {"cluster": "prod", "pool": "extra", "replicas": 1},
    }
    await world.refused(404, "POST", POOLS, foreign, user="ann")
    assert (await world.ask("DELETE", f"{CLUSTERS}/dev", user="ann")).status_code == 202


async def test_nobody_labels_a_cluster_out_of_his_reach(world: World) -> None:
    await two_clusters(world)
    await world.make_user("ann", some_of_default())

    await world.refused(403, "PUT", f"{CLUSTERS}/dev/labels", {"env": "prod"}, user="ann")
    await world.refused(403, "PUT", f"{CLUSTERS}/dev", labelled("dev", env="prod"), user="ann")

    await world.ok("PUT", f"{CLUSTERS}/dev/labels", {"env": "dev", "a": "b"}, user="ann")


async def test_an_editor_by_labels_may_not_delete_what_he_sees(world: World) -> None:
    await two_clusters(world)
    await world.make_user("ann", some_of_default("cluster-editor"))

    problem = await world.refused(403, "DELETE", f"{CLUSTERS}/dev", user="ann")
    assert "clusters.delete" in problem["detail"]
    await world.refused(404, "DELETE", f"{CLUSTERS}/prod", user="ann")


async def test_an_editor_changes_clusters_and_makes_none_by_applying(world: World) -> None:
    await world.site()
    await world.ok("POST", CLUSTERS, a_cluster("one"))
    await world.make_user("ed", [{"role": "cluster-editor", "project": "default"}])

    scaled = a_cluster("one", [{"name": "workers", "replicas": 2}])
    await world.ok("PUT", f"{CLUSTERS}/one", scaled, user="ed")

    more = a_cluster("one", [{"name": "more", "replicas": 1}])
    told = await world.refused(403, "PUT", f"{CLUSTERS}/one", more, user="ed")
    assert "nodepools.create" in told["detail"]
    await world.refused(403, "PUT", f"{CLUSTERS}/two", a_cluster("two"), user="ed")
    await world.refused(404, "GET", f"{CLUSTERS}/two")


async def test_who_may_only_create_does_not_change_what_is_there(world: World) -> None:
    await world.site()
    await world.ok("POST", CLUSTERS, a_cluster("one"))
    permissions = ["clusters.create", "nodepools.create", "clusters.get"]
    role = {"metadata": {"name": "maker"}, "spec": {"permissions": permissions}}
    await world.ok("POST", "/v1/roles", role)
    await world.make_user("max", [{"role": "maker", "project": "default"}])

    await world.ok("PUT", f"{CLUSTERS}/two", a_cluster("two"), user="max")

    changed = spec_of(a_cluster("one"), kubernetesVersion="v1.34.5")
    await world.refused(403, "PUT", f"{CLUSTERS}/one/spec", changed, user="max")
    await world.refused(403, "PUT", f"{CLUSTERS}/one", a_cluster("one"), user="max")


async def test_a_stream_of_labels_is_not_resumed(world: World) -> None:
    await two_clusters(world)
    await world.make_user("ann", some_of_default())

    resumed = {"watch": "true", "resourceVersion": 1}
    problem = await world.refused(410, "GET", CLUSTERS, user="ann", **resumed)
    assert "list again" in problem["detail"]


async def test_a_team_gives_its_grants_to_its_members(world: World) -> None:
    await world.make_user("ann", [])
    await world.refused(404, "GET", CLUSTERS, user="ann")
    spec: Json = {
        "members": ["ann"],
        "grants": [{"role": "project-viewer", "project": "default"}],
    }
    await world.ok("POST", "/v1/teams", {"metadata": {"name": "ops"}, "spec": spec})

    await world.ok("GET", CLUSTERS, user="ann")
    (grant,) = (await world.ok("GET", "/v1/whoami", user="ann"))["grants"]
    assert grant["team"] == "ops"

    await world.ok("PUT", "/v1/teams/ops/spec", {**spec, "members": []})
    await world.refused(404, "GET", CLUSTERS, user="ann")


async def test_faults_of_grants_are_all_told(world: World) -> None:
    grants = [
        {"role": "no-such"},
        {"role": "project-viewer", "project": "nowhere"},
        {"role": "tenant-admin", "project": "default"},
        {"role": "tenant-viewer", "selector": "a=b"},
    ]
    body = {"metadata": {"name": "ann"}, "spec": {"grants": grants}}
    faults = await world.faults("POST", "/v1/users", body)
    assert set(faults) == {
        "spec.grants[0].role",
        "spec.grants[1].project",
        "spec.grants[2].project",
        "spec.grants[3].selector",
    }
    body["spec"] = {"grants": [{"role": "project-viewer", "selector": "((("}]}
    assert "spec.grants[0].selector" in await world.faults("POST", "/v1/users", body)
    team = {"metadata": {"name": "ops"}, "spec": {"members": ["nobody"]}}
    assert set(await world.faults("POST", "/v1/teams", team)) == {"spec.members[0]"}
    role = {"metadata": {"name": "odd"}, "spec": {"permissions": ["clusters.fly"]}}
    assert set(await world.faults("POST", "/v1/roles", role)) == {"spec.permissions[0]"}


@pytest.fixture
async def clerk(world: World) -> World:
    """Return a world with ``clerk``, who manages people and has little else."""
    permissions = [
        f"{kind}.{verb}"
        for kind in ("users", "teams", "roles")
        for verb in ("list", "get", "create", "update", "delete")
    ]
    spec = {"permissions": [*permissions, "users.password"]}
    await world.ok("POST", "/v1/roles", {"metadata": {"name": "clerk"}, "spec": spec})
    await world.make_user("clerk", [{"role": "clerk"}, {"role": "project-viewer"}])
    return world


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/users", {"metadata": {"name": "x"}, "spec": {"grants": ["ADMIN"]}}),
        ("PUT", "/v1/users/clerk/spec", {"grants": ["ADMIN"]}),
        ("PUT", "/v1/users/admin/spec", {"displayName": "x", "grants": ["ADMIN"]}),
        ("PUT", "/v1/users/admin/password", {"password": "correct horse battery"}),
        ("DELETE", "/v1/users/second", None),
        ("PUT", "/v1/users/second/labels", {"a": "b"}),
        ("POST", "/v1/teams", {"metadata": {"name": "x"}, "spec": {"grants": ["ADMIN"]}}),
        ("PUT", "/v1/teams/mighty/spec", {"members": ["clerk"], "grants": ["ADMIN"]}),
        ("PUT", "/v1/teams/mighty/spec", {"members": ["clerk"], "grants": []}),
        ("DELETE", "/v1/teams/mighty", None),
        (
            "POST",
            "/v1/roles",
            {"metadata": {"name": "x"}, "spec": {"permissions": ["clusters.delete"]}},
        ),
        ("PUT", "/v1/roles/clerk/spec", {"permissions": ["users.list", "clusters.delete"]}),
    ],
)
async def test_nobody_gives_or_takes_what_he_does_not_have(
    clerk: World, method: str, path: str, body: Any
) -> None:
    admin = {"role": "tenant-admin"}
    await clerk.ok(
        "POST", "/v1/users", {"metadata": {"name": "second"}, "spec": {"grants": [admin]}}
    )
    await clerk.ok(
        "POST", "/v1/teams", {"metadata": {"name": "mighty"}, "spec": {"grants": [admin]}}
    )
    given = body.get("spec", body) if isinstance(body, dict) else {}
    if given.get("grants") == ["ADMIN"]:
        given["grants"] = [admin]
    problem = await clerk.refused(403, method, path, body, user="clerk")
    assert "rights that clerk does not have" in problem["detail"]


async def test_a_clerk_manages_those_who_have_no_more(clerk: World) -> None:
    grants = [{"role": "project-viewer", "project": "default"}]
    await clerk.ok(
        "POST", "/v1/users", {"metadata": {"name": "x"}, "spec": {"grants": grants}}, user="clerk"
    )
    body = {"password": "correct horse battery"}
    await clerk.ok("PUT", "/v1/users/x/password", body, user="clerk")
    await clerk.ok("DELETE", "/v1/users/x", user="clerk")


async def test_built_in_roles_stay_as_they_are(world: World) -> None:
    shown = await world.ok("GET", "/v1/roles/cluster-viewer")
    assert shown["status"]["builtIn"] is True
    await world.refused(409, "PUT", "/v1/roles/cluster-viewer/spec", {"permissions": []})
    await world.refused(409, "DELETE", "/v1/roles/cluster-viewer")
    role = {"metadata": {"name": "x"}, "spec": {"permissions": []}, "status": {"builtIn": True}}
    await world.refused(422, "POST", "/v1/roles", role)


async def test_a_role_in_use_stays_and_a_changed_one_counts_at_once(world: World) -> None:
    role = {"metadata": {"name": "looker"}, "spec": {"permissions": ["clusters.list"]}}
    await world.ok("POST", "/v1/roles", role)
    await world.make_user("ann", [{"role": "looker", "project": "default"}])
    await world.ok("GET", CLUSTERS, user="ann")

    await world.refused(409, "DELETE", "/v1/roles/looker")
    await world.ok("PUT", "/v1/roles/looker/spec", {"permissions": ["events.list"]})
    await world.refused(404, "GET", CLUSTERS, user="ann")


async def test_a_later_project_or_user_of_a_name_begins_without_rights(world: World) -> None:
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "shop"}})
    await world.make_user("ann", [{"role": "project-admin", "project": "shop"}])
    team = {"metadata": {"name": "ops"}, "spec": {"members": ["ann"]}}
    await world.ok("POST", "/v1/teams", team)

    await world.ok("DELETE", "/v1/projects/shop")
    await world.ok("POST", "/v1/projects", {"metadata": {"name": "shop"}})
    await world.refused(404, "GET", "/v1/projects/shop", user="ann")

    await world.ok("DELETE", "/v1/users/ann")
    assert (await world.ok("GET", "/v1/teams/ops"))["spec"]["members"] == []


async def test_who_can_and_what_can_i(world: World) -> None:
    await two_clusters(world)
    await world.make_user("ann", some_of_default())
    await world.make_user("bob", [{"role": "cluster-editor", "project": "default"}])

    async def who(**params: str) -> set[str]:
        answer = await world.ok("GET", "/v1/who-can", **params)
        return {item["name"] for item in answer["items"]}

    assert await who(permission="clusters.delete") == {"admin", "ann"}
    assert await who(permission="clusters.update", project="default") == {"admin", "ann", "bob"}
    prod = {"project": "default", "cluster": "prod"}
    assert await who(permission="clusters.update", **prod) == {"admin", "bob"}
    await world.refused(404, "GET", "/v1/who-can", permission="clusters.get", user="ann")

    mine = await world.ok("GET", "/v1/whoami/rights", user="ann", project="default")
    by = {item["permission"]: item["by"] for item in mine["items"]}
    assert by["clusters.delete"][0]["selector"] == "env=dev"
    assert "users.list" not in by
    everything = await world.ok("GET", "/v1/whoami/rights")
    assert len(everything["items"]) == len((await world.ok("GET", "/v1/permissions"))["items"])
