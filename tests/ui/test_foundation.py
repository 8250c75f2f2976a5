"""Log in and out, what pages allow browsers to do, errors for people, nothing loaded too early."""

import re
import subprocess
import sys

import pytest

from tests.api.world import PASSWORD, World
from tests.ui.browser import Browser, Look


async def test_who_is_not_logged_in_is_asked_and_then_brought_back(
    stranger: Browser, world: World
) -> None:
    await world.make_user("alice", [{"role": "project-admin", "project": "default"}])
    asked = await stranger.look("/ui/p/default/clusters?search=x")
    assert asked.url.path == "/ui/login"
    wrong = await stranger.submit(asked, "/ui/login", status=401, username="alice", password="no")
    assert "user name or password is wrong" in wrong.text

    there = await stranger.submit(wrong, "/ui/login", username="alice", password=PASSWORD)

    assert there.url.path == "/ui/p/default/clusters"
    assert there.url.params["search"] == "x"


@pytest.mark.parametrize("path", ["//evil.example.com/", "https://evil.example.com", "/ui/\\evil"])
async def test_a_login_leads_to_our_own_pages_only(
    stranger: Browser, world: World, path: str
) -> None:
    await world.make_user("alice", [{"role": "project-admin", "project": "default"}])
    page = await stranger.look("/ui/login")
    there = await stranger.submit(page, "/ui/login", username="alice", password=PASSWORD, next=path)
    assert str(there.url).startswith("https://hub.example.com/ui/p/default")


async def test_logging_out_ends_the_session(browser: Browser) -> None:
    page = await browser.look("/ui/")
    await browser.submit(page, "/ui/logout")
    assert (await browser.look("/ui/p/default/clusters")).url.path == "/ui/login"


async def test_the_own_password_is_changed(stranger: Browser, world: World) -> None:
    await world.make_user("alice", [{"role": "project-admin", "project": "default"}])
    await stranger.log_in("alice", PASSWORD)
    page = await stranger.look("/ui/p/default/account")
    new = "another long enough sentence"
    other = await stranger.submit(
        page, "/account/password", status=422, current=PASSWORD, new=new, again="not it"
    )
    assert "is not the same" in other.text
    wrong = await stranger.submit(
        page, "/account/password", status=422, current="no", new=new, again=new
    )
    assert "is not your password" in wrong.text
    assert new not in wrong.html
    done = await stranger.submit(page, "/account/password", current=PASSWORD, new=new, again=new)
    assert "every other session" in done.text
    await world.log_in("alice", new)


async def test_a_form_without_its_token_changes_nothing(browser: Browser) -> None:
    page = await browser.look("/ui/")
    refused = await browser.submit(page, "/ui/logout", status=403, csrf="guessed")
    assert "X-CSRF-Token" in refused.text
    assert (await browser.look("/ui/p/default/clusters")).url.path == "/ui/p/default/clusters"


async def test_who_has_no_project_is_told_so(stranger: Browser, world: World) -> None:
    await world.make_user("bob", [])
    page = await stranger.log_in("bob", PASSWORD)
    assert "no rights in any project" in page.text


async def test_a_part_of_a_page_takes_the_whole_page_to_the_login(stranger: Browser) -> None:
    response = await stranger.http.get("/ui/p/default/clusters", headers={"HX-Request": "true"})
    assert response.headers["hx-redirect"].startswith("/ui/login?next=")


async def test_errors_are_pages(browser: Browser) -> None:
    lost = await browser.look("/ui/p/default/nowhere/at/all", status=404)
    assert "there is no such page" in lost.text
    hidden = await browser.look("/ui/p/nowhere/clusters", status=404)
    assert "there is no project nowhere" in hidden.text


async def test_no_page_may_run_or_load_what_is_not_ours(browser: Browser) -> None:
    for path in ("/ui/", "/ui/login", "/ui/p/default/nowhere"):
        response = (await browser.look(path, status=404 if "nowhere" in path else 200)).response
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["referrer-policy"] == "same-origin"
        assert inline(Look(response)) == []


def inline(page: Look) -> list[str]:
    """Return what a strict policy would not run."""
    return [
        f"{tag} {name}"
        for tag, got in page.tags
        for name in got
        if name == "style" or name.startswith("on") or (tag == "script" and "src" not in got)
    ] + [tag for tag, _ in page.tags if tag == "style"]


async def test_assets_are_ours_few_and_kept_for_ever(browser: Browser) -> None:
    page = await browser.look("/ui/")
    wanted = re.findall(r'(?:src|href)="(/ui/static/[^"]+)"', page.html)
    assert len(wanted) == 5
    total = len(page.html)
    for address in wanted:
        response = await browser.http.get(address)
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]
        total += len(response.content)
    assert total < 150 * 1024
    assert not re.findall(r'(?:src|href)="(?!/|#)', page.html)
    old = await browser.http.get("/ui/static/0123/moorage.css")
    assert old.headers["cache-control"] == "no-store"
    assert (await browser.http.get("/ui/static/0123/..%2fdoor.py")).status_code == 404


def test_a_hub_that_nobody_looks_at_loads_no_page() -> None:
    code = (
        "import sys, moorage.hub.app;"
        "print([m for m in sys.modules if m == 'jinja2' or m.startswith('moorage.hub.ui.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['moorage.hub.ui.door']"


@pytest.mark.parametrize(
    "path",
    [
        "/ui/static/x/..%2f..%2f..%2fapp.py",
        "/ui/static/x/%2e%2e/site.py",
        "/ui/static/..%2f..%2f/moorage.css%00.py",
        "/ui/static/x//etc/passwd",
        "/ui/static/x/C:%5cwindows",
    ],
)
async def test_no_file_but_the_assets_is_served(stranger: Browser, path: str) -> None:
    response = await stranger.http.get(path)
    assert response.status_code in (400, 404)
    assert "import" not in response.text


async def test_nothing_of_an_address_becomes_a_header(stranger: Browser) -> None:
    evil = "%0d%0aSet-Cookie:%20a=b%0d%0a"
    for path in (f"/ui/p/x{evil}/clusters", f"/ui/p/default/clusters?search={evil}", f"/ui/{evil}"):
        response = await stranger.http.get(path)
        assert "set-cookie" not in response.headers
        assert not any("\n" in value or "\r" in value for value in response.headers.values())
