"""The endpoints of the account and their workers, as time goes by: scaling, rollouts, deaths.

Must never know sockets or processes: a runner starts and ends what a worker runs.
"""

import random
from collections.abc import Callable, Iterable
from typing import Any

from podkit_sandbox.billing import Span
from podkit_sandbox.catalog import CPUS, DATA_CENTERS, GPUS, Stock
from podkit_sandbox.serverless.model import FORGET_SECONDS, Endpoint, Worker
from podkit_sandbox.serverless.rules import DEFAULT_IDLE_SECONDS, eligible_gpus
from podkit_sandbox.serverless.scaler import Load, wanted_workers

UNHEALTHY_EXITS = 3  # ends of a worker's process before it ever asks for a job
PING_SECONDS = 30.0  # three missed pings of the SDK's usual 10 s
IDLE_DAYS = {3: 2, 7: 0}
"""The highest max workers after so many days without a request, as documented."""
DAY = 86_400.0
CRASH_SECONDS = 20.0  # between two starts of a container in a crash loop
INIT_SECONDS = 420.0
"""How long a worker may initialize, unless RUNPOD_INIT_TIMEOUT says otherwise."""


class PaperWorkers:
    """Runs what a worker runs; this one on paper."""

    def start(self, worker: Worker) -> None:
        """Begins the worker's process."""

    def end(self, worker: Worker) -> None:
        """Ends the worker's processes at once."""


