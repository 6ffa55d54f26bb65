"""Open WebUI: the proof that only the admin gets in, and its chats across pods.

The database lives on local disk; what goes to the volume are whole, checked snapshots, renamed into place and
written only by the holder of a lease. It must never listen beyond loopback before the login is proven.
`webui.py set-login`, run by Open WebUI's own Python, writes a changed email and password into the database.
"""

import asyncio
import importlib
import json
import os
import secrets
import shutil
import sqlite3
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from process import LOCAL, POD, SETTINGS, STARTUP, Fatal, Service, environment, request, run, say, wait_healthy

LEASE_SECONDS = 300.0
DATA = LOCAL / "webui-data"
BIN = LOCAL / "venv-webui" / "bin"
BASE = f"http://127.0.0.1:{SETTINGS['PODKIT_WEBUI_PORT']}"


def start(host: str) -> Service:
    argv = [str(BIN / "open-webui"), "serve", "--host", host, "--port", SETTINGS["PODKIT_WEBUI_PORT"]]
    service = Service("webui", argv, environment("webui.env"))
    wait_healthy(service, BASE)
    return service


def serve_proven() -> Service:
    """Open WebUI, public. Raises Fatal, with it ended, unless the admin gets in and nobody else can."""
    service = start("127.0.0.1")
    if not signs_in():  # a restored database knows the login that it was made with
        run("webui", [str(BIN / "python"), str(STARTUP / "webui.py"), "set-login"])
    stranger = {"name": "x", "email": "stranger@podkit.local", "password": secrets.token_hex(8)}
    _, config = request(f"{BASE}/api/config")
    proofs = {
        "the admin cannot sign in": signs_in(),
        "the first visitor could become admin": bool(config) and config.get("onboarding") is not True,
        "a stranger can sign up": request(f"{BASE}/api/v1/auths/signup", stranger)[0] == 403,
    }
    service.stop(5)
    for reason, proven in proofs.items():
        if not proven:
            raise Fatal(f"Open WebUI is not safe to show: {reason}", "read its lines above; deploy again")
    return start("0.0.0.0")  # noqa: S104 - reached through the platform's proxy


def signs_in() -> bool:
    login = {"email": SETTINGS["WEBUI_ADMIN_EMAIL"], "password": SETTINGS["WEBUI_ADMIN_PASSWORD"]}
    return request(f"{BASE}/api/v1/auths/signin", login)[0] == 200


async def set_login(email: str, password: str) -> None:
    """Gives the admin this email and password, hashed by Open WebUI's own code; the old sessions end."""
    hashed = await importlib.import_module("open_webui.utils.auth").get_password_hash(password)
    with closing(sqlite3.connect(DATA / "webui.db")) as db, db:
        query = "SELECT id FROM user WHERE email = ? OR role = 'admin' ORDER BY email = ? DESC, rowid"
        admin = db.execute(query, (email, email)).fetchone()
        if not admin:
            sys.exit("no admin account was made: is WEBUI_ADMIN_EMAIL an email address?")
        db.execute("UPDATE user SET email = ?, role = 'admin' WHERE id = ?", (email, *admin))
        db.execute("UPDATE auth SET email = ?, password = ?, active = 1 WHERE id = ?", (email, hashed, *admin))
        if "session_stamp" in [column[1] for column in db.execute("PRAGMA table_info(auth)")]:
            db.execute("UPDATE auth SET session_stamp = ? WHERE id = ?", (secrets.token_hex(16), *admin))


def sound(database: Path) -> bool:
    with suppress(sqlite3.Error, OSError), closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)] and bool(database.stat().st_size)
    return False


