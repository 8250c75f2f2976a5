"""What lets people, programs and gateways in: the hub's own tables.

Only hashes are kept: of passwords (slow ones, made by ``auth``), of session ids, API keys and
enrolment tokens (SHA-256 of long random words). Every function takes the store, or an open
transaction of it: then it is committed with whatever else that does.
"""

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Table,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from moorage.kit.errors import ConflictError, NotFoundError, StorageFullError
from moorage.kit.skew import SKEW_LIMIT
from moorage.resources.access import Grant
from moorage.store import tables
from moorage.store.operations import SqlOperations

_PASSWORD = tables.password.c
_SESSION = tables.session.c
_KEY = tables.api_key.c
_TOKEN = tables.enrolment_token.c
_ATTEMPT = tables.login_attempt.c


class Session(NamedTuple):
    """A login of a browser or of the CLI."""

    id_hash: str
    user: str
    created_at: datetime
    expires_at: datetime
    last_seen_at: datetime
    id: str
    """May be shown; the token itself is known to its holder only."""
    source: str
    """Address that it was opened from."""
    agent: str
    """What the client called itself."""
    method: str
    """How its user proved who he is."""


class ApiKey(NamedTuple):
    """A credential of a program. ``id`` may be shown, the key itself was shown once."""

    id: str
    name: str
    user: str
    hash: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    bounds: str | None = None
    """JSON list of grants that narrow it."""

    def grants(self) -> list[Grant] | None:
        """Return the grants that narrow it; ``None``: none do."""
        if self.bounds is None:
            return None
        return [Grant.model_validate(one) for one in json.loads(self.bounds)]


class EnrolmentToken(NamedTuple):
    """Lets one gateway in, once."""

    hash: str
    gateway: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    used_by: str | None


async def _begin_anew(
    store: SqlOperations, table: Table, one: ColumnElement[bool], made: datetime, ends: datetime
) -> datetime:
    """Have what was made while the clock was ahead begin now; return when it ends.

    It would hold for too long, for ever if the clock was years ahead. To end it would lock out
    whoever came in before a clock was set back.
    """
    now = store.clock.now()
    if made - now <= SKEW_LIMIT:
        return ends
    ends = now + (ends - made)
    with suppress(StorageFullError):  # who only reads is let in with a full disk too
        async with store.writing() as unit:
            await unit.execute(
                update(table)
                .where(one, table.c.created_at == made)
                .values(created_at=now, expires_at=ends)
            )
    return ends


# Passwords


async def find_password_hash(store: SqlOperations, user: str) -> str | None:
    """Return the hash of a user's password, or ``None`` when he has none."""
    async with store.reading() as unit:
        query = select(_PASSWORD.hash).where(_PASSWORD.user == user)
        found: str | None = (await unit.execute(query)).scalar_one_or_none()
    return found


async def set_password_hash(store: SqlOperations, user: str, hash_: str) -> None:
    """Store the hash of a user's password, over an earlier one."""
    new = {"hash": hash_, "changed_at": store.clock.now()}
    async with store.writing() as unit:
        statement = unit.insert(tables.password).values(user=user, **new)
        await unit.execute(statement.on_conflict_do_update(index_elements=["user"], set_=new))


async def has_passwords(store: SqlOperations) -> bool:
    """Tell whether anybody can log in yet: false on the first run."""
    async with store.reading() as unit:
        found: bool = bool(
            (await unit.execute(select(exists(select(_PASSWORD.user))))).scalar_one()
        )
    return found


async def forget_user(store: SqlOperations, user: str) -> None:
    """Remove all by which a user could come in: for a user who is deleted."""
    async with store.transaction() as tx, tx.writing() as unit:
        await unit.execute(delete(tables.password).where(_PASSWORD.user == user))
        await unit.execute(delete(tables.totp).where(tables.totp.c.user == user))
        await unit.execute(delete(tables.session).where(_SESSION.user == user))
        await unit.execute(delete(tables.api_key).where(_KEY.user == user))


# Sessions


async def add_session(
    store: SqlOperations,
    *,
    id_hash: str,
    user: str,
    expires_at: datetime,
    id_: str = "",
    source: str = "",
    agent: str = "",
    method: str = "",
) -> Session:
    """Begin a session; see ``Session`` for what is noted with it."""
    now = store.clock.now()
    made = Session(id_hash, user, now, expires_at, now, id_, source, agent, method)
    async with store.writing() as unit:
        await unit.execute(insert(tables.session).values(made._asdict()))
    return made


