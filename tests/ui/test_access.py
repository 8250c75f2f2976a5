"""People and rights in the browser: who has which role where, what they come in with, who can."""

import re

from tests.api.test_second_factor import code_of
from tests.api.world import PASSWORD, World, a_cluster
from tests.ui.browser import Browser, Look
from tests.ui.test_foundation import inline

HERE = "/ui/p/default"
ACCESS = f"{HERE}/access"
VIEWER = {"role": "project-viewer", "project": "default"}


async def test_a_user_is_added_given_a_role_and_a_password(
    browser: Browser, stranger: Browser, world: World
) -> None:
    page = await browser.look(f"{ACCESS}/users")
    wrong = await browser.submit(page, "/access/users", status=422, name="Not A Name")
    assert "metadata.name" in wrong.text
    page = await browser.submit(wrong, "/access/users", name="alice", words="Alice A.")
    assert page.url.path == f"{ACCESS}/users/alice"

    page = await browser.submit(
        page, "/grant", role="cluster-editor", where="default", selector="env=dev"
    )
    wrong = await browser.submit(page, "/password", status=422, new=PASSWORD, again="another")
    assert "is not the same" in wrong.text
    page = await browser.submit(page, "/password", new=PASSWORD, again=PASSWORD)
    assert "The password is set" in page.text
    await world.log_in("alice", PASSWORD)

    spec = (await world.ok("GET", "/v1/users/alice", user="admin"))["spec"]
    assert spec["grants"] == [
        {"role": "cluster-editor", "project": "default", "selector": "env=dev"}
    ]
    page = await browser.submit(page, "/disable")
    assert "disabled" in page.text
    await world.refused(401, "GET", "/v1/whoami", user="alice")
    page = await browser.submit(page, "/disable")
    page = await browser.submit(page, "/ungrant")
    assert "none of its own" in page.text
    kept = await browser.submit(page, "/delete", status=422, name="alic")
    assert "is not its name" in kept.text
    page = await browser.submit(page, "/delete", name="alice")
    assert page.url.path == f"{ACCESS}/users"
    await world.refused(404, "GET", "/v1/users/alice", user="admin")


async def test_who_changes_a_user_second_is_told_that_it_has_changed(
    browser: Browser, world: World
) -> None:
    await world.make_user("alice", [VIEWER])
    first = await browser.look(f"{ACCESS}/users/alice")
    second = await browser.look(f"{ACCESS}/users/alice")
    await browser.submit(first, "/grant", role="cluster-admin", where="default", selector="")

    conflict = await browser.submit(second, "/ungrant", status=412)

    assert "has changed since it was read" in conflict.text
    assert "cluster-admin" in conflict.text
    assert len((await world.ok("GET", "/v1/users/alice"))["spec"]["grants"]) == 2


async def test_a_team_gives_its_members_what_it_has(browser: Browser, world: World) -> None:
    await world.make_user("alice", [])
    page = await browser.look(f"{ACCESS}/teams")
    page = await browser.submit(page, "/access/teams", name="ops", words="")
    page = await browser.submit(page, "/join", member="alice")
    page = await browser.submit(page, "/grant", role="project-admin", where="default", selector="")

    member = await browser.look(f"{ACCESS}/users/alice")
    assert "project-admin in default by team ops" in member.text
    page = await browser.look(f"{ACCESS}/who-can?permission=clusters.delete&where=default")
    assert "project-admin in default by team ops" in page.text
    page = await browser.submit(await browser.look(f"{ACCESS}/teams/ops"), "/leave")
    assert (await world.ok("GET", "/v1/teams/ops"))["spec"].get("members", []) == []


async def test_a_custom_role_begins_with_another_one(browser: Browser, world: World) -> None:
    built_in = await browser.look(f"{ACCESS}/roles/account-viewer")
    assert "built in" in built_in.text
    assert [form.action for form in built_in.forms] == ["/ui/logout"]
    (like,) = [link for link in built_in.links() if "like=" in link]
    page = await browser.look(like)
    fields = page.form("/new-role").fields
    begun = {value for name, value in fields if name == "permission"}
    assert begun == {"accounts.get", "accounts.list"}
    page = await browser.submit(
        page, "/new-role", name="checker", permission=[*begun, "accounts.check"]
    )
    assert page.url.path == f"{ACCESS}/roles/checker"
    stale = page
    page = await browser.submit(page, "/roles/checker", permission=["accounts.get"])
    assert (await world.ok("GET", "/v1/roles/checker"))["spec"]["permissions"] == ["accounts.get"]
    conflict = await browser.submit(stale, "/roles/checker", status=412)
    assert "has changed since it was read" in conflict.text
    page = await browser.submit(page, "/delete", name="checker")
    await world.refused(404, "GET", "/v1/roles/checker")


