"""The hub with 10,000 clusters: pages, watchers, statuses; on SQLite and on PostgreSQL.

The clusters are put into the database behind the hub's back; the gateway that tells of a thousand
of them is a played one (``bench.played``), so that what is measured is the hub.
"""

import itertools
import json
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TypeVar

import anyio
import anyio.to_thread
import httpx2
import psycopg
from sqlalchemy import insert, update

from bench.api import Api
from bench.played import PlayedGateway, playing, until_quiet
from bench.process import Memory, cpu_seconds
from bench.result import Report, say
from bench.system import System
from moorage.kit.ids import new_uid
from moorage.resources import Assignment, Cluster, NodePool, Resource
from moorage.store import codec, open_store, tables
from moorage_lab.api import cluster_document
from tests.postgres import NoPostgresError, postgres_server

CLUSTERS = 10_000
BUSY = 1_000
"""Clusters whose gateway tells of changes while pages are asked for."""
BUSY_PERIOD_S = 10.0
"""Each of them changes once in that time."""
PAGES = 300
CREATED = 2
WORKERS = 2
"""Of each cluster: one pool cannot hold the addresses of more."""
SELECTOR = "tier=t3"
"""Matches a tenth of all."""
PAGE_P99_MS = 100.0
WATCHERS, WATCHED_CHANGES = 100, 20
STATUSES = 2_000
PROJECT = "default"
_BATCH = 500
# Addresses of loopback for all of them: nobody listens there.
_POOL = {"start": "127.64.1.10", "end": "127.64.255.250", "prefix": 12, "router": "127.64.0.1"}


def on_sqlite(report: Report) -> None:
    """Measure on SQLite, in the hub's own folder."""
    _measure(report, "SQLite", None)


def on_postgresql(report: Report) -> None:
    """Measure on a PostgreSQL server of our own, if the programs are there."""
    try:
        with _postgres() as url:
            _measure(report, "PostgreSQL", url)
    except NoPostgresError as missing:
        say(f"hub on PostgreSQL is left out: {missing}")


@contextmanager
def _postgres() -> Iterator[str]:
    with postgres_server() as urls:
        admin = urls.format("postgres").replace("+psycopg", "")
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("CREATE DATABASE hub")
        yield urls.format("hub")


def _measure(report: Report, database: str, url: str | None) -> None:
    case = f"hub, {CLUSTERS} clusters, {database}"
    say(case)
    with System.start(database=url) as system:
        system.add_account()
        system.add_pool(_POOL)
        system.stop(system.gateway)
        api = Api.login(system.url, system.folder / "hub")
        path = f"/v1/projects/{PROJECT}/clusters/pattern"
        document = cluster_document("pattern", workers=WORKERS)
        api.http.put(path, json=document).raise_for_status()
        system.stop(system.hub)
        begun = time.monotonic()
        clusters = anyio.run(_seed, url or f"sqlite:///{system.folder}/hub/hub.db")
        say(f"{case}: seeded in {time.monotonic() - begun:.0f} s")
        system.start_hub()
        report.add_machine(case)
        report.add(case, "start on that database", system.seconds["moorage-hub"], "s")
        anyio.run(_load, report, case, system, clusters)
        report.add(case, "hub RSS", Memory.of(system.hub.pid).rss, "MiB")


async def _seed(url: str) -> list[Cluster]:
    """Make copies of the cluster that was asked for, with all that came with it, in bulk."""
    store = await open_store(url, exclusive=True)
    try:
        pattern = await store.get(Cluster, PROJECT, "pattern")
        pools = await store.list(NodePool, project=PROJECT)
        assignments = [
            one for one in await store.list(Assignment) if one.spec.subject_name == "pattern"
        ]
        names = [f"cluster-{n:05}" for n in range(CLUSTERS - 1)]
        clusters = [
            _copy(pattern, name, labels={"tier": f"t{n % 10}", "team": f"team-{n % 100}"})
            for n, name in enumerate(names)
        ]
        others = [
            _copy(one, cluster.metadata.name, owner=cluster)
            for cluster in clusters
            for one in (*pools, *assignments)
        ]
        async with store.writing(ordered=True) as unit:
            version = await store.version() + 1
            rows = [
                codec.values(codec.encode(one, resource_version=at, spec_version=at))
                for at, one in enumerate((*clusters, *others), version)
            ]
            for first in range(0, len(rows), _BATCH):
                await unit.execute(insert(tables.resource), rows[first : first + _BATCH])
            await unit.execute(update(tables.sequence).values(value=version + len(rows)))
        return clusters
    finally:
        await store.close()


