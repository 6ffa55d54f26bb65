"""Stands in for `open-webui serve` (0.12.4): one page that says so, and the routes that prove a login."""

import hashlib
import json
import os
import secrets
import sqlite3
import sys
import urllib.request
from functools import cache

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

PAGE = """<!doctype html><meta charset="utf-8"><title>podkit sandbox</title>
<h1>The sandbox's stand-in for Open WebUI</h1>
<p>There is no chat and nothing to sign in to; the real one comes with <code>--real-webui</code>.
<p>Behind it answers, itself a stand-in: """


def hashed(password: str, salt: str) -> str:
    return salt + hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 10_000).hex()


async def get_password_hash(password: str) -> str:
    """The sandbox's venv has this as `open_webui.utils.auth.get_password_hash`."""
    return hashed(password, secrets.token_hex(8))


@cache
def database() -> sqlite3.Connection:
    """DATA_DIR/webui.db, as the real one's in WAL mode and kept open; an empty one gets the admin of the settings."""
    db = sqlite3.connect(f"{os.environ['DATA_DIR']}/webui.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE IF NOT EXISTS user (id, email, role)")
    db.execute("CREATE TABLE IF NOT EXISTS auth (id, email, password, active, session_stamp)")
    db.execute("CREATE TABLE IF NOT EXISTS file (id, path)")
    if not db.execute("SELECT 1 FROM user").fetchone():
        email, password = (
            os.environ["WEBUI_ADMIN_EMAIL"].lower(),
            os.environ["WEBUI_ADMIN_PASSWORD"],
        )
        db.execute("INSERT INTO user VALUES (1, ?, 'admin')", (email,))
        db.execute(
            "INSERT INTO auth VALUES (1, ?, ?, 1, '')",
            (email, hashed(password, secrets.token_hex(8))),
        )
    return db


async def signin(request: Request) -> Response:
    form = await request.json()
    for (stored,) in database().execute(
        "SELECT password FROM auth WHERE email = ?", (form["email"].lower(),)
    ):
        if hashed(form["password"], stored[:16]) == stored:
            return JSONResponse(
                {"token": secrets.token_hex(16), "token_type": "Bearer", "role": "admin"}
            )
    return JSONResponse({"detail": "The email or password provided is incorrect."}, 400)


def page(_: Request) -> Response:
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEYS']}"}
    asked = urllib.request.Request(f"{os.environ['OPENAI_API_BASE_URLS']}/models", headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310
            return HTMLResponse(
                PAGE + ", ".join(model["id"] for model in json.load(answer)["data"])
            )
    except OSError:
        return HTMLResponse(PAGE + "nobody yet")


ROUTES = [
    Route("/", page),
    Route("/health", lambda _: JSONResponse({"status": True})),
    Route("/api/config", lambda _: JSONResponse({"status": True, "version": "0.12.4"})),
    Route("/api/v1/auths/signin", signin, methods=["POST"]),
    Route("/api/v1/auths/signup", lambda _: Response(status_code=403), methods=["POST"]),
]

app = Starlette(routes=ROUTES)

if __name__ == "__main__":  # serve --host HOST --port PORT: on loopback, whatever the host
    database()
    uvicorn.run(app, port=int(sys.argv[-1]), access_log=False)