class Chats:
    """One model's chats on the volume: snapshots, the newest two kept, and the lease to write them."""

    def __init__(self, folder: Path, data: Path = DATA, pod: str = POD) -> None:
        self.folder, self.data, self.pod, self.lock = folder, data, pod, threading.Lock()
        self.base: str | None = None  # the snapshot that this pod's chats continue; None before the restore
        self.live = False  # set when Open WebUI serves them: what it cannot start with must not replace a good one
        self.saved: Any = None
        self.told = False

    def snapshots(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("20*"))

    def take_lease(self, now: float) -> str:
        """Renews or takes the lease: "held" if it was ours already, "taken" if it is new, else "refused".

        Only "held" may write: who lost a race for the lease sees it at the next call. There are no locks, since
        flock can silently do nothing on a network mount. A pod that missed another's snapshot never gets it.
        """
        path, lease = self.folder / "lease.json", {}
        with suppress(OSError, ValueError):
            lease = json.loads(path.read_text())
        ours = lease.get("pod") == self.pod
        missed = any(snapshot.name > (self.base or "") for snapshot in self.snapshots())
        if missed or (not ours and lease.get("expires", 0) > now):
            return "refused"
        draft = self.folder / f".lease-{self.pod}"
        draft.write_text(json.dumps({"pod": self.pod, "expires": now + LEASE_SECONDS}))
        draft.replace(path)
        return "held" if ours else "taken"

    def restore(self, now: float) -> None:
        """Brings back the newest sound snapshot. The lease's holder sets damaged ones aside."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.base = max((path.name for path in self.snapshots()), default="")
        may_write = self.take_lease(now) != "refused"
        for snapshot in reversed(self.snapshots()):
            shutil.rmtree(self.data, ignore_errors=True)
            with suppress(OSError):
                shutil.copytree(snapshot, self.data)
            if sound(self.data / "webui.db"):
                say(f"chats restored from {snapshot.name}")
                return
            say(f"chats: {snapshot.name} is damaged, trying the one before")
            if may_write:
                snapshot.rename(self.folder / f"damaged-{snapshot.name}")
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)

    def keep(self, now: float, last: bool = False) -> None:
        """Saves what is new if the lease is ours; `last` gives the lease back, so that the next pod need not wait."""
        with self.lock:
            if self.base is None:
                return
            state = self.take_lease(now)
            if state == "refused" and not self.told:
                say("chats of this pod are not kept: another pod of this model keeps its own")
            self.told = state == "refused"
            changes = self.changes()
            if state == "held" and self.live and changes != self.saved:
                self.save(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)))
                self.saved = changes
            if state == "held" and last:
                (self.folder / "lease.json").unlink()

    def changes(self) -> list[tuple[int, int]]:
        paths = [self.data / name for name in ("webui.db", "webui.db-wal", "uploads")]
        return [(path.stat().st_mtime_ns, path.stat().st_size) for path in paths if path.exists()]

    def save(self, name: str) -> None:
        """A snapshot of database and uploads. An upload never changes: it is linked to the last, where that works."""
        copy = self.data.with_name("snapshot.db")
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.data / "webui.db")) as live, closing(sqlite3.connect(copy)) as target:
            live.backup(target)
        if not sound(copy):
            raise OSError("the live database is damaged")
        incoming = self.folder / f".incoming-{self.pod}-{secrets.token_hex(4)}"
        incoming.mkdir(mode=0o700)
        shutil.copyfile(copy, incoming / "webui.db")
        with open(incoming / "webui.db", "rb") as file:
            os.fsync(file.fileno())
        previous = self.folder / (self.base or name) / "uploads"

        def carry(source: str, target: str) -> None:
            try:
                os.link(previous / Path(source).name, target)
            except OSError:
                shutil.copyfile(source, target)

        if (self.data / "uploads").is_dir():
            shutil.copytree(self.data / "uploads", incoming / "uploads", copy_function=carry)
        incoming.rename(self.folder / name)
        self.base = name
        for old in [*self.snapshots()[:-2], *self.folder.glob(".incoming-*")]:
            shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__" and sys.argv[1:] == ["set-login"]:
    asyncio.run(set_login(os.environ["WEBUI_ADMIN_EMAIL"].lower(), os.environ["WEBUI_ADMIN_PASSWORD"]))
