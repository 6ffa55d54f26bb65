"""Open WebUI's chats across pods: on local disk while it serves them, whole and checked snapshots
on the volume. It must never write over another pod's chats, nor delete chats that it cannot read.
"""

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Set
from contextlib import closing, suppress
from pathlib import Path

from pod_log import say

LEASE_SECONDS = 300.0
KEPT_SNAPSHOTS = 2
DATABASE = "webui.db"
UPLOADS = "uploads"
WRITTEN = (DATABASE, f"{DATABASE}-wal", UPLOADS)
"""What changes in a page's data when somebody uses it."""


def is_sound(database: Path) -> bool:
    with suppress(sqlite3.Error, OSError), closing(sqlite3.connect(database)) as connection:
        checked = connection.execute("PRAGMA integrity_check").fetchall()
        return checked == [("ok",)] and database.stat().st_size > 0
    return False


def schema_of(database: Path) -> str:
    """The revision of a database's schema, as alembic has noted it there; empty if it has not."""
    noted = "SELECT version_num FROM alembic_version"
    with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.OperationalError):
        for (revision,) in connection.execute(noted):
            return str(revision)
    return ""  # no such table


def known_schemas(environment: Path) -> set[str]:
    """The schemas that the Open WebUI of this virtual environment can read.

    Each of its migrations is a file named after its revision (0.12.4). What has none, as the
    sandbox's stand-in, reads only a database without a revision.
    """
    folder = "open_webui/migrations/versions"
    found = set()
    for migration in environment.glob(f"lib/python3*/site-packages/{folder}/*.py"):
        found.add(migration.name.partition("_")[0])
    return found or {""}


class Chats:
    """One model's chats on the volume: the newest snapshots, and the lease to write them.

    `live` is to be set once Open WebUI serves them: what it cannot start with must not replace a
    good snapshot.
    """

    def __init__(self, folder: Path, data: Path, pod: str) -> None:
        self.folder = folder
        self.data = data
        self.pod = pod
        self.live = False
        self._lock = threading.Lock()
        self._base = ""  # the snapshot that these chats continue
        self._told = False
        self._saved: list[tuple[int, int]] = []

    def snapshots(self) -> list[Path]:
        return sorted(self.folder.glob("20*"))

    def holds_lease(self, now: float) -> bool:
        """Takes or renews the lease; True if it was ours before: who lost a race for it sees that
        at the next call.

        No locks: flock can silently do nothing on a network mount. A pod that missed another's
        snapshot never gets it.
        """
        path = self.folder / "lease.json"
        lease = {}
        with suppress(OSError, ValueError):
            lease = json.loads(path.read_text())
        ours = lease.get("pod") == self.pod
        missed = any(snapshot.name > self._base for snapshot in self.snapshots())
        if missed or (not ours and lease.get("expires", 0) > now):
            return False
        draft = self.folder / f".lease-{self.pod}"
        draft.write_text(json.dumps({"pod": self.pod, "expires": now + LEASE_SECONDS}))
        draft.replace(path)
        return ours

    def restore(self, now: float, schemas: Set[str]) -> None:
        """Brings back the newest snapshot that is sound and of one of `schemas`.

        The others are set aside under another name, where nothing deletes them. Without any, the
        page begins again.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._base = max((path.name for path in self.snapshots()), default="")
        self.holds_lease(now)
        for snapshot in reversed(self.snapshots()):
            shutil.rmtree(self.data, ignore_errors=True)
            with suppress(OSError):
                shutil.copytree(snapshot, self.data, symlinks=True)
            if not is_sound(self.data / DATABASE):
                self._set_aside(snapshot, "damaged", "is damaged")
            elif schema_of(self.data / DATABASE) not in schemas:
                self._set_aside(snapshot, "foreign", "is of another chat page or a newer one")
            else:
                say(f"chats restored from {snapshot.name}")
                return
        shutil.rmtree(self.data, ignore_errors=True)
        (self.data / UPLOADS).mkdir(parents=True)

    def _set_aside(self, snapshot: Path, kind: str, why: str) -> None:
        aside = self.folder / f"{kind}-{snapshot.name}"
        snapshot.rename(aside)
        say(f"chats: {snapshot.name} {why}: kept as {aside}, trying the one before")

    def keep(self, now: float, last: bool = False) -> None:
        """Saves what is new if the lease is ours; `last` gives the lease back, so that the next pod
        need not wait.
        """
        with self._lock:
            if not self.live:
                return
            try:
                self._save_if_ours(now, last)
            except (OSError, sqlite3.Error) as error:
                say(f"chats could not be saved: {error}")

    def _save_if_ours(self, now: float, last: bool) -> None:
        held = self.holds_lease(now)
        if not held and not self._told:
            say("chats of this pod are not kept: another pod of this model keeps its own")
        self._told = not held
        if not held:
            return
        changes = self._changes()
        try:
            if changes != self._saved:
                self._save(self._name_of(now))
                self._saved = changes
        finally:
            if last:
                (self.folder / "lease.json").unlink()

    def _name_of(self, now: float) -> str:
        """A snapshot's name, its time; if that second has one already, the next free one."""
        while True:
            name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
            if not (self.folder / name).exists():
                return name
            now += 1

    def _changes(self) -> list[tuple[int, int]]:
        found = []
        for name in WRITTEN:
            path = self.data / name
            if path.exists():
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size))
        return found

    def _save(self, name: str) -> None:
        """A snapshot of database and uploads, whole before it has its name. Raises OSError for a
        damaged database.
        """
        copy = self.data.with_name("snapshot.db")
        incoming = self.folder / f".incoming-{self.pod}"
        with (
            closing(sqlite3.connect(self.data / DATABASE)) as live,
            closing(sqlite3.connect(copy)) as target,
        ):
            live.backup(target)
        if not is_sound(copy):
            raise OSError("the live database is damaged")
        shutil.rmtree(incoming, ignore_errors=True)
        shutil.copytree(self.data / UPLOADS, incoming / UPLOADS, symlinks=True)
        shutil.copyfile(copy, incoming / DATABASE)
        incoming.rename(self.folder / name)
        self._base = name
        for old in self.snapshots()[:-KEPT_SNAPSHOTS]:
            shutil.rmtree(old, ignore_errors=True)
