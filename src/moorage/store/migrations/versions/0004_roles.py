"""Grants name roles: what was ``admin`` and ``viewer`` becomes the role that permits the same."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    resource = sa.table(
        "resource",
        sa.column("kind", sa.Text),
        sa.column("uid", sa.Text),
        sa.column("spec", sa.Text),
    )
    connection = op.get_bind()
    users = sa.select(resource.c.uid, resource.c.spec).where(resource.c.kind == "User")
    for uid, text in list(connection.execute(users)):
        spec = json.loads(text)
        for grant in spec.get("grants", ()):
            grant["role"] = _role(grant)
        connection.execute(
            resource.update()
            .where(resource.c.kind == "User", resource.c.uid == uid)
            .values(spec=json.dumps(spec, separators=(",", ":")))
        )


def _role(grant: dict[str, str]) -> str:
    wide = grant.get("project", "*") == "*"
    if grant["role"] == "admin":
        return "tenant-admin" if wide else "project-admin"
    return "project-viewer" if grant["role"] == "viewer" else grant["role"]
