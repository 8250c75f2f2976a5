"""Alerts: one for each rule and object, told once, kept back, looked after, signed."""

import asyncio
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from moorage.hub.alerting.sending import ATTEMPTS, Ways, send_due
from moorage.hub.alerting.settings import ways_of
from moorage.hub.alerting.watching import look
from moorage.hub.alerting.webhook import is_permitted
from moorage.hub.tls import SelfMadeTLS
from moorage.kit.clock import SystemClock
from moorage.kit.errors import InvalidError
from moorage.resources import CloudAccount, Cluster, Condition, Gateway, IPPool
from moorage.store import alerts
from tests.api.world import Json, World, a_cluster

LOCAL = Ways(allowed=(ip_network("127.0.0.0/8"),))


async def firing(world: World, **params: str) -> list[Json]:
    await look(world.hub.store, None)
    return list((await world.ok("GET", "/v1/alerts", **params))["items"])


async def go_silent(world: World, *, connected: bool = False) -> None:
    gateway = await world.hub.store.get(Gateway, "", "site-1")
    gateway.status.connected = connected
    gateway.status.last_seen_at = world.clock.now()
    await world.hub.store.put_status(gateway)


async def silent_site(world: World) -> None:
    """Make a gateway of which an alert is due."""
    await world.enrol()
    await go_silent(world)
    world.forward(minutes=6)


async def channel(world: World, **spec: object) -> str:
    """Make a channel and return its secret."""
    await world.ok("POST", "/v1/alertchannels", {"metadata": {"name": "chat"}, "spec": spec})
    return str((await world.ok("POST", "/v1/alertchannels/chat/secret"))["secret"])


async def log_of(world: World) -> list[Json]:
    return list((await world.ok("GET", "/v1/alertchannels/chat/deliveries"))["items"])


async def test_one_alert_for_a_rule_and_an_object_however_often(world: World) -> None:
    await world.enrol()
    await go_silent(world, connected=True)
    world.forward(minutes=20)
    assert await firing(world) == []
    await go_silent(world)
    world.forward(minutes=4)
    assert await firing(world) == []

    world.forward(minutes=2)
    (first,) = await firing(world)
    (again,) = await firing(world)
    assert (first["rule"], first["object"]["name"]) == ("GatewaySilent", "site-1")
    assert (again["id"], again["count"]) == (first["id"], 1)

    await go_silent(world, connected=True)
    assert await firing(world) == []
    (ended,) = await firing(world, ended="true")
    assert ended["endedAt"] is not None
    await go_silent(world)
    world.forward(minutes=6)
    (third,) = await firing(world)
    assert (third["id"], third["count"]) == (first["id"], 2)


async def test_each_rule_has_its_alert(world: World) -> None:
    await world.site()
    await world.ok("PUT", "/v1/projects/default/clusters/one", a_cluster())
    store, now = world.hub.store, world.clock.now()
    since = now - timedelta(hours=1)
    cluster = await store.get(Cluster, "default", "one")
    account = await store.get(CloudAccount, "", "vcenter")
    for one, reason in ((cluster, "DeletionHeld"), (account, "InvalidCredentials")):
        one.status.conditions = [
            Condition(
                type="Ready",
                status="False",
                reason=reason,
                message="why",
                last_transition_time=since,
            )
        ]
        await store.put_status(one)
    (pool,) = await store.list(IPPool)
    pool.status.total, pool.status.free, pool.status.reserved = 40, 8, 5
    await store.put_status(pool)
    ends = (now + timedelta(days=13)).isoformat()
    await world.ok("POST", "/v1/apikeys", {"name": "ci", "expiresAt": ends})
    certificate = SelfMadeTLS(Path(str(world.hub.settings.data)), ["hub"], world.clock).ensure()

    await look(store, certificate.certificate)
    rules = {one.rule for one in await alerts.list_alerts(store)}

    assert rules == {
        "ClusterUnhealthy",
        "DeletionHeld",
        "AccountFailing",
        "PoolNearlyEmpty",
        "KeyEnding",
    }
    world.forward(days=4000)
    await look(store, certificate.certificate)
    assert "CertificateEnding" in {one.rule for one in await alerts.list_alerts(store)}


