"""Answers of requests with an idempotency key, kept for a day."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency",
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("began_at", sa.BigInteger, nullable=False),
        sa.Column("done_at", sa.BigInteger),
        sa.Column("status", sa.Integer),
        sa.Column("etag", sa.Text),
        sa.Column("answer", sa.Text),
        sa.PrimaryKeyConstraint("user", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_began_at", "idempotency", ["began_at"])
