"""Jobs have a hook, an upload, a person, units, and a result that may be kept."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, length in (("hook", 64), ("person", 320), ("upload", 64)):
        column = sa.Column(name, sa.String(length), nullable=False, server_default="")
        op.add_column("jobs", column)
    op.add_column("jobs", sa.Column("units", sa.Double(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("result", sa.LargeBinary()))
    op.create_index("ix_jobs_hook", "jobs", ["hook"])
