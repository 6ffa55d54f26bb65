"""An endpoint on paper, with the test in place of its workers."""

import json
from typing import Any

from podkit_sandbox.account import Answer
from tests.sandbox.sandboxes import Paper
from tests.sandbox.test_serverless_control import make

INPUT = {"text": "Bonjour"}


class Served:
    """An endpoint, and this test as its workers."""

    def __init__(self, paper: Paper, **changes: Any) -> None:
        self.paper = paper
        self.id = make(paper, **changes)["id"]
        self.endpoint = paper.account.platform.endpoints[self.id]

    def submit(self, content: Any = INPUT, route: str = "run", **body: Any) -> str:
        answer = self.paper.call("POST", f"/{self.id}/{route}", {"input": content, **body})
        assert answer.status == 200, answer.body
        return str(json.loads(answer.body)["id"])

    def status(self, job: str) -> Any:
        return self.paper.json("GET", f"/{self.id}/status/{job}")

    def workers(self) -> list[Any]:
        self.paper.json("GET", f"/{self.id}/health")
        return self.endpoint.living()

    def as_worker(self, method: str, rest: str, body: Any = None, number: int = 0) -> Answer:
        """A call of one of the workers, which is waited for."""
        worker = self.workers()[number]
        rest, mark, query = rest.partition("?")
        call, slash, after = rest.partition("/")
        path = f"/{self.id}/{call}/{worker.id}{slash}{after}{mark}{query}"
        return self.waited(self.paper.call(method, path, body, key=worker.key))

    def waited(self, answer: Answer) -> Answer:
        while answer.wait:
            found = answer.wait()
            if found:
                return found
            self.paper.clock.now += 0.5
        return answer

    def take(self, number: int = 0) -> Any:
        answer = self.as_worker("GET", "job-take", number=number)
        return json.loads(answer.body) if answer.status == 200 else None

    def done(self, job: str, payload: Any, number: int = 0) -> int:
        return self.as_worker("POST", f"job-done/{job}", payload, number).status
