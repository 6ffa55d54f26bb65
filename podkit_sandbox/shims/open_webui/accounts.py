"""Who may sign in, in the tables of Open WebUI that a pod writes its login into, and how often they
may try.
"""

import hashlib
import os
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from functools import cache

SALT_LETTERS = 16
MOST_SIGNINS = 15
"""Open WebUI 0.12.4: so many in three minutes for each e-mail; successes, refusals and 429s all
count.
"""
BUCKET_SECONDS = 60
BUCKETS = 3


def hash_password(password: str, salt: str) -> str:
    digest = hashlib.pbkdf2_hmac(
        "sha256", password.encode("utf-8", "replace"), salt.encode(), 10_000
    )
    return salt + digest.hex()


async def get_password_hash(password: str) -> str:
    """The sandbox's venv has this as `open_webui.utils.auth.get_password_hash`."""
    return hash_password(password, secrets.token_hex(SALT_LETTERS // 2))


@cache
def database() -> sqlite3.Connection:
    """DATA_DIR/webui.db, as the real one's in WAL mode and kept open; an empty one gets
    the admin.
    """
    path = f"{os.environ['DATA_DIR']}/webui.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
        db.execute("CREATE TABLE user (id, email, role)")
        db.execute("CREATE TABLE auth (id, email, password, active, session_stamp)")
        db.execute("CREATE TABLE file (id, path)")
        email = os.environ["WEBUI_ADMIN_EMAIL"].lower()
        password = hash_password(
            os.environ["WEBUI_ADMIN_PASSWORD"], secrets.token_hex(SALT_LETTERS // 2)
        )
        db.execute("INSERT INTO user VALUES (1, ?, 'admin')", (email,))
        db.execute("INSERT INTO auth VALUES (1, ?, ?, 1, '')", (email, password))
    return db


def is_right(email: str, password: str) -> bool:
    """Whether somebody signs in with this."""
    rows = database().execute("SELECT password FROM auth WHERE email = ?", (email.lower(),))
    for (stored,) in rows:
        given = hash_password(password, stored[:SALT_LETTERS])
        if secrets.compare_digest(given, stored):
            return True
    return False


class SigninLimit:
    """Counts who tries to sign in, minute by minute."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._tries: dict[str, Counter[int]] = {}

    def is_over(self, email: str) -> bool:
        """Counts one more try; whether that was one too many."""
        now = int(self._clock()) // BUCKET_SECONDS
        before = self._tries.get(email, Counter[int]())
        kept = {minute: count for minute, count in before.items() if minute >= now - BUCKETS}
        tries = Counter(kept)
        tries[now] += 1
        self._tries[email] = tries
        return tries.total() > MOST_SIGNINS
