"""Answers of the API, each derived from one of full shape, and a clock that only tests move."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from podkit.runpod.client import RunpodClient
from podkit.runpod.http import growing_backoff
from podkit.runpod.session import bounded_session
from podkit.runpod.types import Pod
from podkit.secret import Secret

API = "https://api.runpod.io/v2"
KEY = "rpa_the-account-key"
CLIENT_KEY = "pk-the-client-key"
PASSWORD = "the-password"
HEX = "0123456789abcdef" * 4
SECRETS = (KEY, CLIENT_KEY, PASSWORD, HEX, "hf_the-token")
CREATED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

POD: dict[str, Any] = {
    "id": "abc123def456gh",
    "name": "podkit-olmocr-0a1b2c",
    "status": "RUNNING",
    "actions": ["stop", "restart", "terminate"],
    "image": "runpod/pytorch:1.1.0-cu1300-torch291-ubuntu2404",
    "args": "",
    "disk": 40,
    "mounts": {"network": [{"volumeId": "vol1", "path": "/workspace"}]},
    "ports": ["8000/http", "3000/http"],
    "env": {
        "PODKIT_MODEL": "olmocr",
        "PODKIT_API_KEY": CLIENT_KEY,
        "PODKIT_ENDS_AT": "2026-11-22T00:00:00Z",
        "WEBUI_ADMIN_EMAIL": "admin@podkit.local",
        "WEBUI_ADMIN_PASSWORD": PASSWORD,
    },
    "registry": None,
    "cloud": "SECURE",
    "dataCenterId": "EU-RO-1",
    "cudaVersion": "13.0",
    "gpu": {"id": "NVIDIA L40S", "count": 1},
    "ssh": {"proxy": None, "direct": None},
    "template": None,
    "cost": 0.86,
    "locked": False,
    "runtime": {
        "uptime": 60,
        "ports": [
            {"private": 8000, "public": 41000, "type": "http", "ip": "127.0.0.1"},
            {"private": 3000, "public": 41001, "type": "http", "ip": "127.0.0.1"},
        ],
    },
    "createdAt": "2026-11-21T12:00:00Z",
    "startedAt": "2026-11-21T12:00:05Z",
    "globalNetworking": {"enabled": False},
}
GPU: dict[str, Any] = {
    "id": "NVIDIA L40S",
    "name": "L40S",
    "pool": "ADA_48_PRO",
    "manufacturer": "NVIDIA",
    "memory": 48,
    "secure": True,
    "community": False,
    "price": {"secure": 0.86, "community": 0.79},
    "maxCount": {"secure": 8, "community": 8},
    "availability": "LOW",
    "dataCenters": [{"id": "EU-RO-1", "name": "EU-RO-1", "availability": "LOW"}],
    "cudaVersions": [
        {"version": "12.8", "available": True},
        {"version": "13.0", "available": False},
    ],
}
VOLUME: dict[str, Any] = {
    "id": "vol1",
    "name": "podkit",
    "size": 100,
    "dataCenter": "EU-RO-1",
    "type": "STANDARD",
}
FOREIGN = {**POD, "id": "zzz999", "name": "their-pod", "env": {"TOKEN": "their-secret"}}


def pod(**changes: Any) -> Pod:
    """The sample pod as podkit sees it, with some of its fields in the API's form changed."""
    return Pod.from_api({**POD, **changes})


def problem(status: int, detail: str = "the provider's words", *errors: str) -> dict[str, Any]:
    """Keyword arguments for requests_mock: an error answer of the API."""
    body = {
        "title": "Problem",
        "status": status,
        "detail": detail,
        **({"errors": errors} if errors else {}),
    }
    return {
        "status_code": status,
        "json": body,
        "headers": {"Content-Type": "application/problem+json"},
    }


class Clock:
    """Seconds that pass only when somebody sleeps; `naps` are how long each time.

    `said` is what a client with this clock told the user.
    """

    def __init__(self) -> None:
        self.now = CREATED.timestamp()
        self.naps: list[float] = []
        self.said: list[str] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def client_at(url: str, clock: Clock) -> RunpodClient:
    return RunpodClient(
        bounded_session(),
        url,
        Secret(KEY),
        clock=clock,
        sleep=clock.sleep,
        backoff=growing_backoff(lambda: 1.0),
        say=clock.said.append,
    )


NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. Please refresh"
)
