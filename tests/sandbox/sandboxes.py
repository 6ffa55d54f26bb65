"""What the sandbox's tests share: an account on paper, and a real sandbox process."""

import json
import random
from pathlib import Path
from typing import Any

import requests

from podkit_sandbox import control
from podkit_sandbox.account import Account, Answer, Call, PaperRunner, Scenario
from tests.waiting import LONG

KEY = "rpa_test"


def request_for(name: str = "podkit-test-000001", **changes: Any) -> dict[str, Any]:
    """A create request that the preset account grants."""
    body = {
        "name": name,
        "image": "runpod/base:1.0.0-cuda1300-ubuntu2404",
        "cloud": "SECURE",
        "dataCenterIds": ["EU-RO-1"],
        "gpu": {"id": "NVIDIA L40S", "count": 1, "minCudaVersion": "13.0"},
        "disk": 60,
        "ports": ["8000/http", "3000/http"],
        "env": {"GREETING": "hello"},
        "mounts": {"network": [{"volumeId": "podkit0vol", "path": "/workspace"}]},
        "entrypoint": ["/bin/bash", "-c"],
        "cmd": ["sleep 600"],
    }
    return {**body, **changes}


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


class Paper:
    """An account whose pods run on paper, and short ways to call it."""

    def __init__(self, scenario: dict[str, Any] | None = None) -> None:
        self.clock = Clock()
        runner = PaperRunner(self.clock)
        rng = random.Random(7)
        self.account = Account(self.clock, rng, Scenario.parse(scenario or {}), runner, KEY)

    def call(
        self, method: str, path: str, body: Any = None, key: str = KEY, **headers: str
    ) -> Answer:
        path, _, query = path.partition("?")
        pairs = dict(pair.split("=", 1) for pair in query.split("&") if pair)
        sent = {"authorization": f"Bearer {key}", **headers}
        return self.account.handle(
            Call(
                method,
                "/v2" + path,
                pairs,
                sent,
                b"" if body is None else json.dumps(body).encode(),
            )
        )

    def json(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self.call(method, path, body).body)

    def create(self, **changes: Any) -> dict[str, Any]:
        answer = self.call("POST", "/pods", request_for(**changes))
        assert answer.status == 201, answer.body
        pod: dict[str, Any] = json.loads(answer.body)
        return pod


class Live:
    """A real sandbox process, called through its socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection = control.start(folder)
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.connection.api_key}"

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.connection.api_url + path, timeout=LONG, **options)

    def create(self, script: str, **changes: Any) -> str:
        answer = self.call("POST", "/pods", json=request_for(cmd=[script], **changes))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def scenario(self, *rules: dict[str, Any]) -> None:
        url = self.connection.api_url.removesuffix("/v2") + "/sandbox/scenario"
        assert self.session.post(url, json={"rules": list(rules)}, timeout=LONG).status_code == 200

    def log(
        self, pod: str, source: str, until: str, after: str | None = None, seconds: float = LONG
    ) -> list[str]:
        """The log's lines up to one that holds `until`."""
        lines = []
        headers = {"Last-Event-ID": after} if after else {}
        url = f"{self.connection.api_url}/pods/{pod}/logs?source={source}"
        with self.session.get(url, stream=True, headers=headers, timeout=seconds) as answer:
            for raw in answer.iter_lines(chunk_size=1):
                if raw.startswith(b"data: "):
                    lines.append(json.loads(raw[6:])["line"])
                    if until in lines[-1]:
                        return lines
        raise AssertionError(f"no {until!r} in {lines}")
