"""What becomes of a job: its states, and the error for each end without an output. Pure."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from podkit.errors import BadAnswer, PodkitError

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
"""Any other state, known or not, is on its way to one of these."""


class JobProblem(PodkitError):
    """What became of one job, if not an output."""

    code = "job"

    def __init__(self, job_id: str, what: str) -> None:
        super().__init__(f"job {job_id} {what}", job=job_id)
        self.job_id = job_id


class JobFailed(JobProblem):
    """The handler raised an error, or returned one: its `type`, empty for a returned one, its words
    as `error`, and its `traceback`, which names paths inside the image."""

    code = "job-failed"

    def __init__(self, state: JobState) -> None:
        told = _decode_error(state.error)
        kind = re.sub(r"^<class '(.*)'>$", r"\1", str(told.get("error_type") or ""))
        self.type = kind
        self.error = str(told.get("error_message") or "no reason given")
        self.traceback = str(told.get("error_traceback") or "")
        self.worker_id = state.worker_id
        self.retries = state.retries
        reason = f"{kind}: {self.error}" if kind else self.error
        super().__init__(state.id, f"failed: {reason}")


class JobTimedOut(JobProblem):
    """It ran longer than the endpoint or its policy allows."""

    code = "job-timed-out"


class JobCancelled(JobProblem):
    """Somebody cancelled it."""

    code = "job-cancelled"


class NoOutput(JobProblem):
    """It is COMPLETED without output: none was returned, or the platform refused what was."""

    code = "no-output"


class JobGone(JobProblem):
    """The endpoint does not know it: results are kept for 30 minutes, and jobs until their TTL."""

    code = "job-gone"


class WaitTimeout(JobProblem):
    """It was not done in time. It is still on its way, unless it was cancelled."""

    code = "wait-timeout"
    exit_code = 75


class SubmitUnclear(PodkitError):
    """The job may have been submitted; without an answer there is no id to follow."""

    code = "submit-unclear"


@dataclass(frozen=True)
class JobState:
    """A job as the endpoint shows it. `delay` and `execution` are milliseconds, None before.

    `output` is also what a running job reports of its progress.
    """

    id: str
    status: str
    delay: int | None
    execution: int | None
    worker_id: str
    retries: int
    output: Any = field(repr=False)
    error: str = field(repr=False)

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in FINAL


def state_of(data: Any) -> JobState:
    """The job in an answer. Raises BadAnswer if there is none."""
    if not isinstance(data, dict) or not data.get("status"):
        raise BadAnswer("the endpoint's answer shows no job")
    error = data.get("error") or ""
    if not isinstance(error, str):
        error = json.dumps(error)
    return JobState(
        id=str(data.get("id") or ""),
        status=str(data["status"]),
        delay=data.get("delayTime"),
        execution=data.get("executionTime"),
        worker_id=str(data.get("workerId") or ""),
        retries=int(data.get("retries") or 0),
        output=data.get("output"),
        error=error,
    )


def output_of(state: JobState) -> Any:
    """The output of a job that has ended. Raises the JobProblem that it ended in."""
    if state.status == "FAILED":
        raise JobFailed(state)
    if state.status == "TIMED_OUT":
        raise JobTimedOut(state.id, "ran longer than it may")
    if state.status == "CANCELLED":
        raise JobCancelled(state.id, "was cancelled")
    if state.output is None:
        raise NoOutput(state.id, "completed without output: none was returned, or it was refused")
    return state.output


def _decode_error(error: str) -> dict[str, Any]:
    """What an error holds: JSON if the handler raised it (worker SDK 1.12), or a text."""
    with suppress(ValueError):
        told = json.loads(error)
        if isinstance(told, dict) and "error_message" in told:
            return told
    return {"error_message": error}
