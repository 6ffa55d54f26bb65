"""The one cookie of the gateway."""

from __future__ import annotations

from starlette.responses import Response

from podkit_gateway.people import SESSION_LIFE
from podkit_gateway.runtime import Runtime


def set_cookie(runtime: Runtime, response: Response, session: str) -> None:
    """Has the browser keep the session: unseen by scripts, and not sent from pages of others."""
    response.set_cookie(
        runtime.access.cookie_name,
        session,
        max_age=int(SESSION_LIFE),
        path="/",
        secure=runtime.settings.secure,
        httponly=True,
        samesite="lax",
    )
