"""A real hub behind TLS in a thread, a gateway that only answers, and the CLI in this process."""

import asyncio
import io
import os
import re
import shlex
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import httpx2
import pytest
import uvicorn
import yaml

from moorage.bootstrap import generate, sign_client
from moorage.cli.main import run
from moorage.hub.app import create_app
from moorage.hub.context import HubSettings
from moorage.hub.serve import TLSChoice
from moorage.hub.start import open_hub
from moorage.hub.tls import fingerprint
from moorage.kit.identity import PrivateIdentity, sealing_key_statement
from moorage.kit.net import ServerTrust
from moorage.kit.seal import PrivateSealingKey, SealedEnvelope
from moorage.resources import (
    Cluster,
    Machine,
    Operation,
    Resource,
    Secret,
)
from moorage.resources.cluster import KeyType
from moorage.resources.meta import GATEWAY_FINALIZER
from moorage.resources.operation import Verb
from moorage.store import SqlStore, open_store
from tests.builders import a_machine
from tests.clocks import ShiftedClock

T = TypeVar("T")
R = TypeVar("R", bound=Resource)

START_S = 60.0
GATEWAY = "site-a"
VCENTER_PASSWORD = "vcenter-pass-4711"
RECOVERY = "recovery.pem"

Mouth = Callable[[Operation], None]
"""Writes the answer of a gateway into an operation's status."""


class HubThread:
    """A hub as ``moorage-hub run`` makes it, in a thread with a loop of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.clock = ShiftedClock()
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._store: SqlStore | None = None
        self._server: uvicorn.Server | None = None
        self._started = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def store(self) -> SqlStore:
        assert self._store is not None
        return self._store

    def start(self) -> None:
        """Start, at the port of before if there was one."""
        self._started.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._started.wait(START_S), "the hub did not start"

    def stop(self) -> None:
        """Stop, as on SIGTERM."""
        if self._thread is None or self._server is None:
            return
        self._server.should_exit = True
        self._thread.join(START_S)
        assert not self._thread.is_alive(), "the hub did not stop"
        self._thread = None

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the hub's loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(START_S)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        tls = TLSChoice(self.data, ["127.0.0.1"], None, self.clock)
        files = tls.load()
        assert files.ca is not None
        url = f"sqlite:///{self.data}/hub.db"
        self._store = await open_store(url, clock=self.clock, exclusive=True)
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        settings = HubSettings(
            data=self.data,
            public_url=self.url,
            ca_certificate=files.ca.read_text(),
            ca_fingerprint=fingerprint(files.ca),
        )
        hub = await open_hub(self._store, settings, clock=self.clock)
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(hub),
                ssl_context_factory=lambda _config, _default: tls.context,  # type: ignore[arg-type,return-value]
                log_config=None,
                access_log=False,
                ws="websockets-sansio",
                timeout_graceful_shutdown=1,
            )
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell_when_up)
            await self._server.serve(sockets=[listener])
            hub.stopping.set()
            tasks.cancel_scope.cancel()
        await self._store.close()

    async def _tell_when_up(self) -> None:
        assert self._server is not None
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(0.01)
        self._started.set()


@dataclass
class Said:
    """What a run of the CLI gave."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Stdout as JSON or YAML."""
        return yaml.safe_load(self.out)


