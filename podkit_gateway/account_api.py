"""The account API as JSON: signing in, one's own keys and usage, and what admins may do. RFC 9457
for errors.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from podkit_gateway import accounts
from podkit_gateway.domain import Limits
from podkit_gateway.errors import Refusal
from podkit_gateway.key_store import DEFAULT_LIFE, KeyRights, list_keys
from podkit_gateway.people import end_session, list_people
from podkit_gateway.session_cookie import set_cookie
from podkit_gateway.sign_in import begin_session, check_password, make_token, sign_up
from podkit_gateway.usage import summarize
from podkit_gateway.web import (
    NO_STORE,
    address_of,
    find_caller,
    read_credential_of,
    read_field,
    read_json,
    runtime_of,
)

router = APIRouter()


@router.post("/auth/sign-in")
async def sign_in(request: Request) -> Response:
    """Begins a browser's session."""
    runtime = runtime_of(request)
    body = await read_json(request)
    email = read_field(body, "email", str, "")
    password = read_field(body, "password", str, "")
    person = await check_password(runtime, email, password, address_of(request))
    response = JSONResponse({"email": person["email"], "role": person["role"]}, headers=NO_STORE)
    set_cookie(runtime, response, await begin_session(runtime, person["id"]))
    return response


@router.post("/auth/sign-up", status_code=201)
async def make_account(request: Request) -> dict[str, Any]:
    body = await read_json(request)
    email = read_field(body, "email", str, "")
    password = read_field(body, "password", str, "")
    await sign_up(runtime_of(request), email, password, address_of(request))
    return {"email": email}


@router.post("/auth/sign-out", status_code=204)
async def sign_out(request: Request) -> Response:
    runtime = runtime_of(request)
    await find_caller(request)
    session = request.cookies.get(runtime.access.cookie_name, "")
    await end_session(runtime.engine, session)
    response = Response(status_code=204)
    response.delete_cookie(runtime.access.cookie_name)
    return response


@router.post("/auth/token")
async def get_token(request: Request) -> JSONResponse:
    """A JWT of 15 minutes for a program that signs in."""
    runtime = runtime_of(request)
    body = await read_json(request)
    email = read_field(body, "email", str, "")
    password = read_field(body, "password", str, "")
    person = await check_password(runtime, email, password, address_of(request))
    token = await make_token(runtime, person)
    answer = {"access_token": token, "token_type": "Bearer", "expires_in": 900}
    return JSONResponse(answer, headers=NO_STORE)


@router.delete("/auth/token", status_code=204)
async def end_token(request: Request) -> Response:
    """Ends the token that this request shows."""
    runtime = runtime_of(request)
    await find_caller(request)
    token_id = runtime.tokens.read(read_credential_of(request))
    if token_id is None:
        raise Refusal(400, "invalid_request_error", "Show the token that shall end.")
    await end_session(runtime.engine, token_id)
    return Response(status_code=204)


@router.get("/api/keys")
async def get_keys(request: Request) -> dict[str, Any]:
    """One's own keys; all keys for an admin who asks with ?all=1."""
    caller = await find_caller(request, "keys:write")
    everybody = request.query_params.get("all") == "1"
    if everybody and "admin" not in caller.scopes:
        raise Refusal(404, "invalid_request_error", "There is nothing at this address.")
    owner = None if everybody else caller.owner_id
    rows = await list_keys(runtime_of(request).engine, owner)
    return {"keys": [accounts.show_key(row) for row in rows]}


@router.post("/api/keys", status_code=201)
async def post_key(request: Request) -> JSONResponse:
    """Makes a key; its text is in this answer and never again."""
    runtime = runtime_of(request)
    caller = await find_caller(request, "keys:write")
    body = await read_json(request)
    models = read_field(body, "models", list)
    rights = KeyRights(
        label=read_field(body, "label", str, ""),
        scopes=tuple(map(str, read_field(body, "scopes", list, ["inference", "jobs"]))),
        models=None if models is None else tuple(map(str, models)),
        limits=read_limits(read_field(body, "limits", dict, {})),
        allow_cidrs=tuple(map(str, read_field(body, "allow_cidrs", list, []))),
        allow_fallback=read_field(body, "allow_fallback", bool, True),
        allow_external=read_field(body, "allow_external", bool, False),
        on_behalf=read_field(body, "on_behalf", bool, False),
    )
    days = read_field(body, "days", int, int(DEFAULT_LIFE / 86_400))
    key = await accounts.make_own_key(runtime, caller, rights, days)
    return JSONResponse({"id": key.id, "key": key.text}, 201, NO_STORE)


