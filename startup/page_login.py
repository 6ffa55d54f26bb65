"""Writes the pod's login into the database of another pod's chats, which knows only the login that
it was made with. Run by Open WebUI's own Python, with its environment, before it starts.
"""

import asyncio
import importlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

ADMIN = "SELECT id FROM user WHERE email = ? OR role = 'admin' ORDER BY email = ? DESC, rowid"
"""The account of this e-mail address, else the oldest admin's."""
LOGIN = "UPDATE auth SET email = ?, password = ?, active = 1, session_stamp = ? WHERE id = ?"
"""A new stamp ends the old sessions."""
UPLOADS = (
    "UPDATE file SET path = ? || substr(path, instr(path, '/uploads/'))"
    " WHERE path LIKE '%/uploads/%'"
)


def main(data: Path, email: str, password: str) -> None:
    """A database without an admin stays as it is: Open WebUI makes the one of its settings."""
    auth = importlib.import_module("open_webui.utils.auth")
    hashed = asyncio.run(auth.get_password_hash(password))
    with closing(sqlite3.connect(data / "webui.db")) as database, database:
        found = database.execute(ADMIN, (email, email)).fetchone()
        if found:
            database.execute(
                "UPDATE user SET email = ?, role = 'admin' WHERE id = ?",
                (email, found[0]),
            )
            database.execute(LOGIN, (email, hashed, os.urandom(16).hex(), found[0]))
        database.execute(UPLOADS, (str(data),))


if __name__ == "__main__":
    main(
        Path(os.environ["DATA_DIR"]),
        os.environ["WEBUI_ADMIN_EMAIL"].lower(),
        os.environ["WEBUI_ADMIN_PASSWORD"],
    )
