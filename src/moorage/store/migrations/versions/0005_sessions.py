"""Sessions have a name to be ended by; API keys can be narrower than their holder."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("id", "source", "agent", "method"):
        op.add_column(
            "session", sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))
        )
    op.create_index("ix_session_id", "session", ["id"])
    op.add_column("api_key", sa.Column("bounds", sa.Text))
