"""The real ``moorage-gateway`` as a process beside the real hub, over TLS on loopback."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx2
import pytest

from moorage.auth import hash_secret, new_enrolment_token
from moorage.hub.app import create_app
from moorage.hub.context import Hub, HubSettings
from moorage.hub.start import open_hub
from moorage.kit.clock import SystemClock
from moorage.kit.seal import PrivateSealingKey
from moorage.resources import Gateway, IPPool, Metadata
from moorage.store import SqlStore, access, open_store

from .pki import Pair, make, server_context
from .world import Served, a_pool, serve_app, until

pytestmark = pytest.mark.timeout(240)

STARTS_S = 60.0
STOPS_S = 10.0


@dataclass
class Site:
    hub: Hub
    store: SqlStore
    served: Served
    ca: Pair
    folder: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.served.port}"

    @property
    def data(self) -> Path:
        return self.folder / "gw"

    async def token(self) -> str:
        token = new_enrolment_token("gw1").text
        expires_at = SystemClock().now() + timedelta(hours=1)
        await access.add_enrolment_token(
            self.store, gateway="gw1", hash_=hash_secret(token), expires_at=expires_at
        )
        return token

    @asynccontextmanager
    async def command(self, *words: str) -> AsyncIterator[anyio.abc.Process]:
        arguments = [sys.executable, "-m", "moorage.gateway", *words, "--data", str(self.data)]
        environment = {
            key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")
        }
        log = self.folder / "gateway.log"
        with log.open("ab") as stderr:
            process = await anyio.open_process(arguments, env=environment, stderr=stderr)
            try:
                yield process
            finally:
                if process.returncode is None:
                    process.kill()
                with anyio.CancelScope(shield=True):
                    await process.wait()

    async def call(self, *words: str) -> tuple[int, str]:
        async with self.command(*words) as process:
            assert process.stdout is not None
            out = b"".join([part async for part in process.stdout])
            return await process.wait(), out.decode()

    def errors(self) -> str:
        return (self.folder / "gateway.log").read_text()

    async def enroll(self) -> None:
        token = await self.token()
        code, _ = await self.call(
            "enroll", "--hub", self.url, "--token", token, "--hub-fingerprint", self.ca.sha256
        )
        assert code == 0, self.errors()

    async def connected(self, *, value: bool) -> Gateway:
        async def look() -> Gateway | None:
            found = await self.store.get(Gateway, "", "gw1")
            return found if found.status.connected is value else None

        return await until(self.store, look, patience_s=STARTS_S)

    async def released(self, pool: IPPool) -> None:
        async def look() -> bool | None:
            return await self.store.find_uid(IPPool, pool.metadata.uid) is None or None

        await until(self.store, look, patience_s=STARTS_S)


@asynccontextmanager
async def a_site(folder: Path) -> AsyncIterator[Site]:
    ca = make("hub CA")
    tls = server_context(folder, make("hub", ca), ca)
    store = await open_store(f"sqlite:///{folder}/hub.db", exclusive=True)
    try:
        hub = await open_hub(store, HubSettings(data=folder))
        await store.set_value("recovery-key", PrivateSealingKey.generate().public().pem)
        await store.create(Gateway(metadata=Metadata(name="gw1")))
        async with serve_app(create_app(hub), tls=tls) as served:
            yield Site(hub, store, served, ca, folder)
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()


async def test_enrol_run_stop(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.enroll()
        gateway = await site.store.get(Gateway, "", "gw1")
        code, shown = await site.call("fingerprint")
        assert (code, shown.strip()) == (0, gateway.status.fingerprint)

        async with site.command("run", "--health", "127.0.0.1:0") as process:
            await site.connected(value=True)
            pool = await site.store.create(a_pool())
            with anyio.fail_after(STARTS_S):
                await _seen(site, pool)
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(STOPS_S):
                assert await process.wait() == 0, site.errors()
            await site.connected(value=False)


async def _seen(site: Site, pool: IPPool) -> None:
    """Wait until the gateway's own controller has counted the pool's addresses."""

    async def counted() -> IPPool | None:
        found = await site.store.get(IPPool, "", pool.metadata.name)
        return found if found.status.total > 0 else None

    await until(site.store, counted, patience_s=STARTS_S)


async def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.enroll()
        pools = [await site.store.create(a_pool(f"p-{number}")) for number in range(20)]
        for _ in range(2):
            async with site.command("run", "--health", "off") as process:
                await site.connected(value=True)
                process.kill()
            await site.connected(value=False)
        async with site.command("run", "--health", "off"):
            for pool in pools:
                await _seen(site, pool)
            for pool in pools:
                await site.store.request_deletion(IPPool, "", pool.metadata.name)
            for pool in pools:
                await site.released(pool)


async def test_two_processes_do_not_share_a_data_directory(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.enroll()
        async with site.command("run", "--health", "off"):
            await site.connected(value=True)
            code, _ = await site.call("run", "--health", "off")
        assert code == 1
        assert "another process works with this database" in site.errors()


async def test_a_token_is_good_for_one_gateway_and_may_be_repeated_by_it(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        token = await site.token()
        words = ("enroll", "--hub", site.url, "--token", token, "--hub-fingerprint", site.ca.sha256)
        assert (await site.call(*words))[0] == 0
        (site.data / "gateway.json").unlink()  # the answer was lost
        assert (await site.call(*words))[0] == 0
        for file in site.data.iterdir():
            file.unlink()
        assert (await site.call(*words))[0] == 1
        assert "answered 401" in site.errors()
        assert token.partition(".")[2] not in site.errors()


async def test_health_page_tells_of_the_link(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.enroll()
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        port = listener.extra_attributes[anyio.abc.SocketAttribute.local_port]()
        address = f"127.0.0.1:{port}"
        code, _ = await site.call("run", "--health", address)
        assert code == 1
        assert f"cannot listen on {address}" in site.errors()
        await listener.aclose()
        (site.data / "config.yaml").write_text(f"health: {address}\n")
        async with site.command("run"), httpx2.AsyncClient(trust_env=False) as http:
            await site.connected(value=True)

            async def told() -> dict[str, Any] | None:  # a moment after the hub knows
                page: dict[str, Any] = (await http.get(f"http://{address}/healthz")).json()
                return page if page["link"]["state"] == "Connected" else None

            found = await until(site.store, told)
            metrics = (await http.get(f"http://{address}/metrics")).text
            code, shown = await site.call("status")
        assert found["fingerprint"] == (await site.store.get(Gateway, "", "gw1")).status.fingerprint
        assert "moorage_link_connected 1.0" in metrics
        assert (code, json.loads(shown)["gateway"]) == (0, "gw1")
        code, _ = await site.call("status")
        assert code == 1
        assert "no gateway answers" in site.errors()


async def test_a_changed_recovery_key_is_refused_and_shown_at_the_hub(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.enroll()
        async with site.command("run", "--health", "off"):
            # Its own work shows that the key is pinned: that comes before it, `connected` does not.
            await _seen(site, await site.store.create(a_pool()))
        await site.connected(value=False)
        await site.store.set_value("recovery-key", PrivateSealingKey.generate().public().pem)

        async def refused() -> Gateway | None:
            found = await site.store.get(Gateway, "", "gw1")
            claim = found.status.condition("RecoveryKeyAccepted")
            return found if claim is not None and claim.status == "False" else None

        async with site.command("run", "--health", "off"):
            await until(site.store, refused, patience_s=STARTS_S)
        assert (await site.call("forget-recovery-key"))[0] == 0
