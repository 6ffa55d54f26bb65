"""Why a job of an endpoint waits, and what to do about it. Pure.

A crash loop must never look like a want of capacity: its jobs stay queued without a word, and more
GPU types do not help (4 of 5 such cases in a provider's own field test of 2026 were crash loops).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from podkit.runpod.endpoint_types import Endpoint, Worker, WorkerGpu

INIT_SECONDS = 420.0
"""How long a worker may initialize (the provider's documentation, November 2026)."""
INIT_VARIABLE = "RUNPOD_INIT_TIMEOUT"
SLOW_START_SECONDS = 60.0
"""From here on a cold start is long enough to say what takes the time."""
STUCK_SECONDS = 20.0
"""How long an idle worker may leave the queue as it is before that is strange."""
IDLE_SCALE_DOWN = timedelta(days=7)
"""Without a request for so long the platform sets max workers to 0 (its documentation)."""
LAST_LINES = 5
STOCK_ORDER = ("HIGH", "MEDIUM", "LOW", "NONE")


@dataclass(frozen=True)
class Sight:
    """What is seen of an endpoint at one moment, as far as it was asked for.

    `service` is its name in commands. `queued` is how many jobs wait; `is_falling` whether that has
    become less. `lines` are the last of a worker's log, `catalogue` the GPU types with stock.
    `waited` is seconds; `health` are the job API's own counts, of which any may be missing.
    """

    service: str
    endpoint: Endpoint
    workers: Sequence[Worker]
    queued: int
    is_falling: bool
    waited: float
    now: datetime
    lines: Sequence[str] = ()
    catalogue: Sequence[WorkerGpu] = ()
    health: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Why jobs wait: a name for programs, a sentence, what the log said, and the next command.

    `can_serve` is false where waiting alone will not help.
    """

    code: str
    what: str
    hint: str
    can_serve: bool
    lines: tuple[str, ...] = ()


def diagnose(sight: Sight) -> Finding:
    """The first thing that explains the wait, in the order in which it must be fixed."""
    if sight.endpoint.max_workers == 0:
        return _find_pause(sight)
    workers = [worker for worker in sight.workers if not worker.stale]
    counts = _counts(workers)
    serving = counts.get("RUNNING", 0) + counts.get("IDLE", 0)
    if not serving:
        return _none_serves(sight, workers, counts)
    is_stuck = sight.queued > 0 and not sight.is_falling and sight.waited > STUCK_SECONDS
    if counts.get("IDLE") and is_stuck:
        return Finding(
            "rejected",
            f"a worker is idle, and {_jobs(sight.queued)} still not taken: "
            "it may refuse jobs or lose them",
            _command(sight, "logs"),
            can_serve=False,
            lines=tuple(sight.lines[-LAST_LINES:]),
        )
    busy = counts.get("RUNNING", 0)
    if sight.queued and busy >= sight.endpoint.max_workers:
        return Finding(
            "busy",
            f"all {busy} workers that may run are busy, and {_jobs(sight.queued)} waiting",
            f"raise scaling.max_workers in the config, then {_command(sight, 'deploy')}",
            can_serve=True,
        )
    return Finding("serving", f"{serving} ready", _command(sight, "run"), True)


def eligible_types(settings: Mapping[str, Any], catalogue: Sequence[WorkerGpu]) -> list[WorkerGpu]:
    """The GPU types on which the endpoint's workers may run; none for a CPU endpoint."""
    gpu = settings.get("gpu") or {}
    excluded = gpu.get("excludedTypes") or []
    found = []
    for one in catalogue:
        if one.pool and one.pool in (gpu.get("pools") or []) and one.id not in excluded:
            found.append(one)
    return found


def _command(sight: Sight, verb: str) -> str:
    return f"./podkit.sh serverless {verb} {sight.service}"


def _counts(workers: Sequence[Worker]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for worker in workers:
        counts[worker.status] = counts.get(worker.status, 0) + 1
    return counts


def _find_pause(sight: Sight) -> Finding:
    """Max workers is 0: one younger than the idle limit cannot have been scaled down for that."""
    made = sight.endpoint.created_at
    resume = _command(sight, "resume")
    if made is None or sight.now - made >= IDLE_SCALE_DOWN:
        what = (
            "max workers is 0: paused, or set to 0 by the platform, which does so after 7 days "
            "without a request"
        )
        return Finding("scaled-down", what, resume, can_serve=False)
    return Finding("paused", "max workers is 0: the endpoint is paused", resume, can_serve=False)


def _none_serves(sight: Sight, workers: Sequence[Worker], counts: Mapping[str, int]) -> Finding:
    if counts.get("INITIALIZING"):
        return _initializing(sight, workers)
    if counts.get("UNHEALTHY"):
        return Finding(
            "crash-loop",
            f"{_workers(counts['UNHEALTHY'])} UNHEALTHY: crashing again and again, or failing a "
            "check at the start; this is not a matter of capacity",
            f"{_command(sight, 'logs')} --system; {_command(sight, 'rollback')}",
            can_serve=False,
            lines=tuple(sight.lines[-LAST_LINES:]),
        )
    if counts.get("THROTTLED"):
        return Finding(
            "throttled",
            f"{_workers(counts['THROTTLED'])} waiting for a host{_stock(sight)}",
            "name more gpu_types or data_centers in the config, then " + _command(sight, "deploy"),
            can_serve=False,
        )
    return _cold(sight)


def _cold(sight: Sight) -> Finding:
    if not sight.queued:
        what = "no worker is there, and no job waits: the next job starts one"
        return Finding("scaled-to-zero", what, _command(sight, "run"), can_serve=True)
    what = f"no worker yet after {sight.waited:.0f} s: a cold start"
    if sight.waited >= SLOW_START_SECONDS:
        what += "; a host that has no copy of the image pulls it whole first"
    return Finding("cold-start", what, _command(sight, "status"), can_serve=True)


def _initializing(sight: Sight, workers: Sequence[Worker]) -> Finding:
    longest = 0.0
    for worker in workers:
        if worker.status == "INITIALIZING":
            longest = max(longest, float(worker.uptime or 0))
    limit = _init_limit(sight.endpoint)
    last = tuple(sight.lines[-1:])
    if longest <= limit:
        what = f"a worker is starting, for {max(longest, 0):.0f} s so far"
        hint = f"{_command(sight, 'logs')} --system"
        return Finding("starting", what, hint, can_serve=True, lines=last)
    return Finding(
        "slow-start",
        f"a worker has been starting for {longest:.0f} s; the platform gives up after {limit:.0f} s"
        " unless it is told otherwise",
        f"make the image smaller, or set env {INIT_VARIABLE} (seconds) in the config, then "
        + _command(sight, "deploy"),
        can_serve=False,
        lines=last,
    )


def _init_limit(endpoint: Endpoint) -> float:
    asked = str((endpoint.settings.get("env") or {}).get(INIT_VARIABLE, ""))
    return float(asked) if asked.isdecimal() else INIT_SECONDS


def _stock(sight: Sight) -> str:
    """The best stock of each GPU type that may be used, where the catalogue is known."""
    places = sight.endpoint.settings.get("dataCenterIds") or []
    told = []
    for gpu in eligible_types(sight.endpoint.settings, sight.catalogue):
        levels = []
        for place, level in gpu.stock.items():
            if not places or place in places:
                levels.append(level)
        best = min(levels, key=_rank, default="NONE")
        told.append(f"{gpu.id.removeprefix('NVIDIA ')} {best}")
    if not told:
        return ""
    where = f" in {', '.join(places)}" if places else ""
    return f"; stock{where}: {', '.join(told)}"


def _rank(level: str) -> int:
    return STOCK_ORDER.index(level) if level in STOCK_ORDER else len(STOCK_ORDER)


def _jobs(count: int) -> str:
    return "1 job is" if count == 1 else f"{count} jobs are"


def _workers(count: int) -> str:
    return "1 worker is" if count == 1 else f"{count} workers are"
