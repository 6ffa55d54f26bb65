"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_teams()
    create_people()
    create_keys()
    create_sessions()
    create_usage()
    create_usage_hours()
    create_jobs()


def create_teams() -> None:
    op.create_table(
        "teams",
        sa.Column("name", sa.String(length=100), primary_key=True),
        sa.Column("limits", sa.JSON(), nullable=False),
    )


def create_people() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("email", sa.String(length=320), nullable=False, unique=True),
        sa.Column("password", sa.Text()),
        sa.Column("google_sub", sa.String(length=255), unique=True),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("team", sa.String(length=100), sa.ForeignKey("teams.name")),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("model_limits", sa.JSON(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("disabled", sa.Double()),
    )


def create_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=8), primary_key=True),
        sa.Column("digest", sa.String(length=64), nullable=False, unique=True),
        sa.Column("prefix", sa.String(length=60), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("owner_id", sa.Integer(), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("models", sa.JSON()),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("allow_cidrs", sa.JSON(), nullable=False),
        sa.Column("allow_fallback", sa.Boolean(), nullable=False),
        sa.Column("allow_external", sa.Boolean(), nullable=False),
        sa.Column("on_behalf", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double()),
        sa.Column("last_used", sa.Double()),
        sa.Column("revoked", sa.Double()),
        sa.Column("successor", sa.String(length=8)),
    )
    op.create_index("ix_keys_owner_id", "keys", ["owner_id"])


def create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), primary_key=True),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("person_id", sa.Integer(), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("last_seen", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
    )
    op.create_index("ix_sessions_person_id", "sessions", ["person_id"])


def create_usage() -> None:
    op.create_table(
        "usage",
        sa.Column("id", sa.String(length=64), primary_key=True),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("team", sa.String(length=100), nullable=False),
        sa.Column("person", sa.String(length=320), nullable=False),
        sa.Column("model_asked", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("backend", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("counted", sa.String(length=10), nullable=False),
        sa.Column("units", sa.Double(), nullable=False),
        sa.Column("first_byte_ms", sa.Integer(), nullable=False),
        sa.Column("total_ms", sa.Integer(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
    )
    op.create_index("ix_usage_time", "usage", ["time"])


def create_usage_hours() -> None:
    op.create_table(
        "usage_hours",
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("team", sa.String(length=100), nullable=False),
        sa.Column("person", sa.String(length=320), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.Double(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "key_id", "owner_id", "team", "person", "model"),
    )
    op.create_index("usage_hours_owner", "usage_hours", ["owner_id", "hour"])


def create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=40), primary_key=True),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("team", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("backend", sa.String(length=200), nullable=False),
        sa.Column("remote_id", sa.String(length=100)),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("finished", sa.Double()),
        sa.Column("error", sa.Text()),
    )
    op.create_index("ix_jobs_owner_id", "jobs", ["owner_id"])
