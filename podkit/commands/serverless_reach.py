"""What the verbs that speak to a running endpoint share: which one is meant, and the way to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.serverless_options import CONFIG_NAME, Config, first_job, jobs_of, read_config

if TYPE_CHECKING:
    from podkit.errors import PodkitError
    from podkit.jobs import Jobs
    from podkit.runpod.client import RunpodClient
    from podkit.runpod.endpoint_types import Endpoint
    from podkit.serverless.config import Service
    from podkit.serverless.diagnose import Sight
    from podkit.settings import Settings

ENDPOINT = click.argument("word", metavar="[SERVICE]", default="")
"""A block of the config, or the name or id of any endpoint of the account."""
JOB = click.argument("job_id", metavar="JOB")


@dataclass(frozen=True)
class Reached:
    """An endpoint that is there; `word` is what commands call it, `service` its block of the
    config, if it has one there."""

    settings: Settings
    client: RunpodClient
    endpoint: Endpoint
    word: str
    config: Config | None
    service: Service | None

    def jobs(self, app: App) -> Jobs:
        """The client of its jobs."""
        return jobs_of(app, self.settings, self.client, self.endpoint.id)

    def first_job(self) -> Mapping[str, Any] | None:
        """The input of the service's test job, None without one. Raises UsageError."""
        if self.config is None or self.service is None:
            return None
        return first_job(self.config, self.service)

    def sight_taker(self, jobs: Jobs) -> Callable[[float, int | None], Sight]:
        """What looks at the endpoint for a diagnosis; raises ApiError."""
        from podkit.serverless.sight import look

        def see(waited: float, queued_before: int | None) -> Sight:
            endpoint = self.client.get_endpoint(self.endpoint.id)
            return look(
                self.client,
                jobs,
                endpoint,
                self.word,
                waited=waited,
                queued_before=queued_before,
            )

        return see


def reach(app: App, word: str, config_file: Path | None, endpoint_id: str = "") -> Reached:
    """The endpoint of a service of the config, or that of this name or id.

    Raises UsageError, Missing and SeveralEndpoints.
    """
    from podkit.errors import Missing
    from podkit.serverless.config import choose_service
    from podkit.serverless.finding import find_endpoint, meant_endpoint
    from podkit.serverless.refusals import explain_refusals

    settings, client = app.connect()
    with explain_refusals():
        listed = client.list_endpoints()
    config = None
    if word not in [endpoint.id for endpoint in listed]:  # an id works whatever the config is
        config = _config(app, word, config_file)
    if config is None:
        found = meant_endpoint(listed, endpoint_id or word)
        any_config = usable_config(app, config_file)
        return by_itself(settings, client, found, listed, any_config)
    service = choose_service(config.services, word)
    endpoint = find_endpoint(listed, service, endpoint_id, adopt=True)
    if endpoint is None:
        what = f"{service.endpoint_name} is not deployed"
        raise Missing(what, f"./podkit.sh serverless deploy {service.block}")
    return Reached(settings, client, endpoint, service.block, config, service)


def usable_config(app: App, config_file: Path | None) -> Config | None:
    """The config, None if it cannot be used: an endpoint can be reached without it."""
    from podkit.errors import UsageError

    with suppress(UsageError):
        return read_config(app, config_file)
    return None


def by_itself(
    settings: Settings,
    client: RunpodClient,
    endpoint: Endpoint,
    listed: Sequence[Endpoint],
    config: Config | None,
) -> Reached:
    """An endpoint that no block stands for in the command. It is called by its block all the same,
    if it alone has that one's name: not every command takes an id."""
    from podkit.serverless.finding import endpoints_named

    if config:
        for service in config.services.values():
            if endpoints_named(listed, service.endpoint_name) == [endpoint]:
                return Reached(settings, client, endpoint, service.block, config, service)
    return Reached(settings, client, endpoint, endpoint.id, None, None)


def _config(app: App, word: str, config_file: Path | None) -> Config | None:
    """The config, if the word means one of its services; None if it can only be an endpoint."""
    file = config_file or app.root / CONFIG_NAME
    if word and not file.exists():
        return None
    config = read_config(app, config_file)
    return None if word and word not in config.services else config


@contextmanager
def job_hints(word: str) -> Iterator[None]:
    """Gives each end of a job without an output its next step, and the job for programs."""
    from podkit.errors import PodkitError
    from podkit.jobs import SubmitUnclear

    try:
        yield
    except PodkitError as error:
        lacks_hint = error.__class__.__module__.startswith("podkit.jobs") and not error.hint
        if lacks_hint or isinstance(error, SubmitUnclear):  # whose own is for Python
            error.hint = _hint(error, word)
        raise


@contextmanager
def jobs_named(app: App, there: Reached) -> Iterator[None]:
    """Whoever leaves the block before its jobs are cancelled is told that they may go on."""
    verb = "./podkit.sh serverless"
    look = app.here(f"{verb} status {there.word}; {verb} jobs purge {there.word} --yes")
    left = f"podkit: jobs of {there.word} may go on; {look} removes those that wait\n"
    app.interrupts.report = lambda: left
    yield
    app.interrupts.report = lambda: ""


def _hint(error: PodkitError, word: str) -> str:
    verb = "./podkit.sh serverless"
    job = getattr(error, "job_id", "")
    log = f"{verb} logs {word} --job {job}"
    hints: dict[str, str] = {
        "job-failed": f"{log} shows what its worker said",
        "job-timed-out": (
            f"raise execution_timeout in the config, then {verb} deploy {word}; a result that is "
            f"no JSON also ends so, which {log} shows"
        ),
        "job-cancelled": f"{verb} run {word} submits another",
        "no-output": f"{log} shows whether its worker could not return a result",
        "job-gone": "results are kept for 30 minutes; submit the job again",
        "wait-timeout": f"{verb} jobs wait {job} {word}, or {verb} jobs cancel {job} {word}",
        "submit-unclear": f"{verb} status {word} shows the queue; then submit again, or not",
    }
    return hints.get(error.code, "")


def state_fields(state: Any) -> dict[str, Any]:
    """A job for programs: milliseconds, null for what is not known yet."""
    return {
        "id": state.id,
        "status": state.status,
        "delay_ms": state.delay,
        "execution_ms": state.execution,
        "worker": state.worker_id or None,
        "retries": state.retries,
    }
