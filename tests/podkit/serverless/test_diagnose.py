"""Why a job waits: each state of an endpoint, and the finding with its next command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podkit.runpod.endpoint_types import Endpoint, Worker, WorkerGpu
from podkit.serverless.diagnose import Finding, Sight, diagnose

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CATALOGUE = (
    WorkerGpu("NVIDIA RTX A4000", "AMPERE_16", 16, 0.58, {"EU-RO-1": "NONE", "US-KS-2": "HIGH"}),
    WorkerGpu("NVIDIA RTX A4500", "AMPERE_16", 20, 0.58, {"EU-RO-1": "LOW"}),
    WorkerGpu("NVIDIA L4", "AMPERE_24", 24, 0.68, {"EU-RO-1": "HIGH"}),
)


def endpoint(max_workers: int = 3, days: float = 1, **settings: Any) -> Endpoint:
    made = (NOW - timedelta(days=days)).isoformat()
    gpu = {"pools": ["AMPERE_16"], "excludedTypes": ["NVIDIA RTX A4500"]}
    return Endpoint.from_api(
        {
            "id": "ep1",
            "name": "translation",
            "workers": {"min": 0, "max": max_workers},
            "gpu": gpu,
            "createdAt": made,
            **settings,
        },
    )


def worker(status: str, uptime: int | None = 30, stale: bool = False) -> Worker:
    return Worker("w1", status, stale, 1, "NVIDIA RTX A4000", "EU-RO-1", uptime)


def seen(*workers: Worker, of: Endpoint | None = None, **more: Any) -> Finding:
    sight: dict[str, Any] = {
        "service": "translation_endpoint",
        "endpoint": of or endpoint(),
        "workers": workers,
        "queued": 1,
        "is_falling": False,
        "waited": 30.0,
        "now": NOW,
        "lines": ("start container", "Traceback: no model"),
        "catalogue": CATALOGUE,
        **more,
    }
    return diagnose(Sight(**sight))


CASES: dict[str, tuple[Finding, str, str, str, bool]] = {
    "paused": (seen(of=endpoint(0)), "paused", "is paused", "resume", False),
    "idle for long": (seen(of=endpoint(0, 30)), "scaled-down", "7 days", "resume", False),
    "crash loop": (seen(worker("UNHEALTHY")), "crash-loop", "not a matter of", "rollback", False),
    "a new release crashes": (
        seen(worker("RUNNING", stale=True), worker("UNHEALTHY")),
        "crash-loop",
        "not a matter of",
        "logs",
        False,
    ),
    "crashes beside a throttled one": (
        seen(worker("UNHEALTHY"), worker("THROTTLED")),
        "crash-loop",
        "not a matter of",
        "logs",
        False,
    ),
    "no host": (seen(worker("THROTTLED", None)), "throttled", "RTX A4000 HIGH", "deploy", False),
    "no host there": (
        seen(worker("THROTTLED"), of=endpoint(dataCenterIds=["EU-RO-1"])),
        "throttled",
        "stock in EU-RO-1: RTX A4000 NONE",
        "deploy",
        False,
    ),
    "cold": (seen(), "cold-start", "after 30 s", "status", True),
    "cold for long": (seen(waited=90), "cold-start", "pulls it whole", "status", True),
    "nothing to do": (seen(queued=0), "scaled-to-zero", "starts one", "run", True),
    "only old workers": (seen(worker("IDLE", stale=True)), "cold-start", "", "status", True),
    "starting": (seen(worker("INITIALIZING")), "starting", "30 s", "logs", True),
    "starts for too long": (
        seen(worker("INITIALIZING", 500)),
        "slow-start",
        "500 s",
        "RUNPOD_INIT_TIMEOUT",
        False,
    ),
    "may start for so long": (
        seen(worker("INITIALIZING", 500), of=endpoint(env={"RUNPOD_INIT_TIMEOUT": "800"})),
        "starting",
        "500 s",
        "logs",
        True,
    ),
    "too few": (
        seen(worker("RUNNING"), of=endpoint(1)),
        "busy",
        "1 job is waiting",
        "max_workers",
        True,
    ),
    "refused": (seen(worker("IDLE")), "rejected", "still not taken", "logs", False),
    "falling": (seen(worker("IDLE"), is_falling=True), "serving", "1 ready", "run", True),
    "just now": (seen(worker("IDLE"), waited=3), "serving", "1 ready", "run", True),
    "no job waits": (seen(worker("RUNNING"), queued=0), "serving", "1 ready", "run", True),
}


@pytest.mark.parametrize(
    ("finding", "code", "what", "hint", "can_serve"), CASES.values(), ids=list(CASES)
)
def test_a_wait_is_explained_with_the_next_command(
    finding: Finding, code: str, what: str, hint: str, can_serve: bool
) -> None:
    assert (finding.code, finding.can_serve) == (code, can_serve)
    assert what in finding.what
    assert hint in finding.hint
    assert "./podkit.sh serverless" in finding.hint
    assert "translation_endpoint" in finding.hint


def test_the_log_of_a_crash_is_shown_and_of_what_only_waits_for_a_host_is_not() -> None:
    assert seen(worker("UNHEALTHY")).lines == ("start container", "Traceback: no model")
    assert seen(worker("INITIALIZING")).lines == ("Traceback: no model",)
    assert seen(worker("THROTTLED")).lines == ()


def test_a_cpu_endpoint_without_a_host_names_no_gpu() -> None:
    of = endpoint(gpu=None, cpu=[{"id": "cpu5c", "vcpuCount": 4}])
    assert "stock" not in seen(worker("THROTTLED"), of=of).what