async def test_projects_see_their_own_alerts(world: World) -> None:
    await world.site()
    await world.ok("PUT", "/v1/projects/default/clusters/one", a_cluster())
    cluster = await world.hub.store.get(Cluster, "default", "one")
    cluster.metadata.labels = {"env": "dev"}
    await world.hub.store.put_spec(cluster)
    cluster = await world.hub.store.get(Cluster, "default", "one")
    cluster.status.conditions = [
        Condition(
            type="Ready",
            status="False",
            reason="NameTaken",
            message="why",
            last_transition_time=world.clock.now(),
        )
    ]
    await world.hub.store.put_status(cluster)
    await look(world.hub.store, None)
    role = "cluster-editor"
    await world.make_user("dev", [{"role": role, "project": "default", "selector": "env=dev"}])
    await world.make_user("prod", [{"role": role, "project": "default", "selector": "env=prod"}])
    path = "/v1/projects/default/alerts"

    (seen,) = (await world.ok("GET", path, user="dev"))["items"]

    assert (await world.ok("GET", path, user="prod"))["items"] == []
    where = f"{path}/{seen['id']}/acknowledgement"
    await world.refused(404, "PUT", where, {"note": "mine"}, user="prod")
    done = await world.ok("PUT", where, {"note": "mine"}, user="dev")
    assert (done["acknowledgedBy"], done["note"]) == ("dev", "mine")
    undone = await world.ok("PUT", where, {"acknowledged": False}, user="dev")
    assert "acknowledgedBy" not in undone
    told = (await world.ok("GET", "/v1/audit", kind="Alert"))["items"]
    assert [(one["actor"], one["verb"]) for one in told] == [
        ("dev", "unacknowledge"),
        ("dev", "acknowledge"),
    ]


async def test_a_webhook_gets_a_signed_post_once_and_the_end(world: World) -> None:
    async with receiver() as (url, posts, answers):
        secret = await channel(world, url=url)
        answers.append(500)
        await silent_site(world)
        await firing(world)
        await firing(world)
        await send_due(world.hub.store, LOCAL)
        (entry,) = await log_of(world)
        assert (entry["attempts"], entry.get("deliveredAt")) == (1, None)
        assert "answered with 500" in entry["answer"]
        await send_due(world.hub.store, LOCAL)
        assert len(posts) == 1  # not before the pause is over
        world.forward(seconds=31)
        await send_due(world.hub.store, LOCAL)
        await go_silent(world, connected=True)
        await firing(world)
        await send_due(world.hub.store, LOCAL)

    states = [json.loads(body)["state"] for _, body in posts]
    assert states == ["firing", "firing", "resolved"]
    headers, body = posts[1]
    assert json.loads(body)["object"] == {"kind": "Gateway", "project": "", "name": "site-1"}
    at, _, signed = headers["x-moorage-signature"].partition(",v1=")
    wanted = hmac.new(secret.encode(), at[2:].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert signed == wanted
    assert posts[0][0]["x-moorage-delivery"] == headers["x-moorage-delivery"]
    assert [entry["answer"] for entry in await log_of(world)] == ["200", "200"]


async def test_what_cannot_be_delivered_is_given_up_at_last(world: World) -> None:
    async with receiver() as (url, posts, answers):
        await channel(world, url=url)
        answers.extend([302] * ATTEMPTS)  # redirects are not followed
        await silent_site(world)
        await firing(world)
        for _ in range(ATTEMPTS + 2):
            await send_due(world.hub.store, LOCAL)
            world.forward(hours=3)
    assert len(posts) == ATTEMPTS
    await world.log_in("admin", await renewed(world))
    (entry,) = await log_of(world)
    assert (entry["attempts"], entry.get("nextAttemptAt")) == (ATTEMPTS, None)


async def renewed(world: World) -> str:
    """Return the administrator's password: the session has ended."""
    file = world.hub.settings.initial_password_file
    assert file is not None
    return file.read_text().strip()


async def test_a_webhook_does_not_reach_what_is_not_public(world: World) -> None:
    async with receiver() as (url, posts, _):
        await channel(world, url=url.replace("127.0.0.1", "localhost"))
        await world.ok("POST", "/v1/alertchannels/chat/test")
        await send_due(world.hub.store, Ways())
    assert posts == []
    (entry,) = await log_of(world)
    assert "webhooks may not reach" in entry["answer"]


@pytest.mark.parametrize(
    ("address", "permitted"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("10.1.2.3", True),  # allowed by name
        ("::ffff:10.1.2.3", True),
        ("10.2.0.1", False),
        ("192.168.0.1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("0.0.0.0", False),  # noqa: S104 - to be refused
        ("224.0.0.1", False),
        ("100.64.0.1", False),
    ],
)
def test_public_addresses_and_allowed_ones_are_permitted(address: str, permitted: bool) -> None:
    assert is_permitted(ip_address(address), [ip_network("10.1.0.0/16")]) is permitted


async def test_silenced_alerts_are_told_when_the_silence_ends(world: World) -> None:
    await channel(world, mailTo=["ops@example.com"])
    silence = {"until": (world.clock.now() + timedelta(hours=1)).isoformat(), "reason": "rebuild"}
    body = {"metadata": {"name": "now"}, "spec": silence | {"rule": "GatewaySilent"}}
    await world.ok("POST", "/v1/alertsilences", body)
    await silent_site(world)

    assert len(await firing(world)) == 1
    assert await log_of(world) == []
    world.forward(hours=1)
    assert len(await firing(world)) == 1
    (entry,) = await log_of(world)
    assert entry["attempts"] == 0
    over = {"metadata": {"name": "over"}, "spec": silence}
    assert "spec.until" in await world.faults("POST", "/v1/alertsilences", over)


async def test_an_acknowledged_alert_is_not_told(world: World) -> None:
    await channel(world, mailTo=["ops@example.com"])
    until = (world.clock.now() + timedelta(hours=1)).isoformat()
    body = {"metadata": {"name": "now"}, "spec": {"until": until, "reason": "rebuild"}}
    await world.ok("POST", "/v1/alertsilences", body)
    await silent_site(world)
    (alert,) = await firing(world)
    await world.ok("PUT", f"/v1/alerts/{alert['id']}/acknowledgement", {"note": "known"})
    world.forward(hours=1)
    (still,) = await firing(world)
    assert still["acknowledgedBy"] == "admin"
    assert await log_of(world) == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "https://",
        "https://user:pw@example.com/",
        "https://example.com/#x",
        "https://example.com/ x",
        "https://example.com:0/",
        "file:///etc/passwd",
    ],
)
async def test_only_web_addresses_are_taken(world: World, url: str) -> None:
    body = {"metadata": {"name": "chat"}, "spec": {"url": url}}
    assert await world.faults("POST", "/v1/alertchannels", body)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_mail_goes_out_over_verified_tls(world: World, tmp_path: Path, scheme: str) -> None:
    files = SelfMadeTLS(tmp_path / "mail", ["localhost"], SystemClock())
    (tmp_path / "mail").mkdir()
    made = files.ensure()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    password = tmp_path / "password"
    password.write_text("hunter2\n")
    async with mail_server(context, implicit=scheme == "smtps") as (port, mails):
        given = {
            "smtp": f"{scheme}://moorage@localhost:{port}",
            "smtp_from": "moorage@example.com",
            "smtp_password_file": str(password),
            "smtp_ca": str(made.ca),
            "alert_networks": [],
        }
        await channel(world, mailTo=["ops@example.com"])
        await silent_site(world)
        await firing(world)
        await send_due(world.hub.store, ways_of({**given, "smtp_ca": None}))
        (entry,) = await log_of(world)
        assert "certificate verify failed" in entry["answer"]
        assert mails == []

        world.forward(minutes=1)
        await send_due(world.hub.store, ways_of(given))

    (entry,) = await log_of(world)
    assert entry["deliveredAt"] is not None
    (mail,) = mails
    assert "Subject: [Moorage] firing: GatewaySilent Gateway site-1" in mail
    assert "To: ops@example.com" in mail