async def find_session(store: SqlOperations, id_hash: str) -> Session | None:
    """Return a session that has not expired."""
    query = select(tables.session).where(
        _SESSION.id_hash == id_hash, _SESSION.expires_at > store.clock.now()
    )
    async with store.reading() as unit:
        row = (await unit.execute(query)).first()
    if row is None:
        return None
    found = Session._make(row)
    ends = await _begin_anew(
        store, tables.session, _SESSION.id_hash == id_hash, found.created_at, found.expires_at
    )
    return found._replace(expires_at=ends)


async def touch_session(
    store: SqlOperations, id_hash: str, *, expires_at: datetime | None = None
) -> None:
    """Note that a session was used just now, and move its end if one is given."""
    new = {"last_seen_at": store.clock.now()}
    if expires_at is not None:
        new["expires_at"] = expires_at
    async with store.writing(durable=False) as unit:
        await unit.execute(update(tables.session).where(_SESSION.id_hash == id_hash).values(new))


async def list_sessions(store: SqlOperations, user: str) -> list[Session]:
    """Return the sessions of a user that have not expired, the newest first."""
    query = (
        select(tables.session)
        .where(_SESSION.user == user, _SESSION.expires_at > store.clock.now())
        .order_by(_SESSION.created_at.desc())
    )
    async with store.reading() as unit:
        return [Session._make(row) for row in await unit.execute(query)]


async def end_session_of(store: SqlOperations, user: str, id_: str) -> None:
    """End a user's session by its public id; raises ``NotFoundError``."""
    statement = delete(tables.session).where(_SESSION.user == user, _SESSION.id == id_)
    async with store.writing() as unit:
        if not id_ or not (await unit.execute(statement)).rowcount:
            raise NotFoundError(f"there is no session {id_}")


async def end_session(store: SqlOperations, id_hash: str) -> None:
    """End one session."""
    async with store.writing() as unit:
        await unit.execute(delete(tables.session).where(_SESSION.id_hash == id_hash))


async def end_sessions(store: SqlOperations, user: str, *, but: str | None = None) -> int:
    """End all sessions of a user, such as after a new password; ``but`` one stays."""
    statement = delete(tables.session).where(_SESSION.user == user)
    if but is not None:
        statement = statement.where(_SESSION.id_hash != but)
    async with store.writing() as unit:
        return (await unit.execute(statement)).rowcount


# API keys


async def add_api_key(  # noqa: D417 - the rest says itself
    store: SqlOperations,
    *,
    id_: str,
    name: str,
    user: str,
    hash_: str,
    expires_at: datetime | None = None,
    bounds: str | None = None,
) -> ApiKey:
    """Store an API key; raises ``ConflictError`` when the user has one of that name.

    Args:
        id_: What names the key in lists and in the audit trail.
        hash_: SHA-256 of the key itself.
        expires_at: ``None``: never.
        bounds: JSON list of grants that narrow it.
    """
    made = ApiKey(id_, name, user, hash_, store.clock.now(), expires_at, None, bounds)
    async with store.transaction() as tx, tx.writing() as unit:
        query = select(_KEY.id).where(_KEY.user == user, _KEY.name == name)
        if (await unit.execute(query)).first() is not None:
            raise ConflictError(f"{user} has an API key named {name} already: choose another name")
        await unit.execute(insert(tables.api_key).values(made._asdict()))
    return made


async def find_api_key(store: SqlOperations, hash_: str) -> ApiKey | None:
    """Return the API key of that hash, unless it has expired."""
    query = select(tables.api_key).where(
        _KEY.hash == hash_,
        or_(_KEY.expires_at.is_(None), _KEY.expires_at > store.clock.now()),
    )
    async with store.reading() as unit:
        row = (await unit.execute(query)).first()
    if row is None:
        return None
    found = ApiKey._make(row)
    if found.expires_at is None:
        return found
    ends = await _begin_anew(
        store, tables.api_key, _KEY.hash == hash_, found.created_at, found.expires_at
    )
    return found._replace(expires_at=ends)


