"""Replicas of one version give way to those of the next, while people write: nothing is lost."""

import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx2
import pytest

from moorage.hub.tls import SelfMadeTLS
from moorage.kit.clock import SystemClock
from tests.api.test_process import client, free_port

pytestmark = [pytest.mark.postgres, pytest.mark.enable_socket, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "c20c23b678d948028adacca9ce68ab58a7383af2"
"""The version before this one: a commit, until there is a release with a tag."""
PATIENCE_S = 120.0


class Replica:
    """One process of a hub, of either version."""

    def __init__(self, source: Path | None, data: Path, database: str, tls: Path) -> None:
        self.port, self.data = free_port(), data
        data.mkdir()
        command = [sys.executable, "-m", "moorage.hub", "run", "--data", str(data)]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        command += ["--tls-cert", str(tls / "server.pem"), "--tls-key", str(tls / "server-key.pem")]
        environment = {**os.environ, "MOORAGE_HUB_DATABASE": database}
        if source is not None:
            environment["PYTHONPATH"] = str(source)
        with (data / "log").open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def wait_until_ready(self, ca: Path) -> None:
        deadline = time.monotonic() + PATIENCE_S
        with client(self.port, ca) as http:
            while time.monotonic() < deadline:
                assert self.process.poll() is None, (self.data / "log").read_text()[-4000:]
                try:
                    if http.get("/readyz").status_code == 200:
                        return
                except httpx2.TransportError:
                    pass
                time.sleep(0.1)
        pytest.fail(f"not ready: {(self.data / 'log').read_text()[-4000:]}")

    def stop(self) -> None:
        """End it in order, as Kubernetes does."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)


class Writers:
    """People who write all the time, through whatever replica serves just then."""

    def __init__(self, ca: Path, token: str) -> None:
        self.serving: list[int] = []
        self.made: list[str] = []
        self.faults: list[str] = []
        self._ca, self.token = ca, token
        self._over = threading.Event()
        self._count = 0
        self._lock = threading.Lock()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(PATIENCE_S)

    def wait_for_more(self, count: int = 10) -> None:
        wanted, deadline = len(self.made) + count, time.monotonic() + PATIENCE_S
        while len(self.made) < wanted:
            assert time.monotonic() < deadline, f"nothing is written: {self.faults[-3:]}"
            assert not self.faults, self.faults
            time.sleep(0.05)

    def _work(self) -> None:
        while not self._over.is_set():
            with self._lock:
                self._count += 1
                name = f"p{self._count}"
            self._create(name)

    def _create(self, name: str) -> None:
        """Create a project; as often as a replica that goes cuts the connection, at another."""
        deadline, cut = time.monotonic() + PATIENCE_S, False
        while time.monotonic() < deadline:
            port = self.serving[hash((name, time.monotonic_ns())) % len(self.serving)]
            try:
                with client(port, self._ca) as http:
                    http.headers["Authorization"] = f"Bearer {self.token}"
                    answer = http.post("/v1/projects", json={"metadata": {"name": name}})
            except httpx2.TransportError:
                cut = True
                continue
            if answer.status_code == 201 or (cut and answer.status_code == 409):
                self.made.append(name)
            else:
                self.faults.append(f"{name}: {answer.status_code} {answer.text}")
            return
        self.faults.append(f"{name}: no replica answered")


def source_before(folder: Path) -> Path:
    """Take the version before this one out of the repository's history."""
    done = subprocess.run(
        ["git", "archive", BEFORE, "src/moorage"], cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"the history does not reach back to {BEFORE[:7]}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def log_in(replicas: list[Replica], ca: Path) -> str:
    """Log in as the first administrator, whose password one of the replicas made."""
    for replica in replicas:
        file = replica.data / "initial-admin-password"
        if not file.exists():
            continue
        with client(replica.port, ca) as http:
            body = {"username": "admin", "password": file.read_text().strip()}
            answer = http.post("/v1/login", json=body)
            if answer.status_code == 200:
                token: str = answer.json()["token"]
                return token
    pytest.fail("no replica has the password")


def test_replicas_give_way_to_the_next_version_under_load(
    postgres_url: str, tmp_path: Path
) -> None:
    old_source = source_before(tmp_path / "before")
    files = SelfMadeTLS(tmp_path, ["localhost"], SystemClock()).ensure()
    assert files.ca is not None
    tls, ca = files.certificate.parent, files.ca
    replicas: list[Replica] = []

    def start(source: Path | None) -> Replica:
        replica = Replica(source, tmp_path / f"replica{len(replicas)}", postgres_url, tls)
        replicas.append(replica)
        replica.wait_until_ready(ca)
        return replica

    try:
        old = [start(old_source), start(old_source)]
        writers = Writers(ca, log_in(old, ca))
        writers.serving = [one.port for one in old]
        with writers.at_work():
            writers.wait_for_more()
            for leaving in old:  # as the chart's rolling update: a new one first
                coming = start(None)
                writers.serving = [*writers.serving, coming.port]
                writers.wait_for_more()
                writers.serving = [port for port in writers.serving if port != leaving.port]
                leaving.stop()
                writers.wait_for_more()
        assert writers.faults == []
        with client(writers.serving[0], ca) as http:
            # The session was made by the old version.
            http.headers["Authorization"] = f"Bearer {writers.token}"
            found = names(http)
        assert set(writers.made) <= found
        assert len(writers.made) == len(set(writers.made))
    finally:
        for replica in replicas:
            replica.process.kill()
            replica.process.wait(PATIENCE_S)


def names(http: httpx2.Client) -> set[str]:
    """Return the names of all projects, page by page."""
    found: set[str] = set()
    params: dict[str, str] = {"limit": "100"}
    while True:
        page = http.get("/v1/projects", params=params).raise_for_status().json()
        found |= {item["metadata"]["name"] for item in page["items"]}
        if not page.get("continue"):
            return found
        params["continue"] = page["continue"]