@dataclass
class World:
    """A hub, the CLI, and a gateway that answers what the test says."""

    hub: HubThread
    folder: Path
    identity: PrivateIdentity = field(default_factory=PrivateIdentity.generate)
    sealing: PrivateSealingKey = field(default_factory=PrivateSealingKey.generate)

    @property
    def config(self) -> Path:
        return self.folder / "cli" / "config.yaml"

    @property
    def ca(self) -> Path:
        return self.hub.data / "ca.crt"

    @property
    def admin_password(self) -> Path:
        return self.hub.data / "initial-admin-password"

    def cli(self, line: str, *more: str, stdin: str = "", tty: bool = False) -> Said:
        """Run the CLI in this process; ``tty`` makes stdin one."""
        out, err = io.StringIO(), io.StringIO()
        given = io.StringIO(stdin)
        given.isatty = lambda: tty  # type: ignore[method-assign]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MOORAGE_CONFIG", str(self.config))
            patch.delenv("COLUMNS", raising=False)
            patch.setattr(sys, "stdin", given)
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = run([*shlex.split(line), *more])
        return Said(code, out.getvalue(), err.getvalue())

    def ok(self, line: str, *more: str, **kwargs: Any) -> Said:
        """Run the CLI and insist on exit code 0."""
        said = self.cli(line, *more, **kwargs)
        assert said.code == 0, f"{line}: {said}"
        return said

    def refused(self, line: str, *more: str, code: int = 1, **kwargs: Any) -> str:
        """Run the CLI, insist on an exit code, and return what stderr says."""
        said = self.cli(line, *more, **kwargs)
        assert said.code == code, f"{line}: {said}"
        assert said.err.startswith("error: ") or code == 3, said
        return said.err

    def environment(self) -> dict[str, str]:
        """Return what a process of the CLI needs."""
        return {**os.environ, "MOORAGE_CONFIG": str(self.config)}

    def file(self, name: str, text: str) -> str:
        """Write a file and return its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def log_in(self, **more: str) -> None:
        """Log the administrator in, making the recovery key if there is none."""
        recovery = self.folder / RECOVERY
        extra = "" if recovery.exists() else f" --recovery-key-file {recovery}"
        self.ok(
            f"login {self.hub.url} --ca-file {self.ca} --password-file {self.admin_password}{extra}"
        )

    def enrol(self, gateway: str = GATEWAY, *, verb: str = "add", flags: str = "") -> None:
        """Let a gateway enrol with the command that the CLI prints."""
        command = self.ok(f"gateways {verb} {gateway} {flags} -o table").out
        match = re.search(r"--token (\S+)", command)
        assert match, command
        statement = sealing_key_statement(gateway, self.sealing.public().key_id)
        body = {
            "token": match.group(1),
            "gateway": gateway,
            "identityKey": self.identity.public().pem,
            "sealingKey": self.sealing.public().pem,
            "sealingKeySignature": self.identity.sign(statement),
            "version": "0.1.0",
        }
        trust = ServerTrust(ca_pem=self.ca.read_text()).context()
        with httpx2.Client(verify=trust) as http:
            answer = http.post(f"{self.hub.url}/v1/enroll", json=body)
        assert answer.status_code == 200, answer.text

    def site(self) -> None:
        """Make all that a cluster needs: login, gateway, account, IP pool."""
        self.log_in()
        self.enrol()
        password = self.file("vcenter-password", f"{VCENTER_PASSWORD}\n")
        self.ok(
            f"accounts add lab --gateway {GATEWAY} --server vc.example.com "
            f"--username moorage@vsphere.local --password-file {password} --insecure"
        )
        self.ok(
            f"ippools add nodes --gateway {GATEWAY} --start 10.77.1.10 --end 10.77.1.99 "
            "--prefix 16 --router 10.77.0.1 --name-server 10.77.0.1"
        )

    # ---- the gateway's hand

    def get(self, kind: type[R], name: str, project: str = "") -> R:
        """Read what the hub stores."""
        return self.hub.do(self.hub.store.get(kind, project, name))

    def opened(self, secret: str, context: dict[str, str]) -> bytes:
        """Open a secret as its gateway would."""
        stored = self.get(Secret, secret)
        return self.sealing.open(SealedEnvelope.model_validate(stored.spec.sealed), context)

    def condition(
        self, resource: R, status: str, reason: str, message: str = "", **fields: Any
    ) -> R:
        """Let the gateway say whether a resource is ready; ``fields`` go into its status."""

        async def write() -> R:
            found = await self.hub.store.get(type(resource), *resource.key)
            found.status.set_condition(
                "Ready", status, reason, message, now=self.hub.clock.now(),
                generation=found.metadata.generation,
            )  # fmt: skip
            found.status.observed_generation = found.metadata.generation
            for name, value in fields.items():
                setattr(found.status, name, value)
            await self.hub.store.put_status(found)
            return await self.hub.store.get(type(resource), *resource.key)

        return self.hub.do(write())

    def ready(self, resource: R, **fields: Any) -> R:
        """Let the gateway say that a resource is ready."""
        return self.condition(resource, "True", "Done", **fields)

    def machine(
        self, cluster: str = "demo", pool: str | None = "workers", **status: Any
    ) -> Machine:
        """Let the gateway make a machine of a cluster."""
        owner = self.get(Cluster, cluster, "default")
        new = a_machine(f"{cluster}-{pool or 'cp'}-{os.urandom(5).hex()}", cluster=cluster)
        new.spec.pool = pool
        new.metadata.labels = {"moorage.dev/cluster": cluster}
        new.metadata.owner = owner.owner()
        new.metadata.route, new.metadata.created_at = GATEWAY, None
        for name, value in status.items():
            setattr(new.status, name, value)
        return self.hub.do(self.hub.store.create(new))

    def let_go(self, kind: type[R], name: str, project: str = "") -> None:
        """Let the gateway take its finalizer off what is being deleted."""

        async def release() -> None:
            found = await self.hub.store.get(kind, project, name)
            await self.hub.store.remove_finalizer(found, GATEWAY_FINALIZER)

        self.hub.do(release())

    def meanwhile(self, what: Callable[[], None], *, after_s: float = 0.3) -> threading.Thread:
        """Do something while the CLI waits."""

        def later() -> None:
            threading.Event().wait(after_s)
            what()

        thread = threading.Thread(target=later)
        thread.start()
        return thread

    def answering(self, mouth: Mouth) -> "Answering":
        """Answer operations while the block runs."""
        return Answering(self.hub, mouth)


class Answering:
    """The gateway's controller of operations, for as long as a test needs it."""

    def __init__(self, hub: HubThread, mouth: Mouth) -> None:
        self._hub, self._mouth = hub, mouth
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.seen: list[Operation] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.wait(0.05):
            self._hub.do(self._look())

    async def _look(self) -> None:
        for operation in await self._hub.store.list(Operation):
            if operation.status.completed_at is None:
                self.seen.append(operation)
                self._mouth(operation)
                operation.status.completed_at = self._hub.clock.now()
                with suppress(Exception):
                    await self._hub.store.put_status(operation)


