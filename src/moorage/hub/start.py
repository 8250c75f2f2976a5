"""The first start and every later one: identity, first project, first administrator."""

import os

import structlog
from anyio import to_thread

from moorage.auth import hash_password
from moorage.hub.context import Hub, HubSettings
from moorage.kit.clock import Clock, SystemClock
from moorage.kit.ids import new_uid, random_word
from moorage.kit.redact import REDACTED
from moorage.resources import Metadata, Project, User
from moorage.resources.access import AccessRole, Grant, UserSpec
from moorage.store import SqlStore, access, audit

log = structlog.get_logger(__name__)

INSTALLATION = "installation"
INCARNATION = "incarnation"
ADMIN = "admin"
DEFAULT_PROJECT = "default"
_PASSWORD_LENGTH = 24


async def open_hub(store: SqlStore, settings: HubSettings, *, clock: Clock | None = None) -> Hub:
    """Return the hub of a store, making what a first start needs. May be repeated."""
    async with store.transaction():
        installation = await _value(store, INSTALLATION)
        incarnation = await _value(store, INCARNATION)
        is_first = await store.find(User, "", ADMIN) is None and not await access.has_passwords(
            store
        )
        if is_first and await store.find(Project, "", DEFAULT_PROJECT) is None:
            await store.create(Project(metadata=Metadata(name=DEFAULT_PROJECT)))
    hub = Hub(store, settings, installation, incarnation, clock=clock or SystemClock())
    if is_first:
        await _make_administrator(hub)
    return hub


async def _value(store: SqlStore, name: str) -> str:
    found = await store.get_value(name)
    if not found:
        found = new_uid()
        await store.set_value(name, found)
    return found


async def _make_administrator(hub: Hub) -> None:
    """Make ``admin`` with a random password, told in a file (0600) before it can be used."""
    password = "-".join(random_word(_PASSWORD_LENGTH // 4) for _ in range(4))
    digest = await to_thread.run_sync(hash_password, password)
    file = hub.settings.initial_password_file
    if file is not None:
        file.unlink(missing_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(f"{password}\n")
    user = User(
        metadata=Metadata(name=ADMIN),
        spec=UserSpec(
            display_name="First administrator",
            grants=[Grant(role=AccessRole.ADMIN, project="*")],
        ),
    )
    async with hub.store.transaction() as store:
        stored = await store.create(user)
        await access.set_password_hash(hub.store, ADMIN, digest)
        await audit.append(
            hub.store,
            actor="hub",
            source="",
            verb="create",
            kind="User",
            name=ADMIN,
            after={**stored.document(), "password": REDACTED},
        )
    where = f"in {file}" if file is not None else "nowhere: no data directory was given"
    log.warning(
        "first start: log in as admin and change the set-up password", written=where, user=ADMIN
    )
