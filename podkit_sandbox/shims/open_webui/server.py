"""The routes of the light page: the page itself for everybody, all else for who has signed in."""

import base64
import hashlib
import json
import re
import secrets
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from podkit_sandbox.shims.open_webui.accounts import SigninLimit, database, is_right
from podkit_sandbox.shims.open_webui.upstream import Upstream

VERSION = "0.12.4"
PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
CONFIG = {
    "status": True,
    "name": "podkit sandbox (light page)",
    "version": VERSION,
    "features": {"auth": True, "enable_signup": False, "enable_login_form": True},
}


def policy(page: str) -> str:
    """The page's content security policy: its own script and style, and nothing from elsewhere."""
    sources = {"script-src": "script", "style-src": "style"}
    parts = ["default-src 'none'", "connect-src 'self'", "img-src data:", "frame-ancestors 'none'"]
    for directive, tag in sources.items():
        text = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        parts.append(f"{directive} 'sha256-{digest}'")
    return "; ".join(parts)


HEADERS = {"Content-Security-Policy": policy(PAGE), "Cache-Control": "no-store"}


class LightPage:
    """One page with its sessions, which end with its process."""

    def __init__(self) -> None:
        database()  # an empty one gets the admin before anybody can ask
        self._limit = SigninLimit()
        self._sessions: dict[str, str] = {}

    def app(self) -> Starlette:
        routes = [
            Route("/", page),
            Route("/auth", page),
            Route("/health", lambda _: JSONResponse({"status": True})),
            Route("/api/config", lambda _: JSONResponse(CONFIG)),
            Route("/api/v1/auths/signin", self.sign_in, methods=["POST"]),
            Route("/api/v1/auths/signup", sign_up, methods=["POST"]),
            Route("/api/v1/auths/signout", self.sign_out, methods=["GET", "POST"]),
            Route("/api/v1/auths/", self.who),
            Route("/api/models", self.models),
            Route("/api/chat/completions", self.chat, methods=["POST"]),
            Route("/{path:path}", self.nothing, methods=["GET", "POST"]),
        ]
        return Starlette(routes=routes)

    async def sign_in(self, request: Request) -> Response:
        """A session for the right login; 15 tries in three minutes for each e-mail."""
        email, password = await _login(request)
        if not email or not password:
            return detail(422, "email and password are needed")
        if self._limit.is_over(email.lower()):
            return detail(429, "The API rate limit has been exceeded")
        if not is_right(email, password):
            return detail(400, "The email or password provided is incorrect. Please check both.")
        token = secrets.token_hex(32)
        self._sessions[token] = email.lower()
        return JSONResponse({"token": token, "token_type": "Bearer", **_user(email.lower())})

    async def sign_out(self, request: Request) -> Response:
        self._sessions.pop(_token(request), None)
        return JSONResponse({"status": True})

    async def who(self, request: Request) -> Response:
        """The one who has signed in."""
        email = self._email(request)
        return JSONResponse(_user(email)) if email else unauthorized()

    async def models(self, request: Request) -> Response:
        """The models behind the page; none while they load."""
        if not self._email(request):
            return unauthorized()
        return await pass_on(Upstream("GET", "/models"))

    async def chat(self, request: Request) -> Response:
        """A chat completion of the model server, as it comes."""
        if not self._email(request):
            return unauthorized()
        return await pass_on(Upstream("POST", "/chat/completions", await request.body()))

    async def nothing(self, request: Request) -> Response:
        return detail(404, "Not Found") if self._email(request) else unauthorized()

    def _email(self, request: Request) -> str:
        return self._sessions.get(_token(request), "")


async def page(_: Request) -> Response:
    return HTMLResponse(PAGE, headers=HEADERS)


async def sign_up(_: Request) -> Response:
    return detail(403, "You do not have permission to access this resource.")


async def pass_on(upstream: Upstream) -> Response:
    """The model server's answer; 503 while there is none."""
    answer = await upstream.open()
    if answer is None:
        return detail(503, "the model server does not answer yet")
    kind = answer.headers.get("content-type", "application/json")
    return StreamingResponse(upstream.chunks(), answer.status, media_type=kind)


def unauthorized() -> Response:
    return detail(401, "Not authenticated")


def detail(status: int, text: str) -> Response:
    """Open WebUI's shape of an error."""
    return JSONResponse({"detail": text}, status)


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _user(email: str) -> dict[str, str]:
    return {"id": "1", "email": email, "name": "Admin", "role": "admin"}


async def _login(request: Request) -> tuple[str, str]:
    """E-mail and password of a request; empty if it has none."""
    try:
        form: Any = json.loads(await request.body())
        return str(form["email"]), str(form["password"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "", ""
