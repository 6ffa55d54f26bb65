"""The sandbox's serverless platform in this process, on a clock that only sleeping and calling
move; its workers are this module's."""

from __future__ import annotations

import io
import json
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from podkit_sandbox.account import Account, Answer, Call, Cut, PaperRunner, Scenario
from podkit_sandbox.serverless.model import Endpoint, Worker
from tests.podkit.samples import CREATED, KEY

API = "https://api.runpod.io"
JOBS = "https://api.runpod.ai"
CALL_SECONDS = 0.1
HELD_SECONDS = 0.5
READING = "GET"


class Body(io.BytesIO):
    """An answer's bytes, closed at their end as http.client's are."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data or size in (None, -1):
            self.close()
        return data


def was(given: Any) -> Any:
    """What workers say of a job's input, if a test does not want it otherwise."""
    return {"output": {"was": given}}


class Cloud(HTTPAdapter):
    """An account, its workers, and the way to it.

    `crashing` are images whose workers end at once; `answers` is what workers say of an input, None
    for nothing yet; `sent` are the requests that came, `calls` those that were answered, with
    status and body. `listed_at` is when endpoints were last listed.
    """

    def __init__(self, rules: Iterable[Mapping[str, Any]] = (), seed: int = 1, quota: int = 5):
        super().__init__()
        self.now = CREATED.timestamp()
        self.listed_at = 0.0
        self.naps: list[float] = []
        self._turn = threading.RLock()  # several threads may ask and sleep
        self.said: list[str] = []
        self.crashing: set[str] = set()
        self.answers: Callable[[Any], Any] = was
        self.sent: list[requests.PreparedRequest] = []
        self.calls: list[tuple[requests.PreparedRequest, int, bytes]] = []
        runner = PaperRunner(self)
        rng = random.Random(seed)
        jobs_url = f"{JOBS}/v2"
        self.account = Account(self, rng, Scenario(), runner, KEY, jobs_url)
        self.obey(*rules, seed=seed, quota=quota)

    def __call__(self) -> float:
        """The seconds since 1970."""
        return self.now

    def obey(self, *rules: Mapping[str, Any], **more: Any) -> None:
        """From here on these are the faults."""
        self.account.set_scenario(Scenario.parse({"rules": list(rules), **more}))

    def sleep(self, seconds: float) -> None:
        """Time goes by, and workers work."""
        with self._turn:
            self.naps.append(seconds)
            self.now += seconds
            self.work()

    def work(self) -> None:
        """Each worker takes what waits, and answers; one of a crashing image ends."""
        self.account.platform.tick()
        for endpoint in self.endpoints.values():
            for worker in endpoint.living():
                if worker.begun and worker.release.settings["image"] in self.crashing:
                    worker.lines.append((self.now, "container", "ImportError: no such module"))
                    self.account.platform.process_ended(worker, 1)
                elif worker.begun:
                    self._serve(endpoint, worker)

    def session(self) -> requests.Session:
        """What leads to this account and nowhere else."""
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", self)
        return session

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """Every endpoint that is, by its id."""
        return self.account.platform.endpoints

    def only(self) -> Endpoint:
        """The only endpoint."""
        (endpoint,) = self.endpoints.values()
        return endpoint

    def writes(self) -> list[tuple[str, str, Any]]:
        """The control API's calls that change something: method, path, body."""
        found = []
        for sent in self.sent:
            if sent.method != READING and str(sent.url).startswith(API):
                body = json.loads(sent.body) if sent.body else None
                found.append((str(sent.method), urlsplit(str(sent.url)).path, body))
        return found

    def make(self, name: str = "translation", **changes: Any) -> str:
        """An endpoint that somebody else made; its id."""
        body = {
            "name": name,
            "type": "QUEUE",
            "image": "ghcr.io/them/theirs:1",
            "cpu": [{"id": "cpu5c", "vcpuCount": 4}],
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
            "workers": {"min": 0, "max": 1},
            **changes,
        }
        return str(self.ask("POST", "/serverless", body)["id"])

    def ask(self, method: str, path: str, body: Any = None, key: str = KEY) -> Any:
        """The answer of the account to a call that no fault and no clock concerns."""
        data = json.dumps(body).encode() if body is not None else b""
        call = Call(method, f"/v2{path}", {}, {"authorization": f"Bearer {key}"}, data)
        answer = self.account.handle(call)
        if answer.wait:
            answer = answer.wait() or answer
        return json.loads(answer.body) if answer.body else None

    def send(
        self, request: requests.PreparedRequest, *_: Any, timeout: Any = None, **__: Any
    ) -> requests.Response:
        with self._turn:
            return self._send(request, timeout)

    def _send(self, request: requests.PreparedRequest, timeout: Any) -> requests.Response:
        parts = urlsplit(str(request.url))
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        call = Call(str(request.method), parts.path, dict(parse_qsl(parts.query)), headers, body)
        self.sent.append(request)
        self.now += CALL_SECONDS
        if (call.method, call.path) == ("GET", "/v2/serverless"):
            self.listed_at = self.now
        try:
            answer = self._held(self.account.handle(call))
        except Cut:
            broken = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError())
            raise requests.ConnectionError(broken, request=request) from None
        self.now += min(answer.delay, timeout[1])
        if answer.delay > timeout[1]:
            raise requests.ReadTimeout(request=request)
        self.calls.append((request, answer.status, answer.body))
        raw = urllib3.HTTPResponse(
            Body(answer.body),
            dict(answer.headers),
            answer.status,
            preload_content=False,
            request_method=call.method,
        )
        return self.build_response(request, raw)

    def _held(self, answer: Answer) -> Answer:
        """What an answer becomes that is held until there is something to say."""
        while answer.wait:
            found = answer.wait()
            if found:
                return found
            self.sleep(HELD_SECONDS)
        return answer

    def _serve(self, endpoint: Endpoint, worker: Worker) -> None:
        path = f"/{endpoint.id}/job-take-batch/{worker.id}"
        self.ask("GET", path, key=worker.key)
        for job in endpoint.queue.running(worker.id):
            said = self.answers(job.input)
            if said is not None:
                path = f"/{endpoint.id}/job-done/{worker.id}/{job.id}"
                self.ask("POST", path, said, key=worker.key)