class Platform:
    """Every endpoint that is, and what happens to its workers by the clock."""

    def __init__(
        self,
        clock: Callable[[], float],
        rng: random.Random,
        runner: PaperWorkers,
    ) -> None:
        self.clock = clock
        self.rng = rng
        self.stock = Stock({})
        self.quota = 5
        self.endpoints: dict[str, Endpoint] = {}
        self.owners: dict[str, Worker] = {}  # by the worker's own key
        self._runner = runner
        self._spans: list[tuple[Endpoint, Worker]] = []

    def tick(self) -> None:
        """Does what is due by now."""
        for endpoint in self.endpoints.values():
            self.tick_endpoint(endpoint)

    def tick_endpoint(self, endpoint: Endpoint) -> None:
        """Does what is due for one endpoint."""
        now = self.clock()
        self._lower_max(endpoint, now)
        doomed = endpoint.queue.expire(endpoint.settings["timeout"] / 1000, now)
        doomed |= _killed_by_jobs(endpoint, now)
        for worker in endpoint.living():
            if worker.id in doomed or _missed_pings(worker, now):
                self._log(worker, "worker does not respond, it is ended")
                self.end_worker(endpoint, worker)
        self._scale(endpoint, now)
        for worker in endpoint.living():
            self._tell_crashes(worker, now)
            if not worker.compute:
                self._settle(endpoint, worker)
            if not worker.begun and worker.compute and now >= worker.starts_at:
                worker.begun = True
                self._runner.start(worker)
        for worker in [*endpoint.workers.values()]:
            if worker.ended is not None and now - worker.ended >= FORGET_SECONDS:
                del endpoint.workers[worker.id]

    def end_worker(self, endpoint: Endpoint, worker: Worker) -> None:
        """Ends a worker; its jobs wait again, or fail."""
        worker.ended = self.clock()
        self._log(worker, "stop container")
        self._runner.end(worker)
        endpoint.queue.lose_worker(worker.id, worker.ended)

    def process_ended(self, worker: Worker, code: int) -> None:
        """Notes that a worker's process has ended by itself; its container starts again."""
        endpoint = self.endpoints.get(worker.endpoint_id)
        if endpoint is None or worker.ended is not None:
            return
        self._log(worker, f"container exited with code {code}")
        worker.exits += 1
        worker.polled = None
        worker.last_ping = None
        endpoint.queue.lose_worker(worker.id, self.clock())

    def status(self, endpoint: Endpoint, worker: Worker) -> str:
        """The worker's state, as the list of workers shows it."""
        now = self.clock()
        faults = worker.release.faults
        if not worker.compute or now < worker.created + faults.seconds("throttled"):
            return "THROTTLED"
        failing = "unhealthy" in faults and now < worker.starts_at
        if failing or worker.failed_check or worker.exits >= UNHEALTHY_EXITS:
            return "UNHEALTHY"
        if worker.polled is None:
            seconds = _init_timeout(worker)
            return "INITIALIZING" if now - worker.created < seconds else "UNHEALTHY"
        return "RUNNING" if endpoint.queue.running(worker.id) else "IDLE"

    def take_webhooks(self) -> list[tuple[str, dict[str, Any]]]:
        """The webhooks to call now, each with its job, its input and its own address."""
        found = []
        for endpoint in self.endpoints.values():
            for job in endpoint.queue.ended:
                told = {**job.show(), "input": job.input, "webhook": job.webhook}
                found.append((job.webhook, told))
            endpoint.queue.ended.clear()
        return found

    def spans(self) -> list[Span]:
        """Workers as they are billed: from their start to their end."""
        spans = []
        for endpoint, worker in self._spans:
            part = "gpuAmount" if "gpu" in endpoint.settings else "cpuAmount"
            spans.append(Span(endpoint.id, worker.created, worker.ended, worker.rate, part))
        return spans

    def _lower_max(self, endpoint: Endpoint, now: float) -> None:
        """Lowers the max workers of an endpoint that nobody uses, as the platform does."""
        limits = endpoint.settings["workers"]
        highest = limits["max"]
        for days, most in IDLE_DAYS.items():
            if now - endpoint.last_request >= days * DAY:
                highest = min(highest, most)
        if endpoint.scale_down and now >= endpoint.scale_down[0]:
            highest = min(highest, endpoint.scale_down[1])
        if highest < limits["max"]:
            limits["max"] = highest
            limits["min"] = min(limits["min"], highest)

    def _scale(self, endpoint: Endpoint, now: float) -> None:
        self._end_idle(endpoint, now)
        if endpoint.settings["type"] != "QUEUE":
            return
        living = endpoint.living()
        fresh = [worker for worker in living if worker.release is endpoint.release]
        waiting = [job for job in endpoint.queue.waiting() if not job.low_priority]
        oldest_wait = 0.0
        if waiting:
            oldest_wait = now - max(waiting[0].created, endpoint.last_added)
        load = Load(len(waiting), len(endpoint.queue.running()), oldest_wait)
        limits = endpoint.settings["workers"]
        wanted = wanted_workers(endpoint.settings["scaling"], limits, load, len(fresh))
        missing = min(wanted - len(fresh), limits["max"] - len(living))
        for _ in range(missing):
            self._add_worker(endpoint, now)

    def _end_idle(self, endpoint: Endpoint, now: float) -> None:
        """Ends idle workers: stale ones, those above max, and those idle for long."""
        limits = endpoint.settings["workers"]
        patience = limits.get("idleTimeout", DEFAULT_IDLE_SECONDS)
        for worker in endpoint.living():
            if endpoint.queue.running(worker.id):
                worker.idle_since = None
                continue
            if worker.idle_since is None:
                worker.idle_since = now
            living = endpoint.living()
            is_stale = worker.release is not endpoint.release
            is_late = worker.polled is not None and now - worker.idle_since >= patience
            is_spare = is_late and len(living) > limits["min"]
            if is_stale or is_spare or len(living) > limits["max"]:
                self.end_worker(endpoint, worker)

    def _add_worker(self, endpoint: Endpoint, now: float) -> None:
        id = f"{self.rng.getrandbits(56):014x}"
        key = f"rpa_{self.rng.getrandbits(160):040x}"
        worker = Worker(id, key, endpoint.id, endpoint.release, now)
        worker.idle_since = now
        endpoint.workers[id] = worker
        endpoint.last_added = now
        self.owners[key] = worker
        self._settle(endpoint, worker)

    def _settle(self, endpoint: Endpoint, worker: Worker) -> None:
        """Finds a host for a worker; without one it stays throttled."""
        worker.compute, worker.place, worker.rate = self._find_host(endpoint)
        if worker.compute:
            worker.created = self.clock()
            self._spans.append((endpoint, worker))
            self._log(worker, f"create container {worker.release.settings['image']}")

    def _find_host(self, endpoint: Endpoint) -> tuple[str, str, float]:
        """Where a worker finds room: its compute, data center and USD per hour; "" if nowhere."""
        settings = endpoint.settings
        places = settings["dataCenterIds"] or [*DATA_CENTERS]
        if "cpu" in settings:
            cpu = settings["cpu"][0]
            price: float = CPUS[cpu["id"]]["price"]["serverlessPerVcpu"]
            return cpu["id"], places[0], price * cpu["vcpuCount"]
        for gpu in eligible_gpus(settings["gpu"]):
            for place in places:
                if self.stock.level(place, gpu, "SERVERLESS") != "NONE":
                    price = GPUS[gpu]["price"]["serverless"]
                    return gpu, place, price * settings["gpu"]["count"]
        return "", places[0], 0.0

    def _tell_crashes(self, worker: Worker, now: float) -> None:
        """Writes the lines of a crash loop that a fault plays: no container ever says a word."""
        if "unhealthy" not in worker.release.faults:
            return
        while worker.created + worker.crashes * CRASH_SECONDS <= min(now, worker.starts_at):
            at = worker.created + worker.crashes * CRASH_SECONDS
            worker.crashes += 1
            worker.lines.append((at, "system", "start container"))
            worker.lines.append((at, "system", "container exited with code 1"))

    def _log(self, worker: Worker, text: str) -> None:
        worker.lines.append((self.clock(), "system", text))


def _init_timeout(worker: Worker) -> float:
    """The seconds that its endpoint gives a worker to initialize."""
    asked = worker.release.settings["env"].get("RUNPOD_INIT_TIMEOUT", "")
    return float(asked) if asked.isdecimal() else INIT_SECONDS


def _killed_by_jobs(endpoint: Endpoint, now: float) -> set[str]:
    """The workers that die of a job whose rule says so."""
    dying = set()
    for job in endpoint.queue.running():
        rule = job.faults.get("worker-dies")
        started = now if job.started is None else job.started
        if rule and job.retries < rule.factor and now - started >= (rule.seconds or 0.0):
            dying.add(job.worker_id)
    return dying


def _missed_pings(worker: Worker, now: float) -> bool:
    return worker.last_ping is not None and now - worker.last_ping >= PING_SECONDS


def sum_of_max(endpoints: Iterable[Endpoint]) -> int:
    """The max workers of all these endpoints together, which the quota limits."""
    return sum(endpoint.settings["workers"]["max"] for endpoint in endpoints)
