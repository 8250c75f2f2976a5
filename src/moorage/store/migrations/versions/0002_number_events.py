"""Number events in the order in which they happened: times go back when a clock is set back."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "event", sa.Column("number", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    )
    # Microseconds, all below those of later events, which count on from the highest.
    op.execute("UPDATE event SET number = last_at")
    op.drop_index("ix_event_kind_project_name_last_at", "event")
    op.drop_index("ix_event_uid_last_at", "event")
    op.create_index(
        "ix_event_kind_project_name_number", "event", ["kind", "project", "name", "number"]
    )
    op.create_index("ix_event_uid_number", "event", ["uid", "number"])
    op.create_index("ix_event_number", "event", ["number"])
