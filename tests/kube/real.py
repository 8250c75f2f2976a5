"""A real kube-apiserver with a real etcd on the loopback, from the binaries that the lab built."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2

from moorage.bootstrap import ClusterPKI
from moorage.kit.errors import MoorageError
from moorage.kube import KubeClient

from .certificates import a_pki, credentials_of, write_server_certificate

_START_S = 60


def find_program(name: str) -> str | None:
    """Return a program's path: installed, or built for the lab's node image."""
    found = shutil.which(name)
    cache = Path(os.environ.get("MOORAGE_CACHE") or Path.home() / ".cache/moorage")
    built = sorted(cache.glob(f"node-part-*/*/{name}"), key=lambda path: path.stat().st_mtime)
    return found or (str(built[-1]) if built else None)


HAS_PROGRAMS = all(find_program(name) for name in ("etcd", "kube-apiserver"))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@dataclass
class ApiServer:
    """A control plane without controllers and nodes."""

    url: str
    pki: ClusterPKI

    def client(self) -> KubeClient:
        return KubeClient(self.url, credentials_of(self.pki))

    def http(self, token: str) -> httpx2.AsyncClient:
        """Speak to it as a joining machine does: with the CA and a bootstrap token."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pki.ca.certificate)
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.AsyncClient(
            base_url=self.url, verify=context, headers=headers, trust_env=False
        )


@contextmanager
def a_real_server(directory: Path) -> Iterator[ApiServer]:
    """Run both programs as long as the block lasts."""
    pki = a_pki("real")
    certificate, key = write_server_certificate(pki, directory)
    for name, text in {
        "ca.crt": pki.ca.certificate,
        "sa.pub": pki.service_account.certificate,
        "sa.key": pki.service_account.key,
    }.items():
        (directory / name).write_text(text)
    etcd_port, peer_port, api_port = free_port(), free_port(), free_port()
    etcd = [
        f"--data-dir={directory}/etcd",
        f"--listen-client-urls=http://127.0.0.1:{etcd_port}",
        f"--advertise-client-urls=http://127.0.0.1:{etcd_port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        "--unsafe-no-fsync",
    ]
    api = [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={api_port}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--client-ca-file={directory}/ca.crt",
        "--enable-bootstrap-token-auth",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={directory}/sa.pub",
        f"--service-account-signing-key-file={directory}/sa.key",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
    ]
    server = ApiServer(f"https://127.0.0.1:{api_port}", pki)
    running = [_start("etcd", etcd, directory), _start("kube-apiserver", api, directory)]
    try:
        anyio.run(_wait_until_ready, server, running, directory)
        yield server
    finally:
        # Nothing of it is kept, and a graceful end would take the API server 17 s.
        for process in running:
            process.kill()
        for process in running:
            process.wait(10)


def _start(name: str, arguments: list[str], directory: Path) -> subprocess.Popen[bytes]:
    program = find_program(name)
    assert program is not None
    with (directory / f"{name}.log").open("wb") as log:
        return subprocess.Popen([program, *arguments], stdout=log, stderr=log)


async def _wait_until_ready(
    server: ApiServer, running: list[subprocess.Popen[bytes]], directory: Path
) -> None:
    deadline = time.monotonic() + _START_S
    async with server.client() as client:
        while True:
            try:
                await client.ready()
            except MoorageError as error:
                if time.monotonic() > deadline or any(p.poll() is not None for p in running):
                    log = (directory / "kube-apiserver.log").read_text()[-2000:]
                    raise AssertionError(f"{error}\n{log}") from error
                await anyio.sleep(0.2)
            else:
                return