async def list_api_keys(store: SqlOperations, user: str | None = None) -> list[ApiKey]:
    """Return the API keys of a user, or of all, expired ones too."""
    query = select(tables.api_key).order_by(_KEY.user, _KEY.name)
    if user is not None:
        query = query.where(_KEY.user == user)
    async with store.reading() as unit:
        return [ApiKey._make(row) for row in await unit.execute(query)]


async def delete_api_key(store: SqlOperations, id_: str, *, user: str | None = None) -> None:
    """Delete an API key, only of this user if one is given; raises ``NotFoundError``."""
    statement = delete(tables.api_key).where(_KEY.id == id_)
    if user is not None:
        statement = statement.where(_KEY.user == user)
    async with store.writing() as unit:
        if not (await unit.execute(statement)).rowcount:
            raise NotFoundError(f"there is no API key {id_}")


async def touch_api_key(store: SqlOperations, id_: str) -> None:
    """Note that an API key was used just now."""
    async with store.writing(durable=False) as unit:
        await unit.execute(
            update(tables.api_key).where(_KEY.id == id_).values(last_used_at=store.clock.now())
        )


# Enrolment of gateways


async def add_enrolment_token(
    store: SqlOperations, *, gateway: str, hash_: str, expires_at: datetime
) -> None:
    """Store a token for a gateway; earlier ones that were not used cease to hold."""
    async with store.transaction() as tx, tx.writing() as unit:
        await unit.execute(
            delete(tables.enrolment_token).where(
                _TOKEN.gateway == gateway, _TOKEN.used_at.is_(None)
            )
        )
        made = EnrolmentToken(hash_, gateway, store.clock.now(), expires_at, None, None)
        await unit.execute(insert(tables.enrolment_token).values(made._asdict()))


async def use_enrolment_token(store: SqlOperations, hash_: str, *, by: str) -> str | None:
    """Use a token up and return its gateway's name; ``None`` when it does not hold.

    Of two that use it at once, one gets in. The same key may repeat it until the token expires,
    because the answer to its first attempt may have been lost.

    Args:
        store: Where the token is.
        hash_: Of the token.
        by: Fingerprint of the identity key that asks to be let in.
    """
    this = _TOKEN.hash == hash_
    async with store.reading() as unit:
        known = (await unit.execute(select(tables.enrolment_token).where(this))).first()
    if known is not None:
        token = EnrolmentToken._make(known)
        await _begin_anew(store, tables.enrolment_token, this, token.created_at, token.expires_at)
    now = store.clock.now()
    statement = (
        update(tables.enrolment_token)
        .where(
            this,
            _TOKEN.expires_at > now,
            or_(_TOKEN.used_at.is_(None), _TOKEN.used_by == by),
        )
        .values(used_at=func.coalesce(_TOKEN.used_at, literal(now, tables.Instant)), used_by=by)
        .returning(_TOKEN.gateway)
    )
    async with store.writing() as unit:
        found: str | None = (await unit.execute(statement)).scalar_one_or_none()
    return found


async def revoke_enrolment_tokens(store: SqlOperations, gateway: str) -> None:
    """Remove all tokens of a gateway."""
    async with store.writing() as unit:
        await unit.execute(delete(tables.enrolment_token).where(_TOKEN.gateway == gateway))


async def sweep(store: SqlOperations, *, attempts_after: timedelta = timedelta(days=1)) -> None:
    """Remove what has expired: sessions, enrolment tokens, failed logins of long ago.

    What was made while the clock was ahead begins now, whether somebody uses it or not.
    """
    now = store.clock.now()
    for table in (tables.session, tables.api_key, tables.enrolment_token):
        (one,), made, ends = table.primary_key, table.c.created_at, table.c.expires_at
        query = select(one, made, ends).where(made > now + SKEW_LIMIT, ends.is_not(None))
        async with store.reading() as unit:
            ahead: list[Any] = list(await unit.execute(query))
        for key, made_at, ends_at in ahead:
            await _begin_anew(store, table, one == key, made_at, ends_at)
    async with store.transaction() as tx, tx.writing() as unit:
        await unit.execute(delete(tables.session).where(_SESSION.expires_at <= now))
        await unit.execute(delete(tables.enrolment_token).where(_TOKEN.expires_at <= now))
        await unit.execute(
            delete(tables.login_attempt).where(_ATTEMPT.last_at <= now - attempts_after)
        )
