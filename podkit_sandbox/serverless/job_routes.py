"""The job API of an endpoint, as its clients see it: /v2/{endpoint}/run and what follows.

Its errors are a JSON object with `error`, not those of REST v2.
"""

import json
from collections.abc import Callable
from typing import Any

from podkit_sandbox.routing import Request
from podkit_sandbox.serverless.jobs import FINAL, TTL_SECONDS, Job
from podkit_sandbox.serverless.model import Endpoint
from podkit_sandbox.serverless.platform import Platform
from podkit_sandbox.wire import Answer, reply

WAIT_MS = (1000, 90_000, 300_000)  # of /runsync: least, usual, most
STREAM_WAIT_MS = 10_000
EXECUTION_MS = (5_000, 7 * 86_400_000)
TTL_MS = (10_000, 7 * 86_400_000)


class JobError(Exception):
    """Ends a call to the job API with this answer."""

    def __init__(self, status: int, text: str) -> None:
        self.answer = reply({"error": text}, status)


class JobRoutes:
    """Answers calls to the job API."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def run(self, request: Request) -> Answer:
        """POST /{endpoint}/run."""
        endpoint = self._endpoint(request)
        job = self._submit(endpoint, request, is_sync=False)
        return reply({"id": job.id, "status": job.status})

    def run_sync(self, request: Request) -> Answer:
        """POST /{endpoint}/runsync: held until the job has ended or the wait is over."""
        endpoint = self._endpoint(request)
        until = self._platform.clock() + _wait(request, *WAIT_MS) / 1000
        job = self._submit(endpoint, request, is_sync=True)

        def ready() -> Answer | None:
            if job.status not in FINAL and self._platform.clock() < until:
                return None
            return reply(job.show())

        return Answer(200, wait=ready)

    def status(self, request: Request) -> Answer:
        """GET /{endpoint}/status/{job}."""
        return reply(self._job(request).show())

    def stream(self, request: Request) -> Answer:
        """GET /{endpoint}/stream/{job}: held until there is something, or the job has ended."""
        job = self._job(request)
        until = self._platform.clock() + _wait(request, 0, STREAM_WAIT_MS, WAIT_MS[2]) / 1000

        def ready() -> Answer | None:
            over = job.status in FINAL or self._platform.clock() >= until
            if not job.stream and not over:
                return None
            parts = [{"output": part} for part in job.stream]
            job.stream.clear()
            return reply({"status": job.status, "stream": parts})

        return Answer(200, wait=ready)

    def cancel(self, request: Request) -> Answer:
        """POST /{endpoint}/cancel/{job}."""
        endpoint = self._endpoint(request)
        job = self._job(request)
        endpoint.queue.cancel(job, self._platform.clock())
        return reply({"id": job.id, "status": job.status})

    def retry(self, request: Request) -> Answer:
        """POST /{endpoint}/retry/{job}: of one that failed or timed out, under the same id."""
        endpoint = self._endpoint(request)
        job = self._job(request)
        if job.status not in ("FAILED", "TIMED_OUT"):
            return JobError(400, f"a job that is {job.status} cannot be retried").answer
        endpoint.queue.retry(job, self._platform.clock())
        self._platform.tick_endpoint(endpoint)
        return reply({"id": job.id, "status": job.status})

    def purge(self, request: Request) -> Answer:
        """POST /{endpoint}/purge-queue: jobs that run go on."""
        removed = self._endpoint(request).queue.purge(self._platform.clock())
        return reply({"removed": removed, "status": "completed"})

    def health(self, request: Request) -> Answer:
        """GET /{endpoint}/health."""
        endpoint = self._endpoint(request)
        queue = endpoint.queue
        names = ("idle", "initializing", "ready", "running", "throttled", "unhealthy")
        workers = dict.fromkeys(names, 0)
        for worker in endpoint.living():
            status = self._platform.status(endpoint, worker).lower()
            workers[status] += 1
            workers["ready"] += status in ("idle", "running")
        jobs = {
            "completed": queue.completed,
            "failed": queue.failed,
            "inProgress": len(queue.running()),
            "inQueue": len(queue.waiting()),
            "retried": queue.retried,
        }
        return reply({"jobs": jobs, "workers": workers})

    def _endpoint(self, request: Request) -> Endpoint:
        endpoint = self._platform.endpoints.get(request.ids[0])
        if endpoint is None:
            raise JobError(404, "endpoint not found")
        self._platform.tick_endpoint(endpoint)
        return endpoint

    def _job(self, request: Request) -> Job:
        now = self._platform.clock()
        job = self._endpoint(request).queue.find(request.ids[1], now)
        if job is None:
            raise JobError(404, "job not found")
        if now < job.created + job.faults.seconds("status-lag"):
            raise JobError(404, "job not found")
        return job

    def _submit(self, endpoint: Endpoint, request: Request, is_sync: bool) -> Job:
        body = _read_object(request)
        policy = body.get("policy") or {}
        if not isinstance(policy, dict):
            raise JobError(400, "policy is no object")
        limit = _in_range(policy, "executionTimeout", EXECUTION_MS)
        ttl = _in_range(policy, "ttl", TTL_MS)
        prefix = "sync-" if is_sync else ""
        job = Job(
            id=f"{prefix}{self._platform.rng.getrandbits(128):032x}-u1",
            input=body["input"],
            created=self._platform.clock(),
            faults=request.drawn,
            is_sync=is_sync,
            execution_timeout=limit,
            ttl=ttl or TTL_SECONDS,
            low_priority=bool(policy.get("lowPriority")),
            webhook=str(body.get("webhook") or ""),
        )
        endpoint.queue.add(job)
        endpoint.last_request = job.created
        self._platform.tick_endpoint(endpoint)
        return job


def answering_errors(respond: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    """The same, with a JobError as its answer."""

    def answer(request: Request) -> Answer:
        try:
            return respond(request)
        except JobError as error:
            return error.answer

    return answer


def _read_object(request: Request) -> dict[str, Any]:
    """The object that was sent, whose `input` is one too. Raises JobError 400."""
    try:
        body = json.loads(request.call.body)
    except (ValueError, RecursionError):
        raise JobError(400, "the request body is not JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("input"), dict):
        raise JobError(400, "input must be an object")
    return body


def _in_range(policy: dict[str, Any], name: str, bounds: tuple[int, int]) -> float | None:
    """The policy's value in seconds, None without one. Raises JobError 400."""
    value = policy.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise JobError(400, f"policy.{name} must be a number of milliseconds")
    if not bounds[0] <= value <= bounds[1]:
        raise JobError(400, f"policy.{name} must be {bounds[0]} to {bounds[1]} ms")
    return value / 1000


def _wait(request: Request, least: int, usual: int, most: int) -> int:
    """The query's `wait` in milliseconds, within its bounds. Raises JobError 400."""
    text = request.call.query.get("wait", str(usual))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise JobError(400, f"wait must be {least} to {most} ms")
    return int(text)
