"""Generated calls of the account API: whatever is sent, the gateway does not fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from .process import Gateway

pytestmark = pytest.mark.slow


def test_generated_calls_find_no_failure(gateway: Gateway, tmp_path: Path) -> None:
    options = ("--scope", "admin", "--scope", "keys:write", "--scope", "usage:read")
    key = gateway.make_key(*options, owner="admin@example.com")
    words = [
        *("run", f"{gateway.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {key}"),
        *("--checks", "not_a_server_error"),
        *("--phases", "fuzzing"),
        *("--max-examples", "15"),
        *("--exclude-path-regex", "^/(sign-|auth/)"),
        *("--workers", "1"),
        *("--seed", "1"),
    ]
    ended = subprocess.run(
        [str(Path(sys.executable).parent / "schemathesis"), *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"label": 1}',
        b'{"scopes": []}',
        b'{"scopes": ["root"]}',
        b'{"models": "all"}',
        b'{"limits": {"speed": 1}}',
        b'{"limits": {"parallel": -1}}',
        b'{"days": 0}',
        b'{"days": true}',
        b'{"allow_cidrs": ["here"]}',
        b'{"label": "' + b"x" * 101 + b'"}',
        b"x" * 70_000,
    ],
    ids=lambda body: body[:30].decode(),
)
def test_a_wrong_body_is_a_problem_document(gateway: Gateway, body: bytes) -> None:
    key = gateway.make_key("--scope", "keys:write")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answer = requests.post(f"{gateway.url}/api/keys", data=body, headers=headers, timeout=10)
    assert 400 <= answer.status_code < 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
