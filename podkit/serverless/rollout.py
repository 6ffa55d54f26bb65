"""Waiting until a release serves: its rollout, and one real job. A worker that crashes is seen, and
its last lines are said; nothing waits without an end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podkit.errors import ApiError, Missing, NotFound, RolloutFailed
from podkit.jobs import JobProblem, Jobs, JobState, SubmitUnclear, WaitTimeout
from podkit.runpod.endpoint_types import Endpoint, Rollout
from podkit.serverless.applying import left_line
from podkit.serverless.diagnose import Finding, Sight, diagnose
from podkit.serverless.sight import Reasons, job_event, look
from podkit.serverless.world import POLL_SECONDS, World

ROLLOUT_SECONDS = 1800.0
"""For a rollout, and again for the first job: a host may pull an image for 20 minutes."""
NEW_SECONDS = 60.0
"""So long what was made just now, an endpoint or a release, may not be known yet."""


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

    An endpoint without workers is done at once; old workers that finish their jobs are not waited
    for, nor a release that does not show up within a minute: the change needed none. Raises
    RolloutFailed if the new workers crash or it takes 30 minutes, and Missing if somebody deleted
    the endpoint.
    """
    started = world.client.clock()
    told = ""
    while True:
        rollout = _rollout(world, endpoint, started)
        waited = world.client.clock() - started
        if rollout and ((rollout.version or version) >= version or waited >= NEW_SECONDS):
            if not rollout.in_progress:
                return rollout.version
            counts = f"{rollout.workers_on_latest} of {rollout.workers} workers are new"
            if counts != told:
                world.say(f"rollout of version {rollout.version}: {counts}")
                fields = {
                    "endpoint": endpoint.id,
                    "version": rollout.version,
                    "workers_on_latest": rollout.workers_on_latest,
                    "workers": rollout.workers,
                }
                world.tell("rollout", fields)
                told = counts
            if _only_old_jobs_are_left(world, endpoint, waited):
                world.say("old workers finish their jobs first; new jobs go to new ones")
                return rollout.version
        if waited >= ROLLOUT_SECONDS:
            minutes = ROLLOUT_SECONDS / 60
            raise RolloutFailed(f"the rollout is not done after {minutes:.0f} minutes")
        world.client.sleep(POLL_SECONDS)


def run_first_job(world: World, endpoint: Endpoint, content: Mapping[str, Any]) -> FirstJob:
    """One real job, waited for; why it waits is said. Raises RolloutFailed if it has no output, and
    then it does not go on waiting in the queue."""
    jobs = world.jobs(endpoint.id)
    started = world.client.clock()
    states: list[JobState] = []
    job_id = ""

    def see(waited: float, queued_before: int | None) -> Sight:
        return _look(world, jobs, endpoint, waited, queued_before)

    def tell(state: JobState, finding: Finding | None) -> None:
        seconds = world.client.clock() - started
        world.tell("job", job_event(state, finding, seconds))
        if finding:
            _raise_if_crashing(world, finding)
            world.say(f"{seconds:6.1f} s  {finding.what}")

    reasons = Reasons(see, world.client.clock, tell)

    def note(state: JobState) -> None:
        states[:] = [state]
        reasons.look(state)

    try:
        job_id = jobs.submit(content, repeat_unclear=True)
        world.say(f"trying a first job: {job_id}")
        cancel = f"./podkit.sh serverless jobs cancel {job_id} {endpoint.id}"
        world.note(f"{left_line(endpoint)}; its first job {job_id} goes on: {cancel}")
        jobs.wait(job_id, timeout=ROLLOUT_SECONDS, look=note)
    except RolloutFailed:
        _cancel(world, jobs, job_id)
        raise
    except (JobProblem, SubmitUnclear, ApiError) as error:
        if isinstance(error, WaitTimeout | ApiError):
            _cancel(world, jobs, job_id)
        raise RolloutFailed(f"the first job has no answer: {error.message}") from None
    return FirstJob(
        id=job_id,
        seconds=round(world.client.clock() - started, 1),
        delay=(states[0].delay or 0) / 1000,
        execution=(states[0].execution or 0) / 1000,
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


def _only_old_jobs_are_left(world: World, endpoint: Endpoint, waited: float) -> bool:
    """Whether all new workers serve, and all old ones have a job. Raises RolloutFailed if the new
    ones crash."""
    try:
        sight = _look(world, world.jobs(endpoint.id), endpoint, waited)
    except ApiError:
        return False
    _raise_if_crashing(world, diagnose(sight))
    for worker in sight.workers:
        if worker.status != "RUNNING" and (worker.stale or worker.status != "IDLE"):
            return False
    return bool(sight.workers)


def _look(
    world: World,
    jobs: Jobs,
    endpoint: Endpoint,
    waited: float,
    queued_before: int | None = None,
) -> Sight:
    now = world.client.get_endpoint(endpoint.id)
    return look(world.client, jobs, now, endpoint.name, waited=waited, queued_before=queued_before)


def _raise_if_crashing(world: World, finding: Finding) -> None:
    """Raises RolloutFailed if the new workers crash, and none of them serves; says their lines."""
    if finding.code == "crash-loop":
        for line in finding.lines:
            world.say(f"  | {line}")
        raise RolloutFailed(finding.what)


def _cancel(world: World, jobs: Jobs, job_id: str) -> None:
    """End the job: nobody waits for it any more, and while it is queued workers are started."""
    if not job_id:
        return
    try:
        jobs.cancel(job_id)
        world.say(f"the first job {job_id} is cancelled")
    except (ApiError, JobProblem) as error:
        world.say(f"the first job {job_id} could not be cancelled ({error.message})")
