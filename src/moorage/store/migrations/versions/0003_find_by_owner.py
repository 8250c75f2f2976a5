"""Find what an owner has by one index: SQLite read all of the kind, to have them in order."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_resource_owner_uid", "resource")
    op.create_index(
        "ix_resource_owner_uid_kind_project_name",
        "resource",
        ["owner_uid", "kind", "project", "name"],
    )
