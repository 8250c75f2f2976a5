"""The tables, the same on SQLite and PostgreSQL. Migrations make them; a test compares the two."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """A moment as whole microseconds since 1970 UTC: exact, and equal on both databases."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Turn a moment into microseconds."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Turn microseconds into a moment."""
        return None if value is None else _EPOCH + value * _MICROSECOND


class Labels(TypeDecorator[dict[str, str]]):
    """JSON; on PostgreSQL its binary kind, whose dialect is loaded only there."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of this database."""
        if dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415

            return dialect.type_descriptor(JSONB())
        return dialect.type_descriptor(JSON())


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

SERIAL = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts by itself only in a column of its own INTEGER type."""

resource = Table(
    "resource",
    metadata,
    Column("kind", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("owner_uid", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("resource_version", BigInteger, nullable=False),
    Column("spec_version", BigInteger, nullable=False),  # resource_version but for status
    Column("labels", Labels, nullable=False),  # for selectors; also part of meta
    Column("meta", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("status", Text, nullable=False),
    PrimaryKeyConstraint("kind", "uid"),
    UniqueConstraint("kind", "project", "name"),
    Index(None, "resource_version"),
    Index(None, "route", "spec_version"),
    # In the order of a page: SQLite would rather read all of the kind than sort a few.
    Index(None, "owner_uid", "kind", "project", "name"),
)

tombstone = Table(
    "tombstone",
    metadata,
    Column("kind", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("resource_version", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    PrimaryKeyConstraint("kind", "uid"),
    Index(None, "resource_version"),
)

sequence = Table(
    "sequence",
    metadata,
    Column("name", Text, nullable=False),
    Column("value", BigInteger, nullable=False),
    PrimaryKeyConstraint("name"),
)

value = Table(
    "value",
    metadata,
    Column("name", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("name"),
)

work = Table(
    "work",
    metadata,
    Column("controller", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("due", Instant),  # asked for; NULL while leased and nothing new was asked
    Column("attempts", Integer, nullable=False),
    Column("token", Text),  # of the lease; NULL when nobody holds one
    Column("ready_at", Instant, nullable=False),  # end of the lease while leased, else due
    PrimaryKeyConstraint("controller", "key"),
    Index(None, "controller", "ready_at"),
)

password = Table(
    "password",
    metadata,
    Column("user", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("changed_at", Instant, nullable=False),
    PrimaryKeyConstraint("user"),
)

totp = Table(
    "totp",
    metadata,
    Column("user", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("confirmed_at", Instant),  # NULL: it does not count yet
    Column("step", BigInteger, nullable=False),  # newest time step that was used
    Column("recovery", Text, nullable=False),  # JSON list of hashes
    PrimaryKeyConstraint("user"),
)

session = Table(
    "session",
    metadata,
    Column("id_hash", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    Column("id", Text, nullable=False, server_default=text("''")),  # may be shown
    Column("source", Text, nullable=False, server_default=text("''")),
    Column("agent", Text, nullable=False, server_default=text("''")),
    Column("method", Text, nullable=False, server_default=text("''")),
    PrimaryKeyConstraint("id_hash"),
    Index(None, "id"),
    Index(None, "user"),
    Index(None, "expires_at"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Column("bounds", Text),  # JSON list of grants that narrow it; NULL: none do
    PrimaryKeyConstraint("id"),
    UniqueConstraint("user", "name"),
    UniqueConstraint("hash"),
)

enrolment_token = Table(
    "enrolment_token",
    metadata,
    Column("hash", Text, nullable=False),
    Column("gateway", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("used_by", Text),  # fingerprint of the identity key that used it
    PrimaryKeyConstraint("hash"),
    Index(None, "gateway"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("user", Text, nullable=False),
    Column("key", Text, nullable=False),  # hash of what the client chose
    Column("digest", Text, nullable=False),  # of the request
    Column("began_at", Instant, nullable=False),
    Column("done_at", Instant),
    Column("status", Integer),
    Column("etag", Text),
    Column("answer", Text),
    PrimaryKeyConstraint("user", "key"),
    Index(None, "began_at"),
)

login_attempt = Table(
    "login_attempt",
    metadata,
    Column("subject", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_at", Instant, nullable=False),
    PrimaryKeyConstraint("subject"),
    Index(None, "last_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", SERIAL, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("digest", Text, nullable=False),  # of this entry, ``previous`` among it
    Column("previous", Text, nullable=False, server_default=text("''")),  # digest of the one before
    PrimaryKeyConstraint("id"),
    Index(None, "at"),
    Index(None, "kind", "project", "name"),
)

audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("id", BigInteger, nullable=False),  # of the entry that it vouches for
    Column("at", Instant, nullable=False),
    Column("digest", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("is_start", Integer, nullable=False),  # 1: this entry and those before may be let go
    PrimaryKeyConstraint("id"),
)

event = Table(
    "event",
    metadata,
    Column("digest", Text, nullable=False),  # of object, type, reason and message
    Column("kind", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("times", BigInteger, nullable=False),
    # Rises with each that happens, or happens again: moments may go back.
    Column("number", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("digest"),
    Index(None, "last_at"),
    Index(None, "number"),
    Index(None, "kind", "project", "name", "number"),
    Index(None, "uid", "number"),
)

alert = Table(
    "alert",
    metadata,
    Column("id", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("uid", Text, nullable=False),  # of the object
    Column("cluster", Text, nullable=False),  # that it is, or belongs to; empty: none
    Column("message", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("ended_at", Instant),  # NULL: it goes on
    Column("told", Integer, nullable=False),  # 1: channels were told that it began
    Column("acknowledged_by", Text, nullable=False),
    Column("acknowledged_at", Instant),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("rule", "uid"),
    Index(None, "project"),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", Text, nullable=False),
    Column("channel_uid", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("due", Instant),  # NULL: delivered, or given up
    Column("attempts", Integer, nullable=False),
    Column("delivered_at", Instant),
    Column("answer", Text, nullable=False),  # what came back last
    PrimaryKeyConstraint("id"),
    Index(None, "due"),
    Index(None, "channel_uid", "created_at"),
)

channel_secret = Table(
    "channel_secret",
    metadata,
    Column("uid", Text, nullable=False),
    Column("secret", Text, nullable=False),  # in clear: what is sent is signed with it
    PrimaryKeyConstraint("uid"),
)
