"""What the verbs of `serverless` share: the config, the service that is meant, and the way to its
jobs."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.env_file import parse_env_file
from podkit.errors import Interrupted, PodkitError, UsageError
from podkit.lock import hold_lock

if TYPE_CHECKING:
    from podkit.jobs import Jobs
    from podkit.runpod.client import RunpodClient
    from podkit.serverless.config import Service
    from podkit.serverless.history import History
    from podkit.serverless.world import World
    from podkit.settings import Settings

CONFIG_NAME = "runpod-config.json"


def timeout_option(help_text: str, least: float = 0) -> Callable[[Any], Any]:
    """The option of how many seconds a job is waited for."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=least),
        default=600.0,
        show_default=True,
        help=help_text,
    )


CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The config; default: {CONFIG_NAME} of this checkout.",
)
SERVICE = click.argument("block", metavar="[SERVICE]", default="")
ENDPOINT_ID = click.option(
    "--id",
    "endpoint_id",
    default="",
    help="The endpoint's id, where several have its name.",
)
NO_WAIT = click.option(
    "--no-wait",
    "wait",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Return once it is applied; no job is tried.",
)
ADOPT = click.option(
    "--adopt",
    is_flag=True,
    help="Take over an endpoint of that name that podkit did not make.",
)


@dataclass(frozen=True)
class Config:
    """The services of a config by their block, and where it lies: paths in it are relative to
    that."""

    file: Path
    services: Mapping[str, Service]

    def path(self, relative: str) -> Path:
        """The place that a path in the config means."""
        return self.file.parent / relative

    def choose(self, block: str) -> Service:
        """The service of that block, or the only one. Raises UsageError."""
        from podkit.serverless.config import choose_service

        return choose_service(self.services, block)


def variables(app: App) -> dict[str, str]:
    """What a `${NAME}` of a config may stand for: what is in .env, or above it in the
    environment."""
    return {**parse_env_file(app.root / ".env"), **app.environ}


def read_config(app: App, config_file: Path | None) -> Config:
    """The config. Raises UsageError with all that is wrong with it, but for variables that are not
    set: these are only needed to deploy."""
    try:
        from podkit.serverless.config import parse_config
    except ImportError as error:
        what = f"the parts for serverless endpoints are not installed ({error.name})"
        raise UsageError(what, "./podkit.sh serverless validate installs them") from None
    file = config_file or app.root / CONFIG_NAME
    if config_file:
        quoted = shlex.quote(str(config_file))
        if not {'"', "\\"} & {*quoted}:  # it is put into texts that are JSON already, too
            app.config = quoted
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UsageError(f"cannot read {file}: {reason}", "--config FILE names another") from None
    return Config(file, parse_config(text))


def history_of(app: App) -> History:
    """What was applied from this checkout."""
    from podkit.serverless.history import History

    return History(app.root / ".podkit/serverless")


def jobs_of(app: App, settings: Settings, client: RunpodClient, endpoint_id: str) -> Jobs:
    """The client of an endpoint's jobs, on the clock of the API's."""
    from podkit.jobs import Jobs

    return Jobs(
        endpoint_id,
        settings.api_key.reveal(),
        url=settings.jobs_url,
        session=app.session(),
        clock=client.clock,
        sleep=client.sleep,
    )


def first_job(config: Config, service: Service) -> Mapping[str, Any] | None:
    """The input of the service's first job, None if the config names none. Raises UsageError for a
    file that holds none."""
    if not service.test_payload:
        return None
    file = config.path(service.test_payload)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no JSON"
        raise UsageError(f"cannot read test_payload {file}: {reason}", "see the config") from None
    if isinstance(content, dict) and isinstance(content.get("input"), dict):
        content = content["input"]
    if not isinstance(content, dict) or not content:
        what = f"test_payload {file} holds no input of a job"
        raise UsageError(what, 'it is to hold {"input": {...}}')
    return content


@contextmanager
def changing(app: App, settings: Settings, client: RunpodClient) -> Iterator[World]:
    """What a verb needs that changes an endpoint. A failure or an interrupt after a change ends in
    a line of what is left."""
    from podkit.serverless.refusals import explain_refusals
    from podkit.serverless.world import World

    left = ""

    def note(line: str) -> None:
        nonlocal left
        left = line
        app.interrupts.report = lambda: app.here(f"podkit: {line}\n") if line else ""

    def tell(name: str, fields: Mapping[str, Any]) -> None:
        app.show_event(name, **fields)

    world = World(
        client=client,
        jobs=lambda endpoint_id: jobs_of(app, settings, client, endpoint_id),
        history=history_of(app),
        environment=variables(app),
        new_nonce=lambda: secrets.token_hex(8),
        say=app.say,
        tell=tell,
        note=note,
        held=app.interrupts.held,
    )
    try:
        with explain_refusals():
            yield world
    except Interrupted:
        app.interrupts.tell_left()
        raise
    except PodkitError:
        if left:
            app.say(left)
        raise


@contextmanager
def turn(app: App) -> Iterator[None]:
    """Take turns with other deploys of endpoints from this checkout, so that the second one finds
    the first one's endpoint. What ends or pauses one waits for nobody."""

    def busy() -> None:
        app.say("another deploy of an endpoint from this checkout is at work; waiting for it")

    with hold_lock(app.root / ".podkit/serverless.lock", busy):
        yield
