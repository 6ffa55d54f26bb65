"""What of the `open_webui` package a changed login is written with; the sandbox's venv offers it by that name."""

import secrets
from types import SimpleNamespace

from podkit_sandbox.shims.open_webui import database, hashed


async def get_password_hash(password: str) -> str:
    return hashed(password, secrets.token_hex(8))


def _found(where: str, *values: str) -> SimpleNamespace | None:
    row = database().execute(f"SELECT id FROM user WHERE {where}", values).fetchone()  # noqa: S608 - ours
    return SimpleNamespace(id=row[0]) if row else None


class Users:
    @staticmethod
    async def get_user_by_email(email: str) -> SimpleNamespace | None:
        return _found("email = ?", email)

    @staticmethod
    async def get_super_admin_user() -> SimpleNamespace | None:
        return _found("role = 'admin'")

    @staticmethod
    async def update_user_role_by_id(user: str, role: str) -> None:
        database().execute("UPDATE user SET role = ? WHERE id = ?", (role, user))


class Auths:
    @staticmethod
    async def update_user_password_by_id(user: str, stored: str) -> None:
        database().execute("UPDATE auth SET password = ? WHERE id = ?", (stored, user))

    @staticmethod
    async def update_email_by_id(user: str, email: str) -> None:
        database().execute("UPDATE auth SET email = ? WHERE id = ?", (email, user))
        database().execute("UPDATE user SET email = ? WHERE id = ?", (email, user))
