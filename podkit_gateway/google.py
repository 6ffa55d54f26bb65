"""Signing in with Google: code flow with PKCE and nonce, by Authlib. A person is Google's `sub`,
never an e-mail.

An account that has the same e-mail is joined only if Google has verified it and the person gives
the account's password.
"""

from __future__ import annotations

import hashlib
from typing import Any

from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter, Request
from fastapi.responses import Response

from podkit_gateway.errors import Refusal
from podkit_gateway.pages import check_origin, go_to, render
from podkit_gateway.people import add_person, change_person, find_person, normal_email
from podkit_gateway.runtime import Runtime
from podkit_gateway.session_cookie import set_cookie
from podkit_gateway.settings import Settings
from podkit_gateway.sign_in import begin_session, check_password
from podkit_gateway.web import address_of, read_form, runtime_of

STATE_COOKIE = "google-sign-in"
STATE_SECONDS = 600
CANNOT_TRUST = "Google's answer could not be checked; try again."
router = APIRouter(include_in_schema=False)


def register_google(settings: Settings) -> Any:
    """The client of Google, or of another provider that GATEWAY_GOOGLE_ISSUER names."""
    secret = settings.google_client_secret
    return OAuth().register(
        "google",
        client_id=settings.google_client_id,
        client_secret=secret.reveal() if secret else None,
        server_metadata_url=f"{settings.google_issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email", "code_challenge_method": "S256"},
    )


def state_secret(settings: Settings) -> str:
    """What signs the cookie of a sign-in that is under way; the same in all processes."""
    secret = settings.google_client_secret
    text = f"state:{secret.reveal() if secret else ''}"
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@router.get("/auth/google")
async def begin(request: Request) -> Response:
    settings = runtime_of(request).settings
    target = f"{settings.public_url}/auth/google/callback"
    response: Response = await request.app.state.google.authorize_redirect(request, target)
    return response


@router.get("/auth/google/callback")
async def finish(request: Request) -> Response:
    """Checks what Google says, and signs the person in, or asks how their accounts belong
    together.
    """
    runtime = runtime_of(request)
    claims = await read_claims(request, runtime)
    person = await find_person(runtime.engine, google_sub=claims["sub"])
    if person is not None:
        if person["disabled"] is not None:
            return refuse(request, "This account is disabled.")
        return await sign_in(request, runtime, person["id"])
    email = normal_email(claims["email"])
    if not claims.get("email_verified"):
        return refuse(request, "Google has not verified your e-mail address.")
    if await find_person(runtime.engine, email=email) is not None:
        request.session["join"] = {"sub": claims["sub"], "email": email}
        return render(request, "join.html", email=email, problem="")
    if not may_sign_up(runtime.settings, claims):
        return refuse(request, "Accounts are made by an admin here.")
    person_id = await add_person(
        runtime.engine, email, now=runtime.clock(), google_sub=claims["sub"]
    )
    return await sign_in(request, runtime, person_id)


@router.post("/auth/google/join")
async def join(request: Request) -> Response:
    """Joins Google's identity to the account of the same e-mail, for whoever knows its password."""
    runtime = runtime_of(request)
    check_origin(request)
    waiting = request.session.get("join")
    if waiting is None:
        return go_to(request, "/sign-in")
    form = await read_form(request)
    try:
        person = await check_password(
            runtime, waiting["email"], form.get("password", ""), address_of(request)
        )
    except Refusal as refusal:
        return render(
            request,
            "join.html",
            refusal.status,
            email=waiting["email"],
            problem=refusal.message,
        )
    await change_person(runtime.engine, person["id"], google_sub=waiting["sub"])
    request.session.clear()
    return await sign_in(request, runtime, person["id"])


async def read_claims(request: Request, runtime: Runtime) -> dict[str, Any]:
    """The identity that Google vouches for. Raises Refusal for anything forged, replayed or for
    others.
    """
    settings = runtime.settings
    expected = {
        "iss": {"essential": True, "value": settings.google_issuer},
        "aud": {"essential": True, "value": settings.google_client_id},
        "exp": {"essential": True},
        "nonce": {"essential": True},
    }
    try:
        token = await request.app.state.google.authorize_access_token(
            request, claims_options=expected
        )
        claims = dict(token["userinfo"])
        trusted = isinstance(claims["sub"], str) and isinstance(claims["email"], str)
    except Exception as problem:  # Authlib, joserfc and httpx2 each have errors of their own
        runtime.log.warning("google sign-in refused", error=type(problem).__name__)
        raise Refusal(401, "authentication_error", CANNOT_TRUST) from None
    if not trusted:
        raise Refusal(401, "authentication_error", CANNOT_TRUST)
    if settings.google_domains and claims.get("hd") not in settings.google_domains:
        raise Refusal(403, "permission_error", "Accounts of this Google domain are not accepted.")
    return claims


def may_sign_up(settings: Settings, claims: dict[str, Any]) -> bool:
    if settings.sign_up == "open":
        return True
    return settings.sign_up == "domain" and claims.get("hd") in settings.sign_up_domains


async def sign_in(request: Request, runtime: Runtime, person_id: int) -> Response:
    response = go_to(request, "/keys")
    set_cookie(runtime, response, await begin_session(runtime, person_id))
    return response


def refuse(request: Request, text: str) -> Response:
    return render(request, "sign_in.html", 403, problem=text)
