"""Open WebUI's chats across pods: on local disk while it serves them, whole and checked snapshots on the volume.

It must never write over another pod's chats. As a program of Open WebUI's Python it writes login and folder into them.
"""

import asyncio
import importlib
import json
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from pod_log import say

LEASE_SECONDS = 300.0


def sound(database: Path) -> bool:
    with suppress(sqlite3.Error, OSError), closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)] and bool(
            database.stat().st_size
        )
    return False


class Chats:
    """One model's chats on the volume: snapshots, the newest two kept, and the lease to write them."""

    def __init__(self, folder: Path, data: Path, pod: str) -> None:
        self.folder, self.data, self.pod, self.lock = folder, data, pod, threading.Lock()
        self.base, self.told = "", False  # the snapshot that these chats continue
        self.live = False  # Open WebUI serves them: what it cannot start with must not replace a good snapshot
        self.saved: list[tuple[int, int]] = []

    def snapshots(self) -> list[Path]:
        return sorted(self.folder.glob("20*"))

    def holds_lease(self, now: float) -> bool:
        """Takes or renews the lease; True if it was ours before: who lost a race for it sees that at the next call.

        No locks: flock can silently do nothing on a network mount. A pod that missed another's snapshot never gets it.
        """
        path, lease = self.folder / "lease.json", {}
        with suppress(OSError, ValueError):
            lease = json.loads(path.read_text())
        ours = lease.get("pod") == self.pod
        missed = any(snapshot.name > self.base for snapshot in self.snapshots())
        if missed or (not ours and lease.get("expires", 0) > now):
            return False
        draft = self.folder / f".lease-{self.pod}"
        draft.write_text(json.dumps({"pod": self.pod, "expires": now + LEASE_SECONDS}))
        draft.replace(path)
        return ours

    def restore(self, now: float) -> None:
        """Brings back the newest sound snapshot; sets damaged ones aside."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.base = max((path.name for path in self.snapshots()), default="")
        self.holds_lease(now)
        for snapshot in reversed(self.snapshots()):
            shutil.rmtree(self.data, ignore_errors=True)
            with suppress(OSError):
                shutil.copytree(snapshot, self.data)
            if sound(self.data / "webui.db"):
                say(f"chats restored from {snapshot.name}")
                return
            say(f"chats: {snapshot.name} is damaged, trying the one before")
            snapshot.rename(self.folder / f"damaged-{snapshot.name}")
        shutil.rmtree(self.data, ignore_errors=True)
        (self.data / "uploads").mkdir(parents=True)

    def keep(self, now: float, last: bool = False) -> None:
        """Saves what is new if the lease is ours; `last` gives the lease back, so that the next pod need not wait."""
        with self.lock:
            if not self.live:
                return
            try:
                held = self.holds_lease(now)
                if not held and not self.told:
                    say("chats of this pod are not kept: another pod of this model keeps its own")
                self.told = not held
                paths = [self.data / name for name in ("webui.db", "webui.db-wal", "uploads")]
                changes = [
                    (path.stat().st_mtime_ns, path.stat().st_size)
                    for path in paths
                    if path.exists()
                ]
                if held and changes != self.saved:
                    self.save(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)))
                    self.saved = changes
                if held and last:
                    (self.folder / "lease.json").unlink()
            except (OSError, sqlite3.Error) as error:
                say(f"chats could not be saved: {error}")

    def save(self, name: str) -> None:
        """A snapshot of database and uploads, whole before it has its name. Raises OSError for a damaged database."""
        copy, incoming = self.data.with_name("snapshot.db"), self.folder / f".incoming-{self.pod}"
        with (
            closing(sqlite3.connect(self.data / "webui.db")) as live,
            closing(sqlite3.connect(copy)) as target,
        ):
            live.backup(target)
        if not sound(copy):
            raise OSError("the live database is damaged")
        shutil.rmtree(incoming, ignore_errors=True)
        shutil.copytree(self.data / "uploads", incoming / "uploads")
        shutil.copyfile(copy, incoming / "webui.db")
        incoming.rename(self.folder / name)
        self.base = name
        for old in self.snapshots()[:-2]:
            shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    email, password = os.environ["WEBUI_ADMIN_EMAIL"].lower(), os.environ["WEBUI_ADMIN_PASSWORD"]
    hashed = asyncio.run(
        importlib.import_module("open_webui.utils.auth").get_password_hash(password)
    )
    with closing(sqlite3.connect(f"{os.environ['DATA_DIR']}/webui.db")) as db, db:
        query = (
            "SELECT id FROM user WHERE email = ? OR role = 'admin' ORDER BY email = ? DESC, rowid"
        )
        (admin,) = db.execute(query, (email, email)).fetchone()
        db.execute("UPDATE user SET email = ?, role = 'admin' WHERE id = ?", (email, admin))
        login = (email, hashed, os.urandom(16).hex(), admin)  # a new stamp ends the old sessions
        db.execute(
            "UPDATE auth SET email = ?, password = ?, active = 1, session_stamp = ? WHERE id = ?",
            login,
        )
        moved = "UPDATE file SET path = ? || substr(path, instr(path, '/uploads/')) WHERE path LIKE '%/uploads/%'"
        db.execute(moved, (os.environ["DATA_DIR"],))
