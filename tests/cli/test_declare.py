"""``moorage apply``, ``diff`` and ``export`` with documents of all kinds."""

from pathlib import Path

import pytest
import yaml

from moorage.resources import (
    CloudAccount,
    Cluster,
    Gateway,
    IPPool,
    NodePool,
    Project,
    Role,
    Team,
    User,
)
from tests.cli.world import GATEWAY, World, a_document

PEOPLE = """
kind: Team
metadata: {name: shop-ops, labels: {origin: repo}}
spec:
  members: [alice]
  grants: [{role: scaler, project: shop}]
---
kind: User
metadata: {name: alice}
---
kind: Role
metadata: {name: scaler, labels: {origin: repo}}
spec: {permissions: [clusters.get, nodepools.update]}
---
kind: Project
metadata: {name: shop, labels: {tier: gold}}
spec: {description: Web shop}
"""
SITE = f"""
kind: Gateway
metadata: {{name: {GATEWAY}}}
spec:
  dnsMappings: [{{searchDomain: c1.example.com, datacenter: dc1, network: nodes}}]
---
kind: IPPool
metadata: {{name: more, labels: {{origin: repo}}}}
spec: {{gateway: {GATEWAY}, start: 10.77.2.10, end: 10.77.2.99, prefix: 16, router: 10.77.0.1}}
"""
POOL = """
kind: NodePool
metadata: {name: web-big, project: shop, labels: {origin: repo}}
spec: {cluster: web, pool: big, replicas: 2, cpus: 4}
"""


def a_cluster(name: str = "web", project: str = "shop", pool: str = "more") -> str:
    document = yaml.safe_load(a_document(name))
    document["metadata"] |= {"project": project, "labels": {"origin": "repo"}}
    document["spec"]["placement"]["failureDomains"][0]["ipPool"] = pool
    return str(yaml.safe_dump(document))


@pytest.fixture
def folder(site: World) -> Path:
    """Return a folder whose files name each other, in an order that cannot be the files'."""
    root = site.folder / "site"
    (root / "clusters").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "broken.yaml").write_text("{")
    (root / "README.md").write_text("no document")
    (root / "a-people.yaml").write_text(PEOPLE)
    (root / "clusters" / "web.yaml").write_text(f"{POOL}---\n{a_cluster()}")
    (root / "site.yml").write_text(SITE)
    return root


def test_a_folder_of_all_kinds_is_applied_in_order_and_then_as_it_is(
    site: World, folder: Path
) -> None:
    shown = site.cli(f"apply -f {folder} --dry-run")
    assert shown.code == 2, shown
    assert "Cluster shop/web would be created" in shown.err
    assert "Project shop" not in str(site.ok("projects list").data)

    site.ok(f"apply -f {folder}")

    assert site.get(Team, "shop-ops").spec.members == ["alice"]
    assert site.get(Project, "shop").metadata.labels == {"tier": "gold"}
    assert site.get(Gateway, GATEWAY).spec.dns_mappings
    assert site.get(NodePool, "web-workers", "shop").spec.replicas == 1
    assert site.get(NodePool, "web-big", "shop").spec.cpus == 4
    versions = {
        kind: site.get(kind, name, project).metadata.resource_version
        for kind, name, project in ((Cluster, "web", "shop"), (IPPool, "more", ""))
    }
    again = site.ok(f"apply -f {folder} --dry-run")
    assert {one["action"] for one in again.data} == {"keep"}
    site.ok(f"apply -f {folder}")
    assert site.get(Cluster, "web", "shop").metadata.resource_version == versions[Cluster]
    assert site.get(IPPool, "more").metadata.resource_version == versions[IPPool]


def test_every_fault_of_every_document_is_told_before_anything_is_touched(site: World) -> None:
    file = site.file(
        "bad.yaml",
        f"kind: Project\nmetadata: {{name: fine}}\n---\n{a_cluster(pool='nowhere', project='')}"
        "---\nkind: User\nmetadata: {name: bob}\n"
        "spec: {grants: [{role: captain}, {role: project-viewer, project: fine}]}\n",
    )
    told = site.refused(f"apply -f {file}")
    assert (
        f"{file}: document 2 (Cluster default/web): spec.placement.failureDomains[0].ipPool: "
        "there is no IP pool nowhere"
    ) in told
    assert "document 3 (User bob): spec.grants[0].role: there is no role captain" in told
    assert "spec.grants[1]" not in told
    assert "fine" not in str(site.ok("projects list").data)

    shapes = site.file(
        "shapes.yaml",
        "kind: Project\nmetadata: {name: Fine}\nspec: {colour: red}\n---\nkind: Ship\n---\n"
        "kind: IPPool\nmetadata: {name: p, project: x}\n---\n- a list\n---\n"
        "kind: Cluster\nmetadata: {name: c}\nspec: {}\nnodePools: [{replicas: -1}]\n---\n"
        "kind: Team\nmetadata: {name: t}\n---\nkind: Team\nmetadata: {name: t}\n",
    )
    broken = site.file("broken.yaml", "a: [")
    told = site.refused(f"apply -f {shapes} -f {broken} -f {site.folder}/none")
    for part in (
        "document 1 (Project Fine): metadata.name: ",
        "document 1 (Project Fine): spec.colour: there is no such field",
        "document 2: kind: is 'Ship': give one of Role, ",
        "document 3 (IPPool p): metadata.project: is 'x', but kind IPPool is of the whole hub",
        "document 4: is a list, no document",
        "document 5 (Cluster c): spec.account: ",
        "document 5 (Cluster c): nodePools[0].replicas: ",
        f"document 7: Team t stands in {shapes}: document 6 too",
        f"{broken}: {broken} line 1",
        "none cannot be read: No such file",
    ):
        assert part in told, part


