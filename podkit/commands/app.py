"""What the commands share: settings, the API client, narration, and the one place where failures become exit codes."""

from __future__ import annotations

import fcntl
import os
import random
import re
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from podkit import ROOT
from podkit.commands import output
from podkit.env_file import how_to_set, tighten
from podkit.errors import KEYS_URL, PodkitError, UsageError
from podkit.interrupts import Interrupts
from podkit.settings import TRUE_WORDS, Settings, load, wants_sandbox

if TYPE_CHECKING:
    import requests

    from podkit.pods.kept_logs import KeptLogs
    from podkit.pods.readiness import World
    from podkit.pods.watch import Progress
    from podkit.runpod.client import RunpodClient
    from podkit.runpod.logs import LogLine
    from podkit.runpod.types import Pod

COMMAND = re.compile(r"\./(?:podkit\.sh (?!sandbox)(?:volume )?\w+|(?!podkit)\w+\.sh)")
"""A podkit command in a message, up to where an option may follow."""


@dataclass
class App:
    """One run of podkit: where it runs, and whether it talks to the sandbox and answers in JSON."""

    root: Path = ROOT
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    interrupts: Interrupts = field(default_factory=Interrupts)
    sandbox: bool = False
    as_json: bool = False

    def say(self, text: str) -> None:
        """Narration, on stderr. A closed terminal ends nothing."""
        with suppress(OSError):
            click.echo(self.here(text), err=True)

    def here(self, text: str) -> str:
        """`text` with the commands in it as they work here."""
        return COMMAND.sub(r"\g<0> --sandbox", text) if self.sandbox else text

    def connected(self, **options: Any) -> tuple[Settings, RunpodClient]:
        """The settings of a command and a client of the API. Starts the sandbox if that is what it talks to."""
        self.sandbox = wants_sandbox(self.sandbox, self.environ, self.root)
        connection = None
        if self.sandbox:
            with sandbox_control() as control:
                running = control.start(self.root / ".podkit/sandbox")
            connection = (running.api_url, running.api_key)
            self.say("this is the sandbox on this machine: nothing is rented, nothing is billed")
        settings = load(self.environ, self.root, options, connection)
        if tighten(settings.secrets_file):
            self.say(f"{settings.secrets_file} could be read by others; its mode is 600 now")
        if not settings.api_key:
            step = how_to_set("RUNPOD_API_KEY", "...", settings.secrets_file)
            raise UsageError("RUNPOD_API_KEY is not set", f"{step} ({KEYS_URL}), or try --sandbox")
        return settings, self.client(settings)

    def chosen(self, pod_id: str) -> tuple[Settings, RunpodClient, Pod]:
        """connected(), and the pod of this id, prefix or name; of an empty one, the only pod that podkit has."""
        from podkit.pods.ending import find, only

        settings, client = self.connected()
        pods = client.list_pods()
        return settings, client, find(pods, pod_id) if pod_id else only(pods)

    def session(self) -> requests.Session:
        """An HTTP session for a pod's own URLs; in the sandbox without the network's proxy, which cannot reach them."""
        import requests

        session = requests.Session()
        session.trust_env = not self.sandbox
        return session

    def client(self, settings: Settings) -> RunpodClient:
        from podkit.runpod.client import RunpodClient
        from podkit.runpod.http import growing_backoff
        from podkit.runpod.session import bounded_session

        return RunpodClient(
            bounded_session(),
            settings.api_url,
            settings.api_key,
            clock=time.time,
            sleep=time.sleep,
            backoff=growing_backoff(random.random),
            say=self.say,
        )

    def world(self, settings: Settings) -> World:
        from podkit.pods.logs import LogFollower
        from podkit.pods.made import MadePods
        from podkit.pods.probes import Probes
        from podkit.pods.readiness import World

        session = self.session()
        logs = self.client(settings)
        kept = self.kept_logs()

        def follow(pod_id: str, source: str) -> LogFollower:
            def open_log(resume_from: str) -> Iterator[LogLine]:
                return kept.recording(pod_id, logs.pod_log(pod_id, source, 200, resume_from))

            return LogFollower(open_log, time.sleep)

        return World(
            client=self.client(settings),
            new_suffix=lambda: secrets.token_hex(3),
            say=self.say,
            here=self.here,
            made=MadePods(self.root / ".podkit/made.json"),
            follow=follow,
            new_probes=lambda: Probes(session, time.time),
            showing=self.showing,
            interrupts=self.interrupts,
        )

    def kept_logs(self) -> KeptLogs:
        """The last lines of pods' logs as far as this checkout saw them."""
        from podkit.pods.kept_logs import KeptLogs

        return KeptLogs(self.root / ".podkit/logs", time.time)

    @contextmanager
    def showing(self) -> Iterator[Callable[[Progress], None]]:
        """What shows a wait: a live block on a terminal; else plain lines, with --json after an event on stdout."""
        from podkit.pods.progress import Changes, event, line, live

        def tell(progress: Progress) -> None:
            if self.as_json:
                click.echo(output.event("progress", **event(progress)))
            self.say(line(progress))

        with live() if self.draws() and not self.as_json else nullcontext(Changes(tell)) as show:
            yield show

    def draws(self) -> bool:
        """Whether stderr is a terminal on which lines may be drawn over, in colour."""
        return (
            sys.stderr.isatty()
            and not self.environ.get("NO_COLOR")
            and self.environ.get("TERM") != "dumb"
        )

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take turns with other deploys from this checkout, so that the second one finds the first one's pod."""
        lock = self.root / ".podkit/deploy.lock"
        try:
            lock.parent.mkdir(exist_ok=True)
            opened = lock.open("w")
        except OSError as error:
            raise UsageError(
                f"cannot write {lock}: {error.strerror}", f"make {self.root} writable"
            ) from None
        with opened as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say("another deploy from this checkout is at work; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def ended(self, error: PodkitError) -> int:
        """The exit code of a command that failed, having said what happened and what to do next."""
        if "--json" in sys.argv:
            with suppress(OSError):
                click.echo(self.here(output.failure(error)))
        self.say(f"podkit: {error.message}" + (f"\n  next: {error.hint}" if error.hint else ""))
        return error.exit_code


def flag_of_app(name: str, field: str, text: str) -> click.Option:
    """An option that sets a field of App and is not handed to the command."""

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        setattr(context.obj, field, value)

    return click.Option([name], is_flag=True, expose_value=False, callback=remember, help=text)


SANDBOX = flag_of_app(
    "--sandbox", "sandbox", "Use the RunPod on this machine: no account, no GPU, no cost."
)
JSON = flag_of_app("--json", "as_json", "Print one JSON object on stdout.")
pod_argument = click.argument("pod_id", metavar="[ID]", default="")
data_center_option = click.option(
    "--data-center", "PREFERRED_DATACENTER", help="Data center, such as EU-RO-1."
)


def command(name: str | None = None, *, json: bool = False) -> Callable[[Any], click.Command]:
    """Makes a function of App a command with --sandbox, and with --json if it prints something for programs."""

    def made(function: Callable[..., None]) -> click.Command:
        entry = click.command(name)(click.pass_obj(function))
        entry.params += [JSON, SANDBOX] if json else [SANDBOX]
        return entry

    return made


@contextmanager
def sandbox_control() -> Iterator[Any]:
    """The sandbox's control module. Raises UsageError if its parts are not installed, PodkitError where it fails."""
    try:
        from podkit_sandbox import control
    except ImportError as error:
        raise UsageError(
            f"the sandbox's parts are not installed ({error.name})", "./podkit.sh sandbox start"
        ) from None
    try:
        yield control
    except control.SandboxError as error:
        raise PodkitError(str(error), "./podkit.sh sandbox status") from None


def run(group: click.Group, interrupts: Interrupts) -> NoReturn:
    """Run one command and exit. Every failure is a line that says what happened and one that says
    what to do."""
    app = App(interrupts=interrupts)
    interrupts.left_file = app.root / ".podkit/left.txt"
    code = 0
    try:
        group.main(obj=app, prog_name="podkit", standalone_mode=False)
    except Exception as error:
        interrupts.hold()  # the last lines are few, and are told whole
        code = app.ended(_understood(app, error))
    interrupts.hold()
    sys.exit(code)


def _understood(app: App, error: Exception) -> PodkitError:
    """Any failure of a command as one with a next step; what is a defect of podkit's own says so."""
    if isinstance(error, PodkitError):
        return error
    if isinstance(error, click.ClickException):
        command = (
            error.ctx.command_path
            if isinstance(error, click.UsageError) and error.ctx
            else "podkit"
        )
        return UsageError(
            error.format_message(), f"./{command.replace('podkit', 'podkit.sh', 1)} --help"
        )
    if isinstance(error, click.Abort | BrokenPipeError):
        return PodkitError("the output was closed")
    what = f"this is a defect in podkit ({type(error).__name__})"
    if app.environ.get("PODKIT_DEBUG", "").lower() not in TRUE_WORDS:
        return PodkitError(
            what, "the same command with PODKIT_DEBUG=1 writes the details to a file"
        )
    file = app.root / ".podkit/debug.log"
    try:
        file.parent.mkdir(exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as log:
            traceback.print_exception(error, file=log)
        return PodkitError(what, f"the details are in {file}")
    except OSError as trouble:
        return PodkitError(
            what,
            f"its details could not be written to {file} ({trouble.strerror}): make it writable",
        )