def test_settings_are_told_all_at_once() -> None:
    given = {
        "smtp": "http://mail",
        "smtp_from": None,
        "smtp_password_file": "/no/such",
        "smtp_ca": None,
        "alert_networks": ["10.0.0.1/8"],
    }
    with pytest.raises(InvalidError) as caught:
        ways_of(given)
    assert {fault.path for fault in caught.value.faults} == {
        "smtp",
        "smtp-from",
        "smtp-password-file",
        "alert-network",
    }


Post = tuple[dict[str, str], bytes]


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[Post], list[int]]]:
    """Serve HTTP on loopback; answers 200 unless told otherwise, one after the other."""
    posts: list[Post] = []
    answers: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (one.partition(":") for one in head[1:])}
        posts.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = answers.pop(0) if answers else 200
        where = "Location: http://127.0.0.1:1/\r\n"
        writer.write(f"HTTP/1.1 {status} X\r\n{where}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", posts, answers


@asynccontextmanager
async def mail_server(
    context: ssl.SSLContext, *, implicit: bool
) -> AsyncIterator[tuple[int, list[str]]]:
    """Take mails; speaks as much SMTP as a client needs."""
    mails: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = implicit
        say = _sayer(writer)
        await say("220 mail")
        while line := (await reader.readline()).decode().strip():
            match line.split()[0].upper():
                case "EHLO":
                    await say(
                        "250-mail\r\n250-AUTH PLAIN" if secure else "250-mail\r\n250-STARTTLS"
                    )
                    await say("250 OK")
                case "STARTTLS":
                    await say("220 go")
                    try:
                        await writer.start_tls(context)
                    except (ssl.SSLError, ConnectionError):
                        return  # the client does not trust us
                    secure = True
                case "AUTH":
                    await say("235 ok" if secure else "535 no")
                case "DATA":
                    await say("354 go")
                    mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                    await say("250 ok")
                case "QUIT":
                    await say("221 bye")
                    break
                case _:
                    await say("250 ok")
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context if implicit else None)
    async with server:
        yield server.sockets[0].getsockname()[1], mails


def _sayer(writer: asyncio.StreamWriter) -> Callable[[str], Awaitable[None]]:
    async def say(text: str) -> None:
        writer.write(f"{text}\r\n".encode())
        await writer.drain()

    return say
