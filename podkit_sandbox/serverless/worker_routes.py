"""The worker side of the job API, as the official SDK (runpod 1.12.0) speaks it.

Each worker's key opens these six routes of its own, and nothing else.
"""

import json
from typing import Any

from podkit_sandbox.routing import Request
from podkit_sandbox.serverless.jobs import Job
from podkit_sandbox.serverless.model import Endpoint, Worker
from podkit_sandbox.serverless.platform import Platform
from podkit_sandbox.wire import Answer, Problem, reply

HOLD_SECONDS = 2.0  # of a poll without a job: the SDK asks again at once, and SIGTERM waits for it
MAX_BATCH = 1000


class WorkerRoutes:
    """Answers the calls of workers."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def take(self, request: Request) -> Answer:
        """GET job-take: one job, or 204 after a while."""
        return self._take(request, 1, one=True)

    def take_batch(self, request: Request) -> Answer:
        """GET job-take-batch: up to `batch_size` jobs, or 204 after a while."""
        text = request.call.query.get("batch_size", "1")
        size = int(text) if text.isdecimal() else 1
        return self._take(request, max(1, min(size, MAX_BATCH)), one=False)

    def stop(self, request: Request) -> Answer:
        """GET job-stop: the jobs to let go of, or 204 after a while."""
        endpoint, worker = self._worker(request)
        until = self._platform.clock() + HOLD_SECONDS

        def ready() -> Answer | None:
            stopping = endpoint.queue.stopping.items()
            ids = [id for id, (worker_id, _) in stopping if worker_id == worker.id]
            if ids:
                return reply({"jobsToStop": ids})
            return Answer(204) if self._platform.clock() >= until else None

        return Answer(204, wait=ready)

    def done(self, request: Request) -> Answer:
        """POST job-done: a result, an error, or progress."""
        endpoint, worker = self._worker(request)
        job = endpoint.queue.find(request.ids[2], self._platform.clock())
        if job is None or job.worker_id != worker.id:
            return reply({})  # cancelled, expired or given to another: nobody wants it
        payload = _read_result(request, job)
        now = self._platform.clock()
        if payload is None:
            endpoint.queue.finish(job, "COMPLETED", {}, now)
            return Answer(400)
        self._settle(endpoint, job, payload)
        if payload.get("stopPod"):
            self._platform.end_worker(endpoint, worker)
        self._platform.tick_endpoint(endpoint)
        return reply({})

    def stream(self, request: Request) -> Answer:
        """POST job-stream: one part of a result."""
        endpoint, worker = self._worker(request)
        job = endpoint.queue.find(request.ids[2], self._platform.clock())
        payload = _parse(request.call.body)
        if job is not None and job.worker_id == worker.id and payload is not None:
            job.stream.append(payload.get("output"))
        return reply({})

    def ping(self, request: Request) -> Answer:
        """GET ping: the worker lives, and has these jobs."""
        endpoint, worker = self._worker(request)
        now = self._platform.clock()
        query = request.call.query
        worker.last_ping = now
        if query.get("status") == "unhealthy":
            worker.failed_check = True
            text = f"fitness check failed: {query.get('check')} {query.get('reason')}"
            worker.lines.append((now, "system", text))
        held = {id for id in query.get("job_id", "").split(",") if id}
        endpoint.queue.note_ping(worker.id, held, now)
        return reply({})

    def _take(self, request: Request, count: int, one: bool) -> Answer:
        endpoint, worker = self._worker(request)
        if "take-400" in request.drawn:
            return Answer(400)
        until = self._platform.clock() + HOLD_SECONDS
        if worker.polled is None:
            worker.polled = self._platform.clock()
            worker.idle_since = worker.polled
            worker.exits = 0
        self._platform.tick_endpoint(endpoint)

        def ready() -> Answer | None:
            now = self._platform.clock()
            if worker.ended is None and worker.release is endpoint.release:
                taken = endpoint.queue.take(worker.id, count, now)
                if taken:
                    worker.idle_since = None
                    rows = [_hand_out(job) for job in taken]
                    return reply(rows[0] if one else rows)
            return Answer(204) if now >= until else None

        return Answer(204, wait=ready)

    def _settle(self, endpoint: Endpoint, job: Job, payload: dict[str, Any]) -> None:
        """Notes what a worker said of a job."""
        now = self._platform.clock()
        if payload.get("status") == "IN_PROGRESS":
            if job.status == "IN_PROGRESS":
                job.result = {"output": payload.get("output")}
        elif "error" in payload:
            error = payload["error"]
            text = error if isinstance(error, str) else json.dumps(error)
            endpoint.queue.finish(job, "FAILED", {"error": text}, now)
        else:
            result = {"output": payload["output"]} if "output" in payload else {}
            endpoint.queue.finish(job, "COMPLETED", result, now)
            if "late-progress" in job.faults:  # an update that overtook the result
                job.status = "IN_PROGRESS"

    def _worker(self, request: Request) -> tuple[Endpoint, Worker]:
        endpoint = self._platform.endpoints.get(request.ids[0])
        worker = endpoint.workers.get(request.ids[1]) if endpoint else None
        if endpoint is None or worker is None:
            raise Problem(404, "worker not found")
        return endpoint, worker


def _hand_out(job: Job) -> dict[str, Any]:
    """A job as a worker gets it; an empty input is dropped on the way, as on the service."""
    row: dict[str, Any] = {"id": job.id}
    if job.input:
        row["input"] = job.input
    if job.webhook:
        row["webhook"] = job.webhook
    return row


def _read_result(request: Request, job: Job) -> dict[str, Any] | None:
    """What the worker says; None for a result that the platform refuses."""
    if "result-lost" in job.faults:
        return None
    return _parse(request.call.body)


def _parse(body: bytes) -> dict[str, Any] | None:
    """The JSON object in the body, None for anything else, NaN included."""
    try:
        payload = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
