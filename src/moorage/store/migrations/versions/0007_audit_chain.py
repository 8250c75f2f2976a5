"""The audit trail as a chain: numbers without gaps, each with the digest before, checkpoints.

Entries of before get their numbers and digests anew: how these were made has changed.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_AGAIN_SQLITE = """
CREATE TRIGGER audit_refuses_UPDATE BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are only ever appended'); END
"""
_START = "COALESCE((SELECT max(id) FROM audit_checkpoint WHERE is_start = 1), 0)"
_GUARD_SQLITE = f"""
CREATE TRIGGER audit_refuses_DELETE BEFORE DELETE ON audit WHEN OLD.id > {_START}
BEGIN SELECT RAISE(ABORT, 'audit entries are only ever appended'); END
"""
_GUARD_POSTGRESQL = (
    """
CREATE TRIGGER audit_refuses_change BEFORE UPDATE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
""",
    f"""
CREATE FUNCTION audit_refuse_deletion() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  IF OLD.id > {_START} THEN
    RAISE EXCEPTION 'audit entries are only ever appended';
  END IF;
  RETURN OLD;
END $$
""",
    """
CREATE TRIGGER audit_refuses_deletion BEFORE DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_refuse_deletion()
""",
)


def upgrade() -> None:
    op.create_table(
        "audit_checkpoint",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("is_start", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_checkpoint"),
    )
    op.add_column("audit", sa.Column("previous", sa.Text, nullable=False, server_default=""))
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if is_sqlite:
        op.execute("DROP TRIGGER IF EXISTS audit_refuses_UPDATE")
        op.execute("DROP TRIGGER IF EXISTS audit_refuses_DELETE")
    else:
        op.execute("DROP TRIGGER audit_refuses_change ON audit")
    _chain_anew()
    for statement in (_AGAIN_SQLITE, _GUARD_SQLITE) if is_sqlite else _GUARD_POSTGRESQL:
        op.execute(statement)


def _chain_anew() -> None:
    bind = op.get_bind()
    audit = sa.table("audit", *(sa.column(name) for name in _COLUMNS))
    number, previous, last = 0, "", 0
    while True:
        page = sa.select(audit).where(audit.c.id > last).order_by(audit.c.id).limit(500)
        rows = [dict(row) for row in bind.execute(page).mappings()]
        if not rows:
            return
        for row in rows:
            number, last = number + 1, row["id"]
            digest = _digest(row | {"id": number, "previous": previous})
            bind.execute(
                sa.update(audit)
                .where(audit.c.id == last)
                .values(id=number, previous=previous, digest=digest)
            )
            previous = digest


_COLUMNS = (
    *("id", "at", "actor", "source", "verb", "kind", "project", "name", "outcome"),
    *("before", "after", "previous", "digest"),
)


def _digest(row: dict[str, Any]) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row["at"])
    covered = {name: row[name] for name in _COLUMNS if name != "digest"}
    covered["at"] = at.isoformat(timespec="microseconds")
    for name in ("before", "after"):
        covered[name] = None if row[name] is None else json.loads(row[name])
    written = json.dumps(covered, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()
