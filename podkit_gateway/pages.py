"""Four pages from the server: sign in, my keys, my usage, admin. No script, no build step.

Forms are accepted from our own origin alone; a page that holds a key is never stored.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape

from podkit_gateway import accounts
from podkit_gateway.domain import Caller, Limits
from podkit_gateway.errors import Refusal
from podkit_gateway.incoming import read_headers
from podkit_gateway.key_store import KeyRights, list_keys
from podkit_gateway.people import end_session, find_person, list_people
from podkit_gateway.session_cookie import set_cookie
from podkit_gateway.sign_in import begin_session, check_password
from podkit_gateway.usage import summarize
from podkit_gateway.web import NO_STORE, address_of, find_caller, read_form, runtime_of

FOLDER = Path(__file__).parent / "pages"
DAY = 86_400
router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


def show_day(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).date().isoformat()


templates = Environment(loader=FileSystemLoader(FOLDER), autoescape=select_autoescape(default=True))
templates.filters["day"] = show_day


def security_headers(secure: bool) -> dict[str, str]:
    headers = {
        "content-security-policy": (
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        ),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        **NO_STORE,
    }
    if secure:
        headers["strict-transport-security"] = "max-age=31536000"
    return headers


def render(request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
    settings = runtime_of(request).settings
    text = templates.get_template(name).render(
        name=settings.name,
        logo=settings.logo is not None,
        google=bool(settings.google_client_id),
        public_url=settings.public_url,
        **values,
    )
    return HTMLResponse(text, status, security_headers(settings.secure))


def go_to(request: Request, path: str) -> RedirectResponse:
    return RedirectResponse(path, 303, security_headers(runtime_of(request).settings.secure))


async def find_visitor(request: Request) -> Caller | None:
    """Who is signed in; None if nobody is."""
    try:
        return await find_caller(request)
    except Refusal as refusal:
        if refusal.status == 401:
            return None
        raise


def check_origin(request: Request) -> None:
    runtime_of(request).access.check_origin(read_headers(request.scope))


@router.get("/")
async def home(request: Request) -> Response:
    return go_to(request, "/sign-in" if await find_visitor(request) is None else "/keys")


@router.get("/style.css")
async def style() -> FileResponse:
    return FileResponse(FOLDER / "style.css", media_type="text/css")


@router.get("/logo")
async def logo(request: Request) -> Response:
    path = runtime_of(request).settings.logo
    if path is None:
        raise accounts.no_such_thing()
    return FileResponse(path)


@router.get("/sign-in")
async def show_sign_in(request: Request) -> Response:
    return render(request, "sign_in.html", problem="")


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    runtime = runtime_of(request)
    check_origin(request)
    form = await read_form(request)
    try:
        person = await check_password(
            runtime, form.get("email", ""), form.get("password", ""), address_of(request)
        )
    except Refusal as refusal:
        return render(request, "sign_in.html", refusal.status, problem=refusal.message)
    response = go_to(request, "/keys")
    set_cookie(runtime, response, await begin_session(runtime, person["id"]))
    return response


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    runtime = runtime_of(request)
    check_origin(request)
    await end_session(runtime.engine, request.cookies.get(runtime.access.cookie_name, ""))
    response = go_to(request, "/sign-in")
    response.delete_cookie(runtime.access.cookie_name)
    return response


@router.get("/keys")
async def show_keys(request: Request) -> Response:
    caller = await find_visitor(request)
    if caller is None:
        return go_to(request, "/sign-in")
    return await render_keys(request, caller)


async def render_keys(
    request: Request, caller: Caller, *, new: str = "", problem: str = ""
) -> HTMLResponse:
    runtime = runtime_of(request)
    models = [model for model in runtime.backends.config.models if caller.may_use(model)]
    return render(
        request,
        "keys.html",
        400 if problem else 200,
        keys=await list_keys(runtime.engine, caller.owner_id),
        models=models,
        new=new,
        problem=problem,
        now=runtime.clock(),
        admin="admin" in caller.scopes,
    )


@router.post("/keys")
async def make_key(request: Request) -> Response:
    """Makes a key and shows it, this once."""
    caller = await find_caller(request, "keys:write")
    form = await read_form(request)
    model = form.get("model", "")
    days = form.get("days", "90")
    rights = KeyRights(label=form.get("label", ""), models=(model,) if model else None)
    try:
        if not days.isdecimal():
            raise accounts.wrong("the number of days is a whole number")
        key = await accounts.make_own_key(runtime_of(request), caller, rights, int(days))
    except Refusal as refusal:
        return await render_keys(request, caller, problem=refusal.message)
    return await render_keys(request, caller, new=key.text)


@router.post("/keys/{key_id}/revoke")
async def revoke_key(request: Request, key_id: str) -> Response:
    caller = await find_caller(request, "keys:write")
    await accounts.revoke(runtime_of(request), caller, key_id)
    return go_to(request, "/keys")


@router.post("/keys/{key_id}/rotate")
async def rotate_key(request: Request, key_id: str) -> Response:
    caller = await find_caller(request, "keys:write")
    key = await accounts.rotate(runtime_of(request), caller, key_id, DAY)
    return await render_keys(request, caller, new=key.text)


@router.get("/usage")
async def show_usage(request: Request) -> Response:
    caller = await find_visitor(request)
    if caller is None:
        return go_to(request, "/sign-in")
    runtime = runtime_of(request)
    since = runtime.clock() - 30 * DAY
    tables = {}
    for by in ("model", "key_id", "day"):
        tables[by] = await summarize(runtime.engine, since=since, owner_id=caller.owner_id, by=by)
    return render(request, "usage.html", tables=tables, admin="admin" in caller.scopes)


@router.get("/admin")
async def show_admin(request: Request) -> Response:
    caller = await find_visitor(request)
    if caller is None:
        return go_to(request, "/sign-in")
    if "admin" not in caller.scopes:
        raise accounts.no_such_thing()
    runtime = runtime_of(request)
    since = runtime.clock() - 30 * DAY
    return render(
        request,
        "admin.html",
        backends=accounts.show_backends(runtime.backends),
        problem=runtime.backends.problem,
        people=await list_people(runtime.engine),
        keys=await list_keys(runtime.engine),
        owners=await summarize(runtime.engine, since=since, by="owner"),
        limit_names=list(Limits().__dataclass_fields__),
        soon="at once" if runtime.redis else "within 30 seconds in other processes",
        admin=True,
    )


@router.post("/admin/keys/{key_id}/limits")
async def change_limits(request: Request, key_id: str) -> Response:
    """Gives a key the limits of the form; an empty field is no limit of its own."""
    await find_caller(request, "admin")
    form = await read_form(request)
    values = {}
    for name in Limits().__dataclass_fields__:
        text = form.get(name, "").strip()
        if text and not text.isdecimal():
            raise accounts.wrong(f"{name} is a whole number")
        if text:
            values[name] = int(text)
    await accounts.change_key_limits(runtime_of(request), key_id, Limits.from_dict(values))
    return go_to(request, "/admin")


@router.post("/admin/people/{person_id}/disable")
async def disable_person(request: Request, person_id: int) -> Response:
    runtime = runtime_of(request)
    caller = await find_caller(request, "admin")
    person = await find_person(runtime.engine, id=person_id)
    if person is None or person_id == caller.owner_id:
        raise accounts.no_such_thing()
    await accounts.disable(runtime, person_id, person["disabled"] is None)
    return go_to(request, "/admin")