R = TypeVar("R", bound=Resource)


def _copy(
    pattern: R, name: str, *, labels: dict[str, str] | None = None, owner: Cluster | None = None
) -> R:
    """Return the same for another cluster."""
    uid = new_uid()
    text = pattern.model_dump_json()
    text = text.replace('"pattern', f'"{name}').replace(pattern.metadata.uid, uid)
    if owner is not None and (old := pattern.metadata.owner) is not None:
        text = text.replace(old.uid, owner.metadata.uid)
    copy = type(pattern).model_validate_json(text)
    copy.metadata.labels |= labels or {}
    return copy


async def _load(report: Report, case: str, system: System, clusters: list[Cluster]) -> None:
    begun = time.monotonic()
    async with playing(system.folder / "gateway") as gateway:
        last = await until_quiet(gateway)
        report.add(case, "a new gateway gets all its intents", last - begun, "s")
        await _pages(report, case, system, gateway, clusters)
        await _watchers(report, case, system, gateway, clusters)
        await _ingest(report, case, system, gateway, clusters)
        if gateway.rejected:
            raise SystemExit(f"the hub refused {len(gateway.rejected)}: {gateway.rejected[0]}")


async def _pages(
    report: Report, case: str, system: System, gateway: PlayedGateway, clusters: list[Cluster]
) -> None:
    made = await anyio.to_thread.run_sync(_create, system)
    report.add(
        case, f"a cluster is asked for: median of {len(made)}", statistics.median(made), "ms"
    )
    quiet = await anyio.to_thread.run_sync(_ask_pages, system)
    _add_times(report, case, f"page of 100 by label, quiet, of {PAGES}", quiet, None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_keep_telling, gateway, clusters[:BUSY])
        await anyio.sleep(2)
        told, begun = gateway.acknowledged, time.monotonic()
        busy = await anyio.to_thread.run_sync(_ask_pages, system)
        rate = (gateway.acknowledged - told) / (time.monotonic() - begun)
        tasks.cancel_scope.cancel()
    name = f"page of 100 by label, {BUSY} reconcile, of {PAGES}"
    budget = PAGE_P99_MS if case.endswith("SQLite") else None  # as the design has it
    _add_times(report, case, name, busy, budget)
    report.add(case, "statuses that came meanwhile", rate, "a second")


def _create(system: System) -> list[float]:
    """Ask for a few more clusters."""
    api = Api.login(system.url, system.folder / "hub")
    times: list[float] = []
    for n in range(CREATED):
        document = cluster_document(f"more-{n}", workers=WORKERS)
        begun = time.monotonic()
        api.http.put(f"/v1/projects/{PROJECT}/clusters/more-{n}", json=document).raise_for_status()
        times.append(1000 * (time.monotonic() - begun))
    return times


def _add_times(
    report: Report, case: str, what: str, times_ms: list[float], budget: float | None
) -> None:
    ordered = sorted(times_ms)
    report.add(case, f"{what}: median", statistics.median(ordered), "ms")
    report.add(case, f"{what}: p99", ordered[int(0.99 * (len(ordered) - 1))], "ms", budget)


def _ask_pages(system: System) -> list[float]:
    """Ask for page after page of those that match, around and around."""
    api = Api.login(system.url, system.folder / "hub")
    times: list[float] = []
    after: str | None = None
    while len(times) < PAGES:
        params = {"limit": "100", "labelSelector": SELECTOR}
        params |= {"continue": after} if after else {}
        begun = time.monotonic()
        page = api.http.get(f"/v1/projects/{PROJECT}/clusters", params=params)
        times.append(1000 * (time.monotonic() - begun))
        found = page.raise_for_status().json()
        after = found.get("continue")
        if not found["items"]:
            raise SystemExit(f"no cluster matches {SELECTOR}")
    return times


async def _keep_telling(gateway: PlayedGateway, clusters: list[Cluster]) -> None:
    """Tell of every cluster once in each period, in tenths of a second."""
    share = max(1, int(len(clusters) / BUSY_PERIOD_S / 10))
    due = time.monotonic()
    for turn, start in enumerate(itertools.cycle(range(0, len(clusters), share))):
        batch = clusters[start : start + share]
        await gateway.tell(_changed(cluster, turn) for cluster in batch)
        due += 0.1
        await anyio.sleep(max(0.0, due - time.monotonic()))


