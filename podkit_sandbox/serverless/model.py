"""What a serverless platform holds: endpoints, their releases and workers. Data only."""

from dataclasses import dataclass, field
from typing import Any

from podkit_sandbox.logs import Line
from podkit_sandbox.scenario import Drawn
from podkit_sandbox.serverless.jobs import JobQueue

FORGET_SECONDS = 60.0  # how long an ended worker is known, so that its last log lines can be read


@dataclass
class Release:
    """One version of an endpoint's container; `settings` is what its workers run with."""

    id: str
    version: int
    created: float
    settings: dict[str, Any]
    diff: list[dict[str, Any]]
    faults: Drawn


@dataclass
class Worker:
    """A worker, living or ended; moments are of the account's clock, `rate` is USD per hour."""

    id: str
    key: str
    endpoint_id: str
    release: Release
    created: float
    compute: str = ""  # the GPU type or CPU flavor of its host, "" while it has none
    place: str = ""
    rate: float = 0.0
    begun: bool = False  # its process was started
    polled: float | None = None  # when it first asked for a job
    idle_since: float | None = None
    last_ping: float | None = None
    pinged_jobs: set[str] = field(default_factory=set)
    exits: int = 0  # of its process, since it last asked for a job
    crashes: int = 0  # that a fault has played
    failed_check: bool = False
    ended: float | None = None
    lines: list[Line] = field(default_factory=list)

    @property
    def starts_at(self) -> float:
        """When its process may start."""
        faults = self.release.faults
        held = faults.seconds("throttled") + faults.seconds("unhealthy")
        return self.created + held + faults.seconds("slow-start")


@dataclass
class Endpoint:
    """A serverless endpoint; `settings` are its fields in the shape of the API's answer."""

    id: str
    settings: dict[str, Any]
    created: float
    hidden_until: float
    queue: JobQueue
    releases: list[Release] = field(default_factory=list)
    workers: dict[str, Worker] = field(default_factory=dict)
    last_request: float = 0.0
    last_added: float = 0.0  # when the scaler last added a worker
    scale_down: tuple[float, int] | None = None  # when a fault lowers max workers, and to what

    @property
    def release(self) -> Release:
        """The current one."""
        return self.releases[-1]

    def living(self) -> list[Worker]:
        """The workers that have not ended."""
        return [worker for worker in self.workers.values() if worker.ended is None]