async def test_a_service_account_gets_a_key_that_is_shown_once(
    browser: Browser, world: World
) -> None:
    page = await browser.look(f"{ACCESS}/serviceaccounts")
    page = await browser.submit(page, "/access/serviceaccounts", name="ci", words="builds")
    page = await browser.submit(page, "/grant", role="project-viewer", where="default", selector="")
    shown = await browser.submit(page, "/new-key", name="builds", days="30")
    key = world.tokens["ci"] = preformatted(shown, "made")
    assert (await world.ok("GET", "/v1/whoami", user="ci"))["username"] == "serviceaccount:ci"

    page = await browser.look(f"{ACCESS}/serviceaccounts/ci")
    assert key not in page.html
    assert "all that its holder may" in page.text
    page = await browser.submit(page, "/revoke-key")
    await world.refused(401, "GET", "/v1/whoami", user="ci")


def preformatted(page: Look, name: str) -> str:
    """Return what stands in the box of that id."""
    found = re.search(rf'<pre id="{name}"[^>]*>([^<]*)</pre>', page.html)
    return found[1] if found else ""


async def test_own_keys_are_narrowed_and_own_sessions_ended(browser: Browser, world: World) -> None:
    page = await browser.look(f"{HERE}/account")
    assert "tenant-admin everywhere" in page.text
    assert "this one" in page.text
    ended = await browser.submit(page, "/end-session")  # that of the tests' own client
    assert "The session has ended" in ended.text
    await world.refused(401, "GET", "/v1/whoami")
    page = await browser.submit(
        ended, "/new-key", name="mine", days="7", role="project-viewer", where="default"
    )
    world.tokens["key"] = preformatted(page, "made")
    assert (await world.ok("GET", "/v1/projects/default/clusters", user="key"))["items"] == []
    await world.refused(404, "GET", "/v1/users", user="key")
    assert "project-viewer in default" in page.text


async def test_a_second_factor_is_begun_asked_for_and_removed(
    stranger: Browser, world: World
) -> None:
    await world.make_user("alice", [VIEWER])
    await stranger.log_in("alice", PASSWORD)
    page = await stranger.look(f"{HERE}/account")
    page = await stranger.submit(page, "/begin-factor", current=PASSWORD)
    secret = dict(page.form("/confirm-factor").fields)["secret"]
    wrong = await stranger.submit(page, "/confirm-factor", status=422, code="000")
    assert secret in wrong.html
    code = code_of(secret, world.clock.now())
    page = await stranger.submit(wrong, "/confirm-factor", code=code)
    codes = preformatted(page, "made").split()
    assert len(codes) > 4

    await stranger.submit(page, "/ui/logout")
    login = await stranger.look("/ui/login")
    asked = await stranger.submit(
        login, "/ui/login", status=401, username="alice", password=PASSWORD
    )
    assert "Code needed" in asked.text
    await stranger.submit(asked, "/ui/login", password=PASSWORD, code=codes[0])
    page = await stranger.look(f"{HERE}/account")
    page = await stranger.submit(page, "/remove-factor", current=PASSWORD, code=codes[1])
    assert "password alone" in page.text


async def test_projects_are_added_and_deleted_while_empty(browser: Browser, world: World) -> None:
    page = await browser.look(f"{ACCESS}/projects")
    page = await browser.submit(page, "/access/projects", name="shop", description="Shoes")
    assert "Shoes" in page.text
    await world.site()
    await world.ok("POST", "/v1/projects/shop/clusters", a_cluster("one"))
    page = await browser.look("/ui/p/shop/access/projects")
    kept = await browser.submit(page, "/delete", status=409, name="shop")
    assert "delete these first" in kept.text


async def test_who_may_not_see_people_sees_none(stranger: Browser, world: World) -> None:
    await world.make_user("eve", [VIEWER])
    page = await stranger.log_in("eve", PASSWORD)
    page = await stranger.look(f"{HERE}/access")
    assert page.url.path == f"{ACCESS}/projects"
    assert not [link for link in page.links() if "/access/users" in link]
    assert [form.action for form in page.forms] == ["/ui/logout"]
    for path in ("users", "users/admin", "teams", "serviceaccounts", "roles", "roles/x"):
        await stranger.look(f"{ACCESS}/{path}", status=404)
    await stranger.look(f"{ACCESS}/who-can?permission=clusters.get", status=404)
    await stranger.look(f"{ACCESS}/nonsense", status=404)
    csrf = dict(page.form("/ui/logout").fields)["csrf"]
    for path, fields in (
        ("users", {"name": "mallory"}),
        ("users/eve/grant", {"role": "tenant-admin", "where": "*"}),
        ("users/admin/password", {"new": PASSWORD, "again": PASSWORD}),
    ):
        pairs = [("csrf", csrf), *fields.items()]
        await stranger.post(f"{ACCESS}/{path}", pairs, status=404)


async def test_the_pages_run_and_style_nothing_inline(browser: Browser, world: World) -> None:
    await world.make_user("alice", [VIEWER])
    paths = [f"access/{one}" for one in ("users", "users/alice", "teams", "serviceaccounts")]
    paths += [f"access/{one}" for one in ("roles", "roles/tenant-admin", "projects", "who-can")]
    for path in (*paths, "new-role", "account"):
        page = await browser.look(f"{HERE}/{path}")
        assert inline(page) == [], path
        ids = [got["id"] for _, got in page.tags if "id" in got]
        assert len(ids) == len(set(ids)), path