def _changed(cluster: Cluster, turn: int) -> Cluster:
    """Return the cluster as it might be a moment later."""
    status = cluster.status
    status.nodes, status.nodes_ready = 4, turn % 5
    status.observed_generation = cluster.metadata.generation
    now = datetime.now(UTC)
    for type_ in ("EndpointReady", "ControlPlaneReady", "LayersApplied", "NodesReady"):
        status.set_condition(type_, "False", "WaitingForNodes", f"{turn % 5} of 4", now=now)
    return cluster


async def _ingest(
    report: Report, case: str, system: System, gateway: PlayedGateway, clusters: list[Cluster]
) -> None:
    before, begun = cpu_seconds(system.hub.pid), time.monotonic()
    told = itertools.islice(itertools.cycle(clusters[:BUSY]), STATUSES)
    last = await gateway.tell([_changed(one, 7 * n).copy_deep() for n, one in enumerate(told)])
    await gateway.until_acknowledged(last)
    seconds = time.monotonic() - begun
    report.add(case, "status ingest", STATUSES / seconds, "a second")
    used = 1000 * (cpu_seconds(system.hub.pid) - before) / STATUSES
    report.add(case, "CPU of hub for a status", used, "ms")


async def _watchers(
    report: Report, case: str, system: System, gateway: PlayedGateway, clusters: list[Cluster]
) -> None:
    """Change one cluster after the other; see when the last of all watchers has heard."""
    heard: dict[str, int] = {}
    news = anyio.Event()

    async def follow(http: httpx2.AsyncClient, since: int, ready: list[int]) -> None:
        nonlocal news
        async for line in _stream(http, since):
            if line == "open":
                ready.append(1)
            elif line in heard:
                heard[line] += 1
            news.set()
            news = anyio.Event()

    async with _client(system) as http, anyio.create_task_group() as tasks:
        page = (await http.get(f"/v1/projects/{PROJECT}/clusters?limit=1")).raise_for_status()
        since = int(page.json()["resourceVersion"])
        ready: list[int] = []
        for _ in range(WATCHERS):
            tasks.start_soon(follow, http, since, ready)
        while len(ready) < WATCHERS:
            await news.wait()
        times: list[float] = []
        for turn, cluster in enumerate(clusters[BUSY : BUSY + WATCHED_CHANGES]):
            name = cluster.metadata.name
            heard[name] = 0
            begun = time.monotonic()
            await gateway.tell([_changed(cluster, turn)])
            while heard[name] < WATCHERS:
                await news.wait()
            times.append(1000 * (time.monotonic() - begun))
        tasks.cancel_scope.cancel()
    what = f"a change reaches the last of {WATCHERS} watchers"
    report.add(case, f"{what}: median", statistics.median(times), "ms")
    report.add(case, f"{what}: longest of {WATCHED_CHANGES}", max(times), "ms")


@asynccontextmanager
async def _client(system: System) -> AsyncIterator[httpx2.AsyncClient]:
    api = await anyio.to_thread.run_sync(Api.login, system.url, system.folder / "hub")
    tls = ssl.create_default_context(cafile=f"{system.folder}/hub/ca.crt")
    limits = httpx2.Limits(max_connections=WATCHERS + 5)
    async with httpx2.AsyncClient(
        base_url=system.url, verify=tls, trust_env=False, timeout=120, limits=limits,
        headers={"Authorization": api.http.headers["Authorization"]},
    ) as http:  # fmt: skip
        yield http


async def _stream(http: httpx2.AsyncClient, since: int) -> AsyncIterator[str]:
    """Yield ``open`` once, then the name of each cluster that changed."""
    params = {"watch": "true", "resourceVersion": str(since)}
    path = f"/v1/projects/{PROJECT}/clusters"
    async with http.stream("GET", path, params=params) as answer:
        answer.raise_for_status()
        is_open = False
        async for line in answer.aiter_lines():
            if not line.startswith("data:"):
                continue
            event = json.loads(line[5:])
            if event["type"] == "BOOKMARK":
                if not is_open:
                    is_open = True
                    yield "open"
                continue
            yield event["object"]["metadata"]["name"]