def test_a_difference_is_shown_and_tells_a_pipeline_by_its_exit_code(
    site: World, folder: Path
) -> None:
    site.ok(f"apply -f {folder}")
    assert site.ok(f"diff -f {folder}").out == ""
    file = folder / "clusters" / "web.yaml"
    file.write_text(file.read_text().replace("replicas: 2", "replicas: 5"))

    shown = site.cli(f"diff -f {folder}")

    assert shown.code == 2
    assert "-  replicas: 2\n" in shown.out
    assert "+  replicas: 5\n" in shown.out
    assert shown.out.count("+++") == 1
    assert site.get(NodePool, "web-big", "shop").spec.replicas == 2
    assert "cannot be read" in site.refused("diff -f /nowhere", code=1)
    assert "-  replicas: 2" in site.ok(f"apply --diff -f {folder}").out
    assert site.get(NodePool, "web-big", "shop").spec.replicas == 5


def test_labels_are_made_as_the_file_says(site: World) -> None:
    text = "kind: Role\nmetadata: {name: one, labels: {a: b}}\nspec: {permissions: [users.list]}\n"
    site.ok("apply -f -", stdin=text)
    generation = site.get(Role, "one").metadata.generation

    site.ok("apply -f -", stdin=text.replace("a: b", "c: d"))

    role = site.get(Role, "one")
    assert (role.metadata.labels, role.metadata.generation) == ({"c": "d"}, generation)


def test_prune_deletes_what_carries_the_label_and_is_in_no_file(site: World, folder: Path) -> None:
    site.ok(f"apply -f {folder}")
    site.ok("apply -f -", stdin="kind: Project\nmetadata: {name: gone, labels: {origin: repo}}\n")
    (folder / "clusters" / "web.yaml").write_text(a_cluster())
    (folder / "a-people.yaml").write_text("kind: Project\nmetadata: {name: shop}\n")
    line = f"apply -f {folder} --prune -l origin=repo"

    shown = site.cli(f"diff -f {folder} --prune -l origin=repo")
    assert shown.code == 2
    assert "NodePool shop/web-big would be deleted" in shown.err
    told = site.refused(line)
    assert "--yes" in told
    assert "Role scaler" in told
    refused = site.cli(line, stdin="no\n", tty=True)
    assert (refused.code, "nothing was changed" in refused.err) == (1, True)
    assert not site.get(NodePool, "web-big", "shop").is_deleting

    site.ok(f"{line} --yes")

    assert site.get(NodePool, "web-big", "shop").is_deleting
    assert not site.get(NodePool, "web-workers", "shop").is_deleting  # it is in the cluster's file
    left = {one["metadata"]["name"] for one in site.ok("roles list").data}
    assert "scaler" not in left
    assert "tenant-admin" in left
    assert site.ok("teams list").data == []
    assert site.get(User, "alice")  # carries no label
    assert site.get(Project, "gone")  # of a kind that is never pruned
    assert site.get(IPPool, "nodes")
    for wrong in ("--prune", "-l a=b", "--prune -l ''"):
        site.refused(f"apply -f {folder} {wrong}", code=2)


def test_what_is_still_needed_is_pruned_by_a_later_apply(site: World, folder: Path) -> None:
    site.ok(f"apply -f {folder}")
    (folder / "clusters" / "web.yaml").unlink()
    (folder / "site.yml").unlink()
    line = f"apply -f {folder} --prune -l origin=repo --yes"

    told = site.cli(line)

    assert told.code == 1
    assert "not pruned yet, apply again later" in told.err
    assert "IPPool more is in use by cluster shop/web" in told.err
    assert site.get(Cluster, "web", "shop").is_deleting
    for name in ("web-big", "web-workers"):
        site.let_go(NodePool, name, "shop")
    site.let_go(Cluster, "web", "shop")
    site.ok(line)
    assert site.get(IPPool, "more").is_deleting


def test_what_is_exported_applies_again_without_a_change_and_holds_no_secret(
    site: World, folder: Path
) -> None:
    site.ok(f"apply -f {folder}")

    text = site.ok("export").out

    assert site.ok("apply --dry-run -f -", stdin=text).data
    kinds = [document["kind"] for document in yaml.safe_load_all(text)]
    assert {"Cluster", "NodePool", "CloudAccount", "IPPool", "Gateway", "User"} <= {*kinds}
    assert "Secret" not in kinds
    assert "ciphertext" not in text
    assert "tenant-admin" not in [
        document["metadata"]["name"] for document in yaml.safe_load_all(text)
    ]
    site.ok(f"export --to {site.folder}/out --kind Cluster -l origin=repo")
    assert [p.name for p in (site.folder / "out").rglob("*.yaml")] == ["web.yaml"]
    site.ok(f"apply --dry-run -f {site.folder}/out")
    assert "there is no kind Boat" in site.refused("export --kind Boat", code=2)


def test_an_account_is_not_parted_from_its_sealed_password(site: World) -> None:
    text = site.ok("export --kind CloudAccount").out
    told = site.refused("apply -f -", stdin=text.replace("vc.example.com", "evil.example.com"))
    assert "spec.server: the sealed password is bound to it" in told
    site.ok("apply -f -", stdin=text.replace("spec:", "spec:\n  readOnly: true"))
    assert site.get(CloudAccount, "lab").spec.read_only
