"""Waiting until a release serves: its rollout, and one real job. A worker that crashes is seen, and
its last lines are said; nothing waits without an end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podkit.errors import ApiError, Missing, NotFound, RolloutFailed
from podkit.jobs import JobGone, JobProblem, JobState, SubmitUncertain
from podkit.jobs.states import output_of
from podkit.runpod.endpoint_types import Endpoint, Rollout, Worker
from podkit.serverless.world import POLL_SECONDS, World

ROLLOUT_SECONDS = 1800.0
"""For a rollout, and again for the first job: a host may pull an image for 20 minutes."""
NEW_SECONDS = 60.0
"""So long an endpoint that was made just now may not be known yet."""
JOB_POLL_SECONDS = 1.0
CRASH_LINES = 5


@dataclass(frozen=True)
class FirstJob:
    """A job that was answered; all times are seconds."""

    id: str
    seconds: float
    delay: float
    execution: float


def prove(
    world: World,
    endpoint: Endpoint,
    version: int,
    payload: Mapping[str, Any] | None,
) -> tuple[int | None, FirstJob | None]:
    """The version that serves, and the first job that it answered. Raises as its two steps do."""
    served = await_rollout(world, endpoint, version)
    if payload is None:
        return served, None
    if not endpoint.max_workers:
        world.say("max workers is 0: no job was tried")
        return served, None
    return served, run_first_job(world, endpoint, payload)


def await_rollout(world: World, endpoint: Endpoint, version: int) -> int | None:
    """The version that serves, once the rollout of `version` or a later one is done.

    An endpoint without workers is done at once. Raises RolloutFailed if the new workers crash or
    it takes 30 minutes, and Missing if somebody deleted the endpoint.
    """
    started = world.client.clock()
    told = ""
    while True:
        rollout = _rollout(world, endpoint, started)
        if rollout and (rollout.version or version) >= version:
            if not rollout.in_progress:
                return rollout.version
            _raise_if_crashing(world, endpoint)
            counts = f"{rollout.workers_on_latest} of {rollout.workers} workers are new"
            if counts != told:
                world.say(f"rollout of version {rollout.version}: {counts}")
                told = counts
        if world.client.clock() - started >= ROLLOUT_SECONDS:
            minutes = ROLLOUT_SECONDS / 60
            raise RolloutFailed(f"the rollout is not done after {minutes:.0f} minutes")
        world.client.sleep(POLL_SECONDS)


def run_first_job(world: World, endpoint: Endpoint, content: Mapping[str, Any]) -> FirstJob:
    """One real job, waited for. Raises RolloutFailed if it has no output; it does not go on
    waiting in the queue then."""
    jobs = world.jobs(endpoint.id)
    started = world.client.clock()
    job_id = ""
    try:
        job_id = jobs.submit(content, repeat_unclear=True)
        world.say(f"trying a first job: {job_id}")
        state = _await_job(world, endpoint, job_id, started)
        output_of(state)
    except RolloutFailed:
        _cancel(world, endpoint, job_id)
        raise
    except (JobProblem, SubmitUncertain, ApiError) as error:
        if job_id and not isinstance(error, JobProblem):
            _cancel(world, endpoint, job_id)
        raise RolloutFailed(f"the first job has no answer: {error.message}") from None
    return FirstJob(
        id=job_id,
        seconds=round(world.client.clock() - started, 1),
        delay=(state.delay or 0) / 1000,
        execution=(state.execution or 0) / 1000,
    )


def _rollout(world: World, endpoint: Endpoint, started: float) -> Rollout | None:
    """How far it is; None while the endpoint is too new to be known."""
    try:
        return world.client.get_rollout(endpoint.id)
    except NotFound:
        if world.client.clock() - started < NEW_SECONDS and _is_new(world, endpoint):
            return None
        what = f"endpoint {endpoint.id} was deleted by somebody else during its rollout"
        raise Missing(what, "./podkit.sh serverless deploy makes another") from None


def _is_new(world: World, endpoint: Endpoint) -> bool:
    if endpoint.created_at is None:
        return True
    return (world.client.now() - endpoint.created_at).total_seconds() < NEW_SECONDS


def _await_job(world: World, endpoint: Endpoint, job_id: str, started: float) -> JobState:
    """The job once it has ended, or can be seen not to be taken by anyone."""
    looked = started
    while True:
        now = world.client.clock()
        try:
            state = world.jobs(endpoint.id).status(job_id)
            if state.final:
                return state
        except JobGone:
            if now - started > NEW_SECONDS:
                raise
        if now - looked >= POLL_SECONDS:
            looked = now
            _raise_if_crashing(world, endpoint)
        if now - started >= ROLLOUT_SECONDS:
            minutes = ROLLOUT_SECONDS / 60
            raise RolloutFailed(f"the first job has no answer after {minutes:.0f} minutes")
        world.client.sleep(JOB_POLL_SECONDS)


def _raise_if_crashing(world: World, endpoint: Endpoint) -> None:
    """Raises RolloutFailed if workers of the newest release are UNHEALTHY, and none of it serves.

    UNHEALTHY is a crash loop or a failed check at the start, never a want of hosts.
    """
    try:
        workers = world.client.list_workers(endpoint.id)
    except ApiError:
        return
    new = [worker for worker in workers if not worker.stale]
    if any(worker.status in ("IDLE", "RUNNING") for worker in new):
        return
    crashing = [worker for worker in new if worker.status == "UNHEALTHY"]
    if not crashing:
        return
    for line in _last_lines(world, endpoint, crashing):
        world.say(f"  {line}")
    what = f"worker {crashing[0].id} is UNHEALTHY: it crashes, or fails a check at its start"
    raise RolloutFailed(what)


def _last_lines(world: World, endpoint: Endpoint, workers: Sequence[Worker]) -> list[str]:
    """The last lines that the first of them logged, its own before the platform's."""
    for source in ("container", "system"):
        try:
            log = world.client.worker_log(
                endpoint.id, workers[0].id, source, CRASH_LINES, brief=True
            )
            lines = [f"{source}: {line.text}" for line in log]
        except ApiError:
            lines = []
        if lines:
            return lines[-CRASH_LINES:]
    return ["its log has no line"]


def _cancel(world: World, endpoint: Endpoint, job_id: str) -> None:
    """End the job: nobody waits for it any more, and while it is queued workers are started."""
    if not job_id:
        return
    try:
        world.jobs(endpoint.id).cancel(job_id)
        world.say(f"the first job {job_id} is cancelled")
    except (ApiError, JobProblem) as error:
        world.say(f"the first job {job_id} could not be cancelled ({error.message})")
