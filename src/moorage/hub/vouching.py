"""Vouch for the audit trail once a day, and let go of what is older than it has to be.

The key lies beside the database, in the hub's own directory: who can only write to the database
cannot sign. Replicas have a key each; its first use is told in the trail itself.
"""

from datetime import timedelta
from pathlib import Path
from typing import Protocol

import structlog

from moorage.hub.tls import write_private
from moorage.kit.chain import ChainKey
from moorage.store import SqlStore, audit

log = structlog.get_logger(__name__)

SIGNING_KEY = "audit-signing.key"
SIGN_EVERY = timedelta(days=1)
_KNOWN = "audit-signing-keys"
"""Name of the stored value that lists the public keys which were told in the trail."""


class TrailSettings(Protocol):
    """Of the hub's settings, what concerns the trail."""

    @property
    def data(self) -> Path | None: ...

    @property
    def audit_kept_for(self) -> timedelta | None: ...


async def keep_trail(store: SqlStore, settings: TrailSettings, installation: str) -> None:
    """Sign the newest entry if the last signature is a day old, and prune. May be repeated."""
    if settings.data is None:
        return
    newest = await audit.newest_checkpoint(store)
    now = store.clock.now()
    if newest is not None and newest.at <= now < newest.at + SIGN_EVERY:
        return
    if settings.audit_kept_for is not None:
        await _let_go(store, settings.audit_kept_for)
    key = signing_key(settings.data)
    await _tell(store, key)
    signed = await audit.sign(store, key, installation)
    if signed is not None:
        log.info("audit trail signed", entry=signed.id, digest=signed.digest)


def signing_key(data: Path) -> ChainKey:
    """Return the key of this hub, made at its first use."""
    file = data / SIGNING_KEY
    if not file.exists():
        write_private(file, ChainKey.generate())
    return ChainKey(file.read_bytes())


async def _tell(store: SqlStore, key: ChainKey) -> None:
    """Tell a key in the trail that signs for the first time."""
    known = (await store.get_value(_KNOWN) or "").split()
    if key.public in known:
        return
    async with store.transaction() as inside:
        known = (await inside.get_value(_KNOWN) or "").split()
        await inside.set_value(_KNOWN, " ".join([*known, key.public]))
        await audit.append(
            inside,
            actor="hub",
            source="",
            verb="create",
            kind="AuditKey",
            name=key.public,
            after={"publicKey": key.public},
        )


async def _let_go(store: SqlStore, kept_for: timedelta) -> None:
    """Delete what is too old, up to a checkpoint, and tell so in the trail."""
    limit = store.clock.now() - kept_for
    upto = await audit.newest_checkpoint(store, before=limit)
    if upto is None:
        return
    async with store.transaction() as inside:
        gone = await audit.let_go(inside, upto)
        if gone:
            await audit.append(
                inside,
                actor="hub",
                source="",
                verb="delete",
                kind="Audit",
                name=f"up to {upto.id}",
                before={"entries": gone, "last": upto.id, "digest": upto.digest},
            )
            log.info("old audit entries deleted", entries=gone, upto=upto.id)
