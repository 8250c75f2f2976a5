"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LABELS = sa.JSON().with_variant(JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_GUARD_SQLITE = """
CREATE TRIGGER audit_refuses_{verb} BEFORE {verb} ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are only ever appended'); END
"""
_GUARD_POSTGRESQL = (
    """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'audit entries are only ever appended'; END $$
""",
    """
CREATE TRIGGER audit_refuses_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
""",
)


def upgrade() -> None:
    """Create everything, and one row of the sequence."""
    _resources()
    _hub()
    op.execute("INSERT INTO sequence (name, value) VALUES ('resource', 0)")
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_GUARD_SQLITE.format(verb="UPDATE"))
        op.execute(_GUARD_SQLITE.format(verb="DELETE"))
    else:
        for statement in _GUARD_POSTGRESQL:
            op.execute(statement)


def _resources() -> None:
    op.create_table(
        "resource",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("owner_uid", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("spec_version", sa.BigInteger, nullable=False),
        sa.Column("labels", LABELS, nullable=False),
        sa.Column("meta", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("kind", "uid", name="pk_resource"),
        sa.UniqueConstraint("kind", "project", "name", name="uq_resource_kind_project_name"),
    )
    op.create_index("ix_resource_owner_uid", "resource", ["owner_uid"])
    op.create_index("ix_resource_resource_version", "resource", ["resource_version"])
    op.create_index("ix_resource_route_spec_version", "resource", ["route", "spec_version"])
    op.create_table(
        "tombstone",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kind", "uid", name="pk_tombstone"),
    )
    op.create_index("ix_tombstone_resource_version", "tombstone", ["resource_version"])
    op.create_table(
        "sequence",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_sequence"),
    )
    op.create_table(
        "value",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_value"),
    )
    op.create_table(
        "work",
        sa.Column("controller", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("due", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("token", sa.Text),
        sa.Column("ready_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("controller", "key", name="pk_work"),
    )
    op.create_index("ix_work_controller_ready_at", "work", ["controller", "ready_at"])


def _hub() -> None:
    op.create_table(
        "password",
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("user", name="pk_password"),
    )
    op.create_table(
        "session",
        sa.Column("id_hash", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("last_seen_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name="pk_session"),
    )
    op.create_index("ix_session_expires_at", "session", ["expires_at"])
    op.create_index("ix_session_user", "session", ["user"])
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("user", "name", name="uq_api_key_user_name"),
        sa.UniqueConstraint("hash", name="uq_api_key_hash"),
    )
    op.create_table(
        "enrolment_token",
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("used_by", sa.Text),
        sa.PrimaryKeyConstraint("hash", name="pk_enrolment_token"),
    )
    op.create_index("ix_enrolment_token_gateway", "enrolment_token", ["gateway"])
    op.create_table(
        "login_attempt",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_login_attempt"),
    )
    op.create_index("ix_login_attempt_last_at", "login_attempt", ["last_at"])
    op.create_table(
        "audit",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_kind_project_name", "audit", ["kind", "project", "name"])
    op.create_table(
        "event",
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_event"),
    )
    op.create_index(
        "ix_event_kind_project_name_last_at", "event", ["kind", "project", "name", "last_at"]
    )
    op.create_index("ix_event_last_at", "event", ["last_at"])
    op.create_index("ix_event_uid_last_at", "event", ["uid", "last_at"])
