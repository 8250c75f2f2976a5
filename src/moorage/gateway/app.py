"""The gateway's process: store, link, controllers and health page, from start to signal."""

import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import structlog

from moorage import __version__
from moorage.controllers.gateway.build import wire
from moorage.engine import Tenure
from moorage.engine.metrics import BUILD
from moorage.gateway.config import GatewayConfig
from moorage.gateway.health import bind_health, serve_health
from moorage.gateway.identity import DataDir, EnrollmentRecord
from moorage.gateway.session_notes import SessionNotes
from moorage.gateway.vault import Vault
from moorage.kit.clock import Clock
from moorage.kit.errors import InvalidError
from moorage.kit.process import one_error, settle
from moorage.link.client import Link, begin_anew
from moorage.link.dial import Dial
from moorage.link.trust import RecoveryKeys
from moorage.store import SqlStore, open_store

log = structlog.get_logger(__name__)

_REMEDY = (
    "stop the gateway, move this file and those beside it that begin with its name to another "
    "place, and start it again: keys and enrolment are kept elsewhere, and its hub gives back what "
    "it mirrors"
)

CLOSE_S = 5.0
"""For logging out of vCenters that may not answer."""
LINK = "link"
"""What the replica that talks to the hub holds a lease on."""
LONE_TTL, SHARED_TTL = timedelta(seconds=60), timedelta(seconds=12)
"""How long the keys of a replica that died are left alone; nobody waits for a lone process."""
_WHOSE = "gateway.owner"
STOP_S = 8.0
"""After a signal, everything that has not ended by itself is left: the store does not mind."""


async def run_gateway(
    data: DataDir,
    config: GatewayConfig,
    *,
    clock: Clock | None = None,
    started: Callable[[Link], None] = lambda _: None,
) -> None:
    """Work until SIGTERM or SIGINT, or until cancelled.

    Raises ``MoorageError`` when it cannot begin (not enrolled, another process works here), and
    ``StoreCorruptError`` when its database is damaged, at the start or later.
    """
    with one_error():
        await _run(data, config, clock, started)
    log.info("gateway stopped")


async def _run(
    data: DataDir, config: GatewayConfig, clock: Clock | None, started: Callable[[Link], None]
) -> None:
    record = data.enrollment()
    identity, sealing = data.identity(), data.sealing()
    dial = Dial(config.hub or record.hub, record.trust(), config.proxy_settings())
    dial.check()
    address = config.health_address()
    listener = bind_health(*address) if address else None
    async with _opened(config.database or data.database_url, record, clock) as store:
        clock = store.clock
        if store.may_lack_commits:
            log.warning("the database's log is gone: the hub is asked for what may be missing")
            await begin_anew(store)
        recovery_keys = RecoveryKeys(store)
        await recovery_keys.load()
        link = Link(
            store,
            gateway=record.gateway,
            installation=record.installation,
            identity=identity,
            dial=dial,
            version=__version__,
            recovery_keys=recovery_keys,
            clock=clock,
            tenure=Tenure(store, clock, LINK, "hub") if store.is_shared else None,
        )
        work = wire(
            store,
            clock=clock,
            vault=Vault(sealing, record.installation, recovery_keys.load),
            installation=record.installation,
            gateway=record.gateway,
            acknowledged=link.confirmed,
            hub_clock=link.hub_clock,
            clusters_per_hour=config.deletion_brake.clusters_per_hour,
            machines_per_hour=config.deletion_brake.machines_per_hour,
            replica_idle=config.template_replicas.idle(),
            limits=config.vcenter.limits(),
            imports_folder=config.imports_folder or data.imports,
            lease_ttl=SHARED_TTL if store.is_shared else LONE_TTL,
            note_for=SessionNotes(data.sessions, sealing).open,
        )

        def report() -> dict[str, Any]:
            full = store.wellbeing.full
            return {
                "status": "degraded" if full else "ok",
                "storage": full or "ok",
                "gateway": record.gateway,
                "installation": record.installation,
                "version": __version__,
                "fingerprint": identity.public().fingerprint,
                "link": {
                    "held": link.is_held,
                    "state": link.state.state,
                    "reason": link.state.reason,
                    "message": link.state.message,
                    "since": link.state.since.isoformat(),
                    "acknowledged": link.acknowledged,
                },
            }

        log.info(
            "gateway starts",
            gateway=record.gateway,
            hub=dial.url,
            version=__version__,
            fingerprint=identity.public().fingerprint,
        )
        BUILD.labels("gateway", __version__).set(1)
        settle()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
                tasks.start_soon(store.wellbeing.watch)
                if listener is not None:
                    tasks.start_soon(serve_health, listener, report)
                tasks.start_soon(link.run)
                tasks.start_soon(work.run)
                started(link)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
                await work.close()


@asynccontextmanager
async def _opened(
    url: str, record: EnrollmentRecord, clock: Clock | None
) -> AsyncIterator[SqlStore]:
    store = await open_store(url, clock=clock, mirror=True, exclusive=True, remedy=_REMEDY)
    try:
        await _refuse_others_store(store, record)
        yield store
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()


async def _refuse_others_store(store: SqlStore, record: EnrollmentRecord) -> None:
    """Raise ``InvalidError`` in a database of another gateway: their clusters must not meet."""
    ours = f"{record.gateway} of installation {record.installation}"
    async with store.transaction() as inside:
        known = await inside.get_value(_WHOSE)
        if known is None:
            await inside.set_value(_WHOSE, ours)
        elif known != ours:
            raise InvalidError(
                f"the database belongs to gateway {known}, this is {ours}: give each gateway a "
                "database of its own; only replicas, which have the same keys, share one"
            )


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("gateway stops", signal=signal.Signals(number).name)
            # A call to vCenter that hangs in a thread must not keep the process.
            watchdog = threading.Timer(STOP_S, os._exit, args=(1,))
            watchdog.daemon = True
            watchdog.start()
            scope.cancel()
            return
