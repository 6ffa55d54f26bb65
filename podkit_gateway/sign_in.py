"""Signing in by e-mail and password: counted, slow on purpose, and the same answer for every wrong
pair.
"""

from __future__ import annotations

from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from podkit_gateway.errors import Refusal
from podkit_gateway.people import (
    LONGEST_PASSWORD,
    SESSION_LIFE,
    add_person,
    add_session,
    check_new_password,
    find_person,
    new_session_id,
    normal_email,
    text_digest,
)
from podkit_gateway.runtime import Runtime
from podkit_gateway.tokens import TOKEN_LIFE

PER_ACCOUNT = 5
PER_ADDRESS = 20
MINUTE = 60
WRONG = "E-mail or password is wrong."


async def check_password(runtime: Runtime, email: str, password: str, address: str) -> RowMapping:
    """The person with this e-mail and password. Raises Refusal: 401, or 429 after five tries a
    minute.
    """
    try:
        email = normal_email(email)
    except ValueError:
        email = ""
    await count_attempt(runtime, email, address)
    person = await find_person(runtime.engine, email=email)
    stored = person["password"] if person is not None else None
    right = await runtime.passwords.matches(stored, password[: LONGEST_PASSWORD + 1])
    if person is None or not right or person["disabled"] is not None:
        raise Refusal(401, "authentication_error", WRONG)
    return person


async def count_attempt(runtime: Runtime, email: str, address: str) -> None:
    """Counts a try for the account and the address. Raises Refusal (429) if either has had too
    many.
    """
    tries = (
        (f"gateway/sign-in/account/{text_digest(email)}", PER_ACCOUNT),
        (f"gateway/sign-in/address/{address}", PER_ADDRESS),
    )
    for name, limit in tries:
        if not await runtime.windows.acquire_sliding_window_entry(name, limit, MINUTE, 1):
            raise Refusal(
                429,
                "rate_limit_error",
                "Too many tries to sign in; try again in a minute.",
                headers=(("retry-after", "60"),),
            )


async def begin_session(runtime: Runtime, person_id: int) -> str:
    """A new session; the text that the browser's cookie holds."""
    session = new_session_id(runtime.random_bytes)
    await add_session(
        runtime.engine, session, "session", person_id, now=runtime.clock(), life=SESSION_LIFE
    )
    return session


async def make_token(runtime: Runtime, person: RowMapping) -> str:
    """A JWT for 15 minutes, which can be ended before."""
    token_id = new_session_id(runtime.random_bytes)
    now = runtime.clock()
    await add_session(runtime.engine, token_id, "token", person["id"], now=now, life=TOKEN_LIFE)
    scopes = ["inference", "jobs", "usage:read", "keys:write"]
    if person["role"] == "admin":
        scopes.append("admin")
    return runtime.tokens.make(person["id"], scopes, token_id)


async def sign_up(runtime: Runtime, email: str, password: str, address: str) -> int:
    """Makes an account if people may do so themselves. Raises Refusal."""
    settings = runtime.settings
    if settings.sign_up == "closed":
        raise Refusal(403, "permission_error", "Accounts are made by an admin here.")
    await count_attempt(runtime, email, address)
    try:
        email = normal_email(email)
        check_new_password(password)
    except ValueError as problem:
        raise Refusal(400, "invalid_request_error", f"{problem}.") from None
    if settings.sign_up == "domain" and email.rpartition("@")[2] not in settings.sign_up_domains:
        raise Refusal(403, "permission_error", "No accounts for addresses of this domain.")
    password_hash = await runtime.passwords.make_hash(password)
    try:
        return await add_person(
            runtime.engine, email, now=runtime.clock(), password_hash=password_hash
        )
    except IntegrityError:
        raise Refusal(409, "invalid_request_error", "There is an account already.") from None
