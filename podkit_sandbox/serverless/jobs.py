"""The queue of one endpoint: what happens to a job, by the clock that is handed in.

Must never know HTTP or processes. Times are seconds, but for what jobs show, which is milliseconds.
"""

from dataclasses import dataclass, field
from typing import Any

from podkit_sandbox.scenario import Drawn

FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}
RETENTION_SECONDS = 30 * 60.0  # of a result of /run after its job has ended
SYNC_RETENTION_SECONDS = 60.0  # of a result of /runsync
TTL_SECONDS = 24 * 3600.0  # counted from submission, and hard
EXECUTION_SECONDS = 600.0  # where neither the job nor the endpoint names a limit
STOP_SECONDS = 5.0  # a worker has, to let go of a job that it is told to stop
DROPPED_SECONDS = 60.0  # after which a job with an empty input counts as lost by its worker
SWEEP_SECONDS = 60.0  # between two sweeps of jobs that nobody may ask for any more
MAX_RETRIES = 1  # of a job whose worker died
LOST = f"job timed out after {MAX_RETRIES} retries"


@dataclass
class Job:
    """One job; `policy` is in seconds, None for what the endpoint or the platform sets."""

    id: str
    input: Any
    created: float
    faults: Drawn
    is_sync: bool = False
    execution_timeout: float | None = None
    ttl: float = TTL_SECONDS
    low_priority: bool = False
    webhook: str = ""
    status: str = "IN_QUEUE"
    started: float | None = None
    finished: float | None = None
    worker_id: str = ""
    retries: int = 0
    result: dict[str, Any] = field(default_factory=dict)
    """`output` or `error`, as far as there is one."""
    stream: list[Any] = field(default_factory=list)
    """Parts that were not read yet."""

    def show(self) -> dict[str, Any]:
        """The job as its API shows it."""
        row: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.started is not None:
            row["delayTime"] = round(1000 * (self.started - self.created))
            row["workerId"] = self.worker_id
            if self.finished is not None:
                row["executionTime"] = round(1000 * (self.finished - self.started))
        if self.retries:
            row["retries"] = self.retries
        return {**row, **self.result}


class JobQueue:
    """The jobs of an endpoint, in order of submission, until they are forgotten."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._open: dict[str, Job] = {}  # those that have not ended, which every look goes through
        self._swept = 0.0
        self.retried = 0
        self.completed = 0
        self.failed = 0
        self.ended: list[Job] = []
        """Those with a webhook that was not called yet."""
        self.stopping: dict[str, tuple[str, float]] = {}
        """By job: the worker that is to let go of it, and since when."""

    def add(self, job: Job) -> None:
        """Has a new job wait."""
        self._jobs[job.id] = job
        self._open[job.id] = job

    def find(self, id: str, now: float) -> Job | None:
        """The job of that id, unless its time is over."""
        job = self._jobs.get(id)
        return None if job is None or _is_forgotten(job, now) else job

    def waiting(self) -> list[Job]:
        """The jobs that no worker has, oldest first."""
        return [job for job in self._open.values() if job.status == "IN_QUEUE"]

    def running(self, worker_id: str = "") -> list[Job]:
        """The jobs that a worker has, or that this one has."""
        found = []
        for job in self._open.values():
            if job.status == "IN_PROGRESS" and worker_id in ("", job.worker_id):
                found.append(job)
        return found

    def take(self, worker_id: str, count: int, now: float) -> list[Job]:
        """Gives the worker so many of the oldest jobs that wait."""
        taken = self.waiting()[:count]
        for job in taken:
            job.status = "IN_PROGRESS"
            job.worker_id = worker_id
            job.started = now
        return taken

    def finish(self, job: Job, status: str, result: dict[str, Any], now: float) -> None:
        """Ends a job for good; one that has ended stays as it is."""
        if job.status in FINAL:
            return
        job.status = status
        job.result = result
        job.finished = now
        self._open.pop(job.id, None)
        if job.webhook:
            self.ended.append(job)
        self.completed += status == "COMPLETED"
        self.failed += status in ("FAILED", "TIMED_OUT")

    def cancel(self, job: Job, now: float) -> None:
        """Ends a job whose result nobody wants; a worker that has it is told to stop."""
        if job.status == "IN_PROGRESS":
            self.stopping[job.id] = (job.worker_id, now)
        self.finish(job, "CANCELLED", {}, now)

    def retry(self, job: Job, now: float) -> None:
        """Has a job that failed wait again, under its id."""
        job.status = "IN_QUEUE"
        job.created = now
        job.started = None
        job.finished = None
        job.result = {}
        self._open[job.id] = job
        self.retried += 1

    def purge(self, now: float) -> int:
        """Ends every job that waits; how many."""
        waiting = self.waiting()
        for job in waiting:
            self.finish(job, "CANCELLED", {}, now)
        return len(waiting)

    def lose_worker(self, worker_id: str, now: float) -> None:
        """Has the jobs of a dead worker wait again, or fail if they did that before."""
        for job in self.running(worker_id):
            self._lose(job, now)
        for id, (stopped, _) in [*self.stopping.items()]:
            if stopped == worker_id:
                del self.stopping[id]

    def expire(self, endpoint_timeout: float, now: float) -> set[str]:
        """Ends what is over its time, and forgets old jobs; `endpoint_timeout` 0 is no limit set.

        Returns the workers that did not let go of a job that they were told to stop.
        """
        self._forget(now)
        for job in self.running():
            since = now if job.started is None else job.started
            limit = job.execution_timeout or endpoint_timeout or EXECUTION_SECONDS
            if now - since >= limit:
                self.stopping[job.id] = (job.worker_id, now)
                self.finish(job, "TIMED_OUT", {"error": "job timed out"}, now)
            elif not job.input and now - since >= DROPPED_SECONDS:
                self._lose(job, now)
        stuck = set()
        for id, (worker_id, since) in [*self.stopping.items()]:
            if now - since >= STOP_SECONDS:
                stuck.add(worker_id)
                del self.stopping[id]
        return stuck

    def note_ping(self, worker_id: str, held: set[str], now: float) -> None:
        """A worker says which jobs it has: it has let go of the others."""
        for id, (stopped, since) in [*self.stopping.items()]:
            if stopped == worker_id and id not in held and now - since >= 1.0:
                del self.stopping[id]

    def _lose(self, job: Job, now: float) -> None:
        if job.retries >= MAX_RETRIES:
            self.finish(job, "FAILED", {"error": LOST}, now)
            return
        job.retries += 1
        job.status = "IN_QUEUE"
        job.worker_id = ""
        self.retried += 1

    def _forget(self, now: float) -> None:
        """Drops what is over its time: open jobs at once, the others now and then."""
        late = [job for job in self._open.values() if _is_forgotten(job, now)]
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            late += [job for job in self._jobs.values() if _is_forgotten(job, now)]
        for job in late:
            self._jobs.pop(job.id, None)
            self._open.pop(job.id, None)


def _is_forgotten(job: Job, now: float) -> bool:
    if now - job.created >= job.ttl:  # hard, also for one that runs
        return True
    kept = SYNC_RETENTION_SECONDS if job.is_sync else RETENTION_SECONDS
    return job.finished is not None and now - job.finished >= kept