def signing(endpoint: str = "10.77.1.10:6443") -> Mouth:
    """Return a gateway that signs kubeconfigs with a CA of its own."""
    keys = generate(KeyType.P256, "demo", datetime.now(UTC))

    def answer(operation: Operation) -> None:
        assert operation.spec.verb is Verb.KUBECONFIG
        arguments = operation.spec.arguments
        signed = sign_client(
            keys, arguments["csr"], "admin", ("admins",),
            timedelta(seconds=arguments["ttlSeconds"]), now=datetime.now(UTC),
        )  # fmt: skip
        operation.status.result = {
            "certificate": signed.certificate,
            "ca": keys.ca.certificate,
            "server": f"https://{endpoint}",
        }

    return answer


def a_document(name: str = "demo", **spec: Any) -> str:
    """Return a cluster document in YAML with static addresses and one worker."""
    return yaml.safe_dump(
        {
            "kind": "Cluster",
            "metadata": {"name": name, "labels": {"env": name}},
            "spec": {
                "account": "lab",
                "kubernetesVersion": "v1.34.4",
                "placement": {
                    "datacenter": "dc1",
                    "folder": "clusters",
                    "template": "templates/ubuntu",
                    "failureDomains": [
                        {
                            "name": "a",
                            "computeCluster": "cc1",
                            "datastore": "ds1",
                            "network": "nodes",
                            "ipPool": "nodes",
                        }
                    ],
                },
                **spec,
            },
            "nodePools": [{"name": "workers", "replicas": 1}],
        }
    )
