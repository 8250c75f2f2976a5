"""The first start and every later one: identity, first project, first administrator."""

from pathlib import Path

import structlog
from anyio import to_thread

from moorage.auth import BUILT_IN, TENANT_ADMIN, check_password, hash_password
from moorage.hub.context import Hub, HubSettings
from moorage.hub.tls import write_private
from moorage.kit.clock import Clock, SystemClock
from moorage.kit.errors import FieldFault, InvalidError
from moorage.kit.ids import new_uid, random_word
from moorage.kit.redact import REDACTED
from moorage.resources import Metadata, Project, Role, User
from moorage.resources.access import Grant, RoleSpec, RoleStatus, UserSpec
from moorage.store import SqlStore, access, audit

log = structlog.get_logger(__name__)

INSTALLATION = "installation"
INCARNATION = "incarnation"
ADMIN = "admin"
DEFAULT_PROJECT = "default"
_PASSWORD_LENGTH = 24


async def open_hub(store: SqlStore, settings: HubSettings, *, clock: Clock | None = None) -> Hub:
    """Return the hub of a store, making what a first start needs. May be repeated."""
    async with store.transaction() as inside:
        installation = await _value(store, INSTALLATION)
        if store.may_lack_commits:
            # As after a restored backup: gateways compare all that they have.
            log.warning("the database's log is gone: this hub begins a new incarnation")
            await inside.set_value(INCARNATION, new_uid())
        incarnation = await _value(store, INCARNATION)
        is_first = await _is_first(store)
        if is_first and await store.find(Project, "", DEFAULT_PROJECT) is None:
            await store.create(Project(metadata=Metadata(name=DEFAULT_PROJECT)))
        await _store_built_in_roles(store)
    hub = Hub(store, settings, installation, incarnation, clock=clock or SystemClock())
    if is_first:
        await _make_administrator(hub)
    return hub


async def _store_built_in_roles(store: SqlStore) -> None:
    """Show the built-in roles as they are in this version. What they permit, the code decides."""
    known = {role.metadata.name: role for role in await store.list(Role)}
    for name, built_in in BUILT_IN.items():
        spec = RoleSpec(description=built_in.description, permissions=sorted(built_in.permissions))
        found = known.get(name)
        if found is None:
            await store.create(
                Role(metadata=Metadata(name=name), spec=spec, status=RoleStatus(built_in=True))
            )
        elif found.spec != spec:
            found.spec = spec
            await store.put_spec(found)


async def reset_administrator(hub: Hub) -> None:
    """Let ``admin`` in again: for an administrator of the machine who lost the password.

    The user is made again if it is gone, with all rights; its sessions and API keys end.
    """
    digest = await _new_password(hub)
    async with hub.store.transaction() as store:
        await access.forget_user(hub.store, ADMIN)
        found = await store.find(User, "", ADMIN)
        if found is None:
            await store.create(_administrator())
        else:
            found.spec = _administrator().spec
            await store.put_spec(found)
        await access.set_password_hash(hub.store, ADMIN, digest)
        await _tell_audit(hub, "update")


async def _is_first(store: SqlStore) -> bool:
    return await store.find(User, "", ADMIN) is None and not await access.has_passwords(store)


async def _value(store: SqlStore, name: str) -> str:
    found = await store.get_value(name)
    if not found:
        found = new_uid()
        await store.set_value(name, found)
    return found


async def _make_administrator(hub: Hub) -> None:
    """Make ``admin`` with the given password, or one told in a file (0600) before it is used."""
    given = hub.settings.admin_password_file
    if given is None:
        digest = await _new_password(hub)
    else:
        digest = await to_thread.run_sync(lambda: hash_password(_given_password(given)))
    made = hub.settings.initial_password_file if given is None else None
    async with hub.store.transaction() as store:
        if not await _is_first(hub.store):  # another replica was quicker: its password holds
            if made is not None:
                made.unlink(missing_ok=True)
            return
        await store.create(_administrator())
        await access.set_password_hash(hub.store, ADMIN, digest)
        await _tell_audit(hub, "create")
    where = given or made or "nowhere: no data directory was given"
    log.warning(
        "first start: log in as admin and change the set-up password",
        written=str(where),
        user=ADMIN,
    )


def _given_password(file: Path) -> str:
    """Return the set-up password in a file; raises ``InvalidError``."""
    try:
        password = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(
            f"the first administrator's set-up password cannot be read from {file}: {error}",
            (FieldFault("admin-password-file", "must be a file that the hub can read"),),
        ) from error
    check_password(password, username=ADMIN, path="admin-password-file")
    return password


async def _new_password(hub: Hub) -> str:
    """Write a new set-up password to its file and return its hash."""
    password = "-".join(random_word(_PASSWORD_LENGTH // 4) for _ in range(4))
    file = hub.settings.initial_password_file
    if file is not None:
        write_private(file, f"{password}\n".encode())
    return await to_thread.run_sync(hash_password, password)


def _administrator() -> User:
    return User(
        metadata=Metadata(name=ADMIN),
        spec=UserSpec(
            display_name="First administrator",
            grants=[Grant(role=TENANT_ADMIN, project="*")],
        ),
    )


async def _tell_audit(hub: Hub, verb: str) -> None:
    await audit.append(
        hub.store,
        actor="hub",
        source="",
        verb=verb,
        kind="User",
        name=ADMIN,
        after={"password": REDACTED},
    )