def read_limits(values: dict[str, Any]) -> Limits:
    try:
        return Limits.from_dict(values)
    except ValueError as problem:
        raise Refusal(400, "invalid_request_error", f"{problem}.") from None


@router.delete("/api/keys/{key_id}", status_code=204)
async def delete_key(request: Request, key_id: str) -> Response:
    caller = await find_caller(request, "keys:write")
    await accounts.revoke(runtime_of(request), caller, key_id)
    return Response(status_code=204)


@router.post("/api/keys/{key_id}/rotate", status_code=201)
async def rotate(request: Request, key_id: str) -> JSONResponse:
    caller = await find_caller(request, "keys:write")
    body = await read_json(request)
    hours = read_field(body, "overlap_hours", int, 24)
    key = await accounts.rotate(runtime_of(request), caller, key_id, hours * 3600)
    return JSONResponse({"id": key.id, "key": key.text}, 201, NO_STORE)


@router.put("/api/keys/{key_id}/limits", status_code=204)
async def put_key_limits(request: Request, key_id: str) -> Response:
    """Gives a key other limits; admins alone, or a limit would bind nobody."""
    await find_caller(request, "admin")
    limits = read_limits(await read_json(request))
    await accounts.change_key_limits(runtime_of(request), key_id, limits)
    return Response(status_code=204)


@router.get("/api/usage")
async def get_usage(request: Request) -> Response:
    """Sums of the last days, by model, key_id, day or person; ?all=1 for admins also by owner;
    ?csv=1 as a table.
    """
    runtime = runtime_of(request)
    caller = await find_caller(request, "usage:read")
    query = request.query_params
    by = query.get("by", "model")
    everybody = query.get("all") == "1"
    if everybody and "admin" not in caller.scopes:
        raise Refusal(404, "invalid_request_error", "There is nothing at this address.")
    if by not in {"model", "key_id", "owner", "person", "day"}:
        raise Refusal(400, "invalid_request_error", "by is model, key_id, owner, person or day.")
    days = query.get("days", "30")
    if not (days.isdecimal() and 1 <= int(days) <= 3660):
        raise Refusal(400, "invalid_request_error", "days is a number from 1 to 3660.")
    rows = await summarize(
        runtime.engine,
        since=runtime.clock() - int(days) * 86_400,
        owner_id=None if everybody else caller.owner_id,
        by=by,
    )
    if query.get("csv") == "1":
        return Response(accounts.as_csv(rows), media_type="text/csv")
    return JSONResponse({"usage": [dict(row) for row in rows]})


@router.get("/api/people")
async def get_people(request: Request) -> dict[str, Any]:
    await find_caller(request, "admin")
    rows = await list_people(runtime_of(request).engine)
    return {"people": [dict(row) for row in rows]}


@router.patch("/api/people/{person_id}", status_code=204)
async def patch_person(request: Request, person_id: int) -> Response:
    """Changes a person's role, team or limits, or disables them."""
    runtime = runtime_of(request)
    await find_caller(request, "admin")
    body = await read_json(request)
    await accounts.change_person(runtime, person_id, body)
    return Response(status_code=204)


@router.put("/api/teams/{team}", status_code=204)
async def put_team(request: Request, team: str) -> Response:
    runtime = runtime_of(request)
    await find_caller(request, "admin")
    limits = read_limits(await read_json(request))
    await accounts.change_team(runtime, team, limits)
    return Response(status_code=204)


@router.get("/api/backends")
async def get_backends(request: Request) -> dict[str, Any]:
    await find_caller(request, "admin")
    return {"backends": accounts.show_backends(runtime_of(request).backends)}
