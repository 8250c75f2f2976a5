"""Sessions of browsers: the cookie, and what a page of another site cannot do with it."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from moorage.auth import csrf_token
from tests.api.world import World

OURS = "https://hub.example.com"


@pytest.fixture
async def browser(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """Return a browser that has logged in as the administrator; its header is not set yet."""
    file = world.hub.settings.initial_password_file
    assert file is not None
    async with httpx2.AsyncClient(transport=world.http._transport, base_url=OURS) as browser:
        body = {"username": "admin", "password": file.read_text().strip(), "cookie": True}
        answer = await browser.post("/v1/login", json=body)
        assert answer.status_code == 200, answer.text
        assert "token" not in answer.json()
        browser.headers["X-Kept-Token"] = answer.json()["csrfToken"]
        yield browser


def csrf(browser: httpx2.AsyncClient) -> dict[str, str]:
    return {"X-CSRF-Token": browser.headers["X-Kept-Token"]}


def project(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}}


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(world: World) -> None:
    file = world.hub.settings.initial_password_file
    assert file is not None
    body = {"username": "admin", "password": file.read_text().strip(), "cookie": True}
    answer = await world.http.post("/v1/login", json=body)
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-moorage=mrs_")
    said = {part.strip().lower() for part in cookie.split(";")}
    assert {"httponly", "secure", "samesite=lax", "path=/"} <= said
    assert not any(part.startswith("domain") for part in said)


async def test_a_browser_reads_with_its_cookie_and_writes_with_its_token_too(
    browser: httpx2.AsyncClient,
) -> None:
    me = await browser.get("/v1/whoami")
    assert me.json()["username"] == "admin"
    assert me.json()["csrfToken"] == browser.headers["X-Kept-Token"]

    refused = await browser.post("/v1/projects", json=project("one"))
    assert refused.status_code == 403
    assert "X-CSRF-Token" in refused.json()["detail"]
    wrong = await browser.post(
        "/v1/projects", json=project("one"), headers={"X-CSRF-Token": "guessed"}
    )
    assert wrong.status_code == 403
    made = await browser.post("/v1/projects", json=project("one"), headers=csrf(browser))
    assert made.status_code == 201


@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_changes_nothing(
    browser: httpx2.AsyncClient, foreign: dict[str, str]
) -> None:
    refused = await browser.post(
        "/v1/projects", json=project("one"), headers=csrf(browser) | foreign
    )
    assert refused.status_code == 403
    login = {"username": "admin", "password": "x", "cookie": True}
    assert (await browser.post("/v1/login", json=login, headers=foreign)).status_code == 403
    assert (await browser.get("/v1/projects/one")).status_code == 404


async def test_a_page_of_ours_says_where_it_comes_from(browser: httpx2.AsyncClient) -> None:
    ours = {"Origin": OURS, "Sec-Fetch-Site": "same-origin"}
    made = await browser.post("/v1/projects", json=project("one"), headers=csrf(browser) | ours)
    assert made.status_code == 201


async def test_the_token_of_another_session_does_not_do(
    browser: httpx2.AsyncClient, world: World
) -> None:
    await world.make_user("alice", [])
    other = {"X-CSRF-Token": csrf_token(world.tokens["alice"])}
    refused = await browser.post("/v1/projects", json=project("one"), headers=other)
    assert refused.status_code == 403


async def test_a_header_is_judged_alone(browser: httpx2.AsyncClient) -> None:
    for header in ("Bearer nonsense", "Basic YWRtaW46YWRtaW4="):
        answer = await browser.get("/v1/whoami", headers={"Authorization": header})
        assert answer.status_code == 401


async def test_logout_ends_the_session_and_forgets_the_cookie(
    browser: httpx2.AsyncClient,
) -> None:
    kept = dict(browser.cookies)
    assert (await browser.post("/v1/logout")).status_code == 403

    answer = await browser.post("/v1/logout", headers=csrf(browser))

    assert answer.status_code == 204
    assert not dict(browser.cookies)
    again = await browser.get(
        "/v1/whoami", headers={"Cookie": "; ".join(f"{k}={v}" for k, v in kept.items())}
    )
    assert again.status_code == 401
