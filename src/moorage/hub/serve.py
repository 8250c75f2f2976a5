"""Run the hub: TLS, uvicorn, renewal of the certificate, an orderly end."""

import asyncio
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import structlog
import uvicorn

from moorage import __version__
from moorage.engine.metrics import BUILD
from moorage.hub.alerting.sending import Ways
from moorage.hub.app import create_app
from moorage.hub.context import Hub, HubSettings
from moorage.hub.listen import REQUESTS_PER_MINUTE, Listen
from moorage.hub.punctual import PunctualProtocol
from moorage.hub.start import open_hub
from moorage.hub.tls import SelfMadeTLS, TLSFiles, fingerprint, load_certificate, server_context
from moorage.kit.clock import Clock, SystemClock
from moorage.kit.errors import InvalidError
from moorage.kit.process import one_error, settle
from moorage.link.frames import MAX_MESSAGE_BYTES
from moorage.store import SqlStore, open_store

log = structlog.get_logger(__name__)

_REMEDY = (
    "stop the hub, keep this file, and restore the last backup into a new directory with "
    "`moorage-hub restore`; gateways and clusters go on meanwhile, and say afterwards what they "
    "know better"
)
RENEWAL_CHECK = timedelta(hours=6)
GRACE_S = 5
"""How long requests may take to end when the hub stops; streams end at once."""
MAX_CONNECTIONS = 4096


class TLSChoice:
    """Where the server's certificate comes from: the hub's own CA, or files that were given."""

    def __init__(
        self, data: Path, names: list[str], given: tuple[Path, Path] | None, clock: Clock
    ) -> None:
        self._given = given
        self._self_made = SelfMadeTLS(data, names, clock)
        self._loaded = b""
        self.context: ssl.SSLContext | None = None

    def files(self) -> TLSFiles:
        """Return the files, made or renewed if they are ours to make."""
        if self._given is not None:
            return TLSFiles(self._given[0], self._given[1], None)
        return self._self_made.ensure()

    def load(self) -> TLSFiles:
        """Load what is newest into the context: connections made from now on use it."""
        files = self.files()
        try:
            content = files.certificate.read_bytes()
        except OSError as error:
            raise InvalidError(f"cannot read {files.certificate}: {error.strerror}") from error
        if self.context is None:
            self.context = server_context(files)
        elif content != self._loaded:
            load_certificate(self.context, files)
            log.info("server certificate loaded anew", file=str(files.certificate))
        self._loaded = content
        return files


class _Server(uvicorn.Server):
    """uvicorn that lets the hub's streams end before it waits for connections."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT.

        uvicorn raises the signal once more when it has ended, which would kill the process
        before the database is closed.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        self._hub.stopping.set()
        self.handle_exit(number, None)


async def serve(
    *,
    data: Path,
    listen: Listen,
    database: str,
    tls: TLSChoice,
    public_url: str,
    proxies: list[str],
    admin_password_file: Path | None = None,
    audit_kept_for: timedelta | None,
    requests_per_minute: int = REQUESTS_PER_MINUTE,
    ways: Ways,
) -> None:
    """Serve until told to stop; raises ``MoorageError`` when it cannot begin."""
    clock = SystemClock()
    listener = listen.bind()
    files = tls.load()
    settings = HubSettings(
        data=data,
        public_url=public_url,
        admin_password_file=admin_password_file,
        certificate=None if files.ca else files.certificate,
        ways=ways,
        audit_kept_for=audit_kept_for,
        requests_per_minute=requests_per_minute,
    )
    if files.ca is not None:
        settings = replace(
            settings,
            ca_certificate=files.ca.read_text(),
            ca_fingerprint=fingerprint(files.ca),
        )
        log.info(
            "clients and gateways verify this hub by its own CA",
            ca=str(files.ca),
            fingerprint=settings.ca_fingerprint,
        )
    store = await open_store(database, exclusive=True, remedy=_REMEDY)
    try:
        hub = await open_hub(store, settings, clock=clock)
        config = uvicorn.Config(
            create_app(hub),
            host=listen.host,
            port=listen.port,
            ssl_context_factory=lambda _config, _default: _loaded(tls),
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies or None,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=75,
            http=PunctualProtocol,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            # The link has a heartbeat of its own. A pong waits behind the statuses that a hub has
            # not taken yet: a busy one would end its gateways' connections.
            ws_ping_interval=None,
        )
        server = _Server(config, hub)
        BUILD.labels("hub", __version__).set(1)
        settle()
        with one_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_renew, tls)
                tasks.start_soon(_stop_when_damaged, store, server)
                log.info("hub serves", listen=f"{listen.host}:{listen.port}", url=public_url)
                await server.serve(sockets=[listener])
                tasks.cancel_scope.cancel()
    finally:
        listener.close()
        with anyio.CancelScope(shield=True):
            await store.close()


async def _stop_when_damaged(store: SqlStore, server: _Server) -> None:
    try:
        await store.wellbeing.watch()
    finally:
        server.should_exit = True


def _loaded(tls: TLSChoice) -> ssl.SSLContext:
    if tls.context is None:
        raise RuntimeError("load() comes first")
    return tls.context


async def _renew(tls: TLSChoice) -> None:
    """Look several times a day whether the certificate was, or has to be, renewed."""
    while True:
        await anyio.sleep(RENEWAL_CHECK.total_seconds())
        try:
            tls.load()
        except InvalidError as error:
            log.warning("the server certificate cannot be renewed", error=str(error))
