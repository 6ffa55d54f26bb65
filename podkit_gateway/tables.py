"""The tables, as SQLAlchemy Core. Times are Unix seconds, so that SQLite and PostgreSQL hold the
same numbers.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

HEAD = "0002"
"""The newest migration. A test holds it equal to what Alembic finds in migrations/, which takes a
second to import.
"""

metadata = MetaData()

teams = Table(
    "teams",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("limits", JSON, nullable=False),
)

people = Table(
    "people",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("email", String(320), nullable=False, unique=True),
    Column("password", Text),
    Column("google_sub", String(255), unique=True),
    Column("role", String(10), nullable=False),
    Column("team", String(100), ForeignKey("teams.name")),
    Column("limits", JSON, nullable=False),
    Column("model_limits", JSON, nullable=False),
    Column("created", Double, nullable=False),
    Column("disabled", Double),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("prefix", String(60), nullable=False),
    Column("label", String(100), nullable=False),
    Column("owner_id", Integer, ForeignKey("people.id"), nullable=False, index=True),
    Column("scopes", JSON, nullable=False),
    Column("models", JSON),
    Column("limits", JSON, nullable=False),
    Column("allow_cidrs", JSON, nullable=False),
    Column("allow_fallback", Boolean, nullable=False),
    Column("allow_external", Boolean, nullable=False),
    Column("on_behalf", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("last_used", Double),
    Column("revoked", Double),
    Column("successor", String(8)),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("person_id", Integer, ForeignKey("people.id"), nullable=False, index=True),
    Column("created", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Column("expires", Double, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("time", Double, nullable=False, index=True),
    Column("key_id", String(8), nullable=False),
    Column("owner_id", Integer, nullable=False),
    Column("team", String(100), nullable=False),
    Column("person", String(320), nullable=False),
    Column("model_asked", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("backend", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("status", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("counted", String(10), nullable=False),
    Column("units", Double, nullable=False),
    Column("first_byte_ms", Integer, nullable=False),
    Column("total_ms", Integer, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("price", Double, nullable=False),
)

usage_hours = Table(
    "usage_hours",
    metadata,
    Column("hour", BigInteger, nullable=False),
    Column("key_id", String(8), nullable=False),
    Column("owner_id", Integer, nullable=False),
    Column("team", String(100), nullable=False),
    Column("person", String(320), nullable=False),
    Column("model", String(200), nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("units", Double, nullable=False),
    Column("price", Double, nullable=False),
    PrimaryKeyConstraint("hour", "key_id", "owner_id", "team", "person", "model"),
    Index("usage_hours_owner", "owner_id", "hour"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner_id", Integer, nullable=False, index=True),
    Column("key_id", String(8), nullable=False),
    Column("team", String(100), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("model", String(200), nullable=False),
    Column("backend", String(200), nullable=False),
    Column("remote_id", String(100)),
    Column("status", String(20), nullable=False),
    Column("created", Double, nullable=False),
    Column("finished", Double),
    Column("error", Text),
    Column("hook", String(64), nullable=False, server_default="", index=True),
    Column("person", String(320), nullable=False, server_default=""),
    Column("upload", String(64), nullable=False, server_default=""),
    Column("units", Double, nullable=False, server_default="0"),
    Column("result", LargeBinary),
)
