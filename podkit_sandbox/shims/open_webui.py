"""Stands in for `open-webui serve` (0.12.4): one page that says so, and the routes that prove a login.

Like the real one it makes the administrator from WEBUI_ADMIN_* only in an empty database, and not at all, with
no more than `onboarding` in its configuration to show it, from a password over 72 bytes.
"""

import argparse
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import urllib.request
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

WRONG = "The email or password provided is incorrect. Please check for typos and try logging in again."
CLOSED = "You do not have permission to access this resource. Please contact your administrator for assistance."
PAGE = """<!doctype html><meta charset="utf-8"><title>podkit sandbox</title>
<h1>The sandbox's stand-in for Open WebUI</h1><p id="told">Sign in to see the model. There is no chat here.</p>
<form><input name="email" placeholder="Email"><input name="password" type="password"><button>Sign in</button></form>
<script>document.forms[0].onsubmit = async event => {
  event.preventDefault()
  const form = {method: 'POST', body: JSON.stringify(Object.fromEntries(new FormData(event.target)))}
  const user = await (await fetch('/api/v1/auths/signin', form)).json()
  const list = await (await fetch('/api/models', {headers: {Authorization: 'Bearer ' + user.token}})).json()
  told.textContent = user.detail || 'Served by a stand-in: ' + list.data.map(model => model.id).join(', ')
}</script>"""


def hashed(password: str, salt: str) -> str:
    return f"{salt}${hashlib.pbkdf2_hmac('sha256', password.encode(), salt.encode(), 10_000).hex()}"


def database() -> sqlite3.Connection:
    """DATA_DIR/webui.db, in WAL mode as the real one's."""
    folder = Path(os.environ.get("DATA_DIR", "data"))
    folder.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(folder / "webui.db", isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE IF NOT EXISTS user (id TEXT PRIMARY KEY, email, name, role)")
    db.execute("CREATE TABLE IF NOT EXISTS auth (id TEXT PRIMARY KEY, email, password, active)")
    return db


class WebUI:
    """The login; its database stays open, as the real one's does."""

    def __init__(self, email: str, password: str):
        self.db = database()
        if self.empty() and email and 0 < len(password.encode()) <= 72:
            user, stored = secrets.token_hex(16), hashed(password, secrets.token_hex(8))
            self.db.execute("INSERT INTO user VALUES (?, ?, 'Admin', 'admin')", (user, email.lower()))
            self.db.execute("INSERT INTO auth VALUES (?, ?, ?, 1)", (user, email.lower(), stored))

    def empty(self) -> bool:
        return self.db.execute("SELECT 1 FROM user").fetchone() is None

    async def config(self, _: Request) -> Response:
        features = {"auth": True, "enable_signup": False, "enable_login_form": True}
        told = {"status": True, "name": "Open WebUI (sandbox)", "version": "0.12.4", "features": features}
        return JSONResponse(({"onboarding": True} if self.empty() else {}) | told)

    async def signin(self, request: Request) -> Response:
        form = await request.json()
        query = "SELECT id, email, password FROM auth WHERE email = ? AND active"
        user, email, stored = self.db.execute(query, (form["email"].lower(),)).fetchone() or ("", "", "")
        if not user or hashed(form["password"], stored.partition("$")[0]) != stored:
            return JSONResponse({"detail": WRONG}, status_code=400)
        told = {"id": user, "email": email, "name": "Admin", "role": "admin", "profile_image_url": ""}
        return JSONResponse({"token": signed(user), "token_type": "Bearer", "expires_at": None, **told})


def signed(user: str) -> str:
    """A session's token; WEBUI_SECRET_KEY makes it outlast a restart."""
    return f"{user}.{hmac.digest(os.environ.get('WEBUI_SECRET_KEY', '').encode(), user.encode(), 'sha256').hex()}"


def models(request: Request) -> Response:
    """The models of the first OPENAI_API_BASE_URLS, for those who signed in."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(token.encode(), signed(token.partition(".")[0]).encode()):
        return JSONResponse({"detail": "Not authenticated"}, status_code=401)
    url, key = (os.environ.get(f"OPENAI_API_{name}", "").partition(";")[0] for name in ("BASE_URLS", "KEYS"))
    asked = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {key}"})  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310
            return JSONResponse({"data": json.load(answer)["data"]})
    except OSError:
        return JSONResponse({"data": []})


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser(prog="open-webui")
    serve = parser.add_subparsers(required=True).add_parser("serve")
    serve.add_argument("--host", default="")
    serve.add_argument("--port", type=int, default=8080)
    args = parser.parse_args()
    admin = (os.environ.get(f"WEBUI_ADMIN_{name}", "") for name in ("EMAIL", "PASSWORD"))
    webui = WebUI(*admin)
    routes = [
        Route("/", lambda _: HTMLResponse(PAGE)),
        Route("/health", lambda _: JSONResponse({"status": True})),
        Route("/api/config", webui.config),
        Route("/api/models", models),
        Route("/api/v1/auths/signin", webui.signin, methods=["POST"]),
        Route("/api/v1/auths/signup", lambda _: JSONResponse({"detail": CLOSED}, status_code=403), methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), host=args.host, port=args.port, access_log=False)


if __name__ == "__main__":
    main()
