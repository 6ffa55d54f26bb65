"""What the commands share: settings, the API client, what is said and shown, and how a failure is
told. The only reader of the process's environment, and, with the sandbox command, all that knows
of the sandbox.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from podkit import ROOT
from podkit.commands.result import Result, envelope, event, failure
from podkit.env_file import how_to_set, tighten
from podkit.errors import KEYS_URL, PodkitError, UsageError
from podkit.interrupts import Interrupts
from podkit.lock import hold_lock
from podkit.settings import Settings, load, wants_sandbox
from podkit.text import fold, printable, width_of_terminal

if TYPE_CHECKING:
    import requests

    from podkit.models.learned import Boot
    from podkit.pods.access import Access
    from podkit.pods.kept_logs import KeptLogs
    from podkit.pods.made import MadePods
    from podkit.pods.readiness import World
    from podkit.pods.watch import Progress
    from podkit.runpod.client import RunpodClient
    from podkit.runpod.logs import LogLine
    from podkit.runpod.types import Pod

GROUPS = r"(?:ocr (?=status|collect)|volume |model |gateway |export |serverless (?:jobs )?)?"
COMMAND = re.compile(rf"\./(?:podkit\.sh (?!sandbox){GROUPS}\w+|(?!podkit)\w+\.sh)")
"""A podkit command in a message, up to where an option may follow."""
TAKES_CONFIG = re.compile(r"\./podkit\.sh serverless (?!list\b)(?:jobs )?\w+")
CLEAR_SCREEN = "\x1b[H\x1b[2J"


@dataclass
class App:
    """One run of podkit: where it runs, and whether it talks to the sandbox and answers in JSON.

    `config` is the config of endpoints that was named, as a shell takes it.
    """

    root: Path = ROOT
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    interrupts: Interrupts = field(default_factory=Interrupts)
    sandbox: bool = False
    as_json: bool = False
    is_announced: bool = False
    config: str = ""

    def say(self, text: str) -> None:
        """Narration, on stderr, folded to a terminal's width. A closed terminal ends nothing."""
        shown = printable(self.here(text))
        if self.is_terminal():
            shown = fold(shown, width_of_terminal(sys.stderr.fileno()))
        with suppress(OSError):
            click.echo(shown, err=True)

    def say_secret(self, text: str) -> None:
        """What only a person's terminal may show."""
        if self.is_terminal():
            self.say(text)

    def here(self, text: str) -> str:
        """`text` with the commands in it as they work here."""
        if self.sandbox:
            text = COMMAND.sub(r"\g<0> --sandbox", text)
        if self.config:
            text = TAKES_CONFIG.sub(lambda found: f"{found[0]} --config {self.config}", text)
        return text

    def is_terminal(self) -> bool:
        """Whether a person reads stderr."""
        return is_terminal(sys.stderr)

    def draws(self) -> bool:
        """Whether stderr is a terminal on which lines may be drawn over, in colour."""
        is_plain = self.environ.get("NO_COLOR") or self.environ.get("TERM") == "dumb"
        return self.is_terminal() and not is_plain

    def show(self, result: Result) -> None:
        """Print the result of the running command on stdout: for programs, or for people."""
        if self.as_json:
            name = click.get_current_context().command_path.partition(" ")[2]
            click.echo(self.here(envelope(name, result)))
        else:
            self.show_text(result)

    def show_text(self, result: Result) -> None:
        """Print what people get of a result; nothing with --json, which gets it another way."""
        text = result.text()
        if text:
            self.show_line(self.here(text))

    def show_again(self, result: Result) -> None:
        """show(), in place of what a terminal shows."""
        if is_terminal(sys.stdout) and not self.as_json:
            click.echo(CLEAR_SCREEN, nl=False)
        self.show(result)

    def show_line(self, text: str) -> None:
        """A line on stdout as it comes, for people: nothing with --json. Others' words cannot steer
        a terminal; a pipe gets them raw.
        """
        self.show_piece(f"{text}\n")

    def show_piece(self, text: str) -> None:
        """show_line(), without an end of line."""
        if not self.as_json:
            click.echo(printable(text) if is_terminal(sys.stdout) else text, nl=False)

    def show_event(self, name: str, /, **fields: Any) -> None:
        """What happens while a command is at work, on stdout, for programs: only with --json."""
        if self.as_json:
            click.echo(self.here(event(name, **fields)))

    def confirm(self, question: str, command: str) -> None:
        """Ask a person on a terminal; elsewhere, and for any answer but yes, raise UsageError."""
        if self.ask(f"{question} [y/N]", command).strip().lower() not in ("y", "yes"):
            raise UsageError("nothing was done", command)

    def ask(self, question: str, instead: str) -> str:
        """What a person types on a terminal. Elsewhere raises UsageError naming what to give."""
        if not (is_terminal(sys.stdin) and self.is_terminal()):
            raise UsageError("there is no terminal to ask on", instead)
        return str(click.prompt(question, err=True, prompt_suffix=" "))

    def connect(self, **options: Any) -> tuple[Settings, RunpodClient]:
        """The settings of a command and a client of the API.

        Starts the sandbox if that is what it talks to, and says so once.
        """
        self.sandbox = wants_sandbox(self.sandbox, self.environ, self.root)
        connection = None
        if self.sandbox:
            with sandbox_control() as control:
                running = control.start(self.root / ".podkit/sandbox")
            connection = (running.api_url, running.api_key)
            if not self.is_announced:
                self.say(
                    "this is the sandbox on this machine: nothing is rented, nothing is billed"
                )
            self.is_announced = True
        settings = load(self.environ, self.root, options, connection)
        if tighten(settings.secrets_file):
            self.say(f"{settings.secrets_file} could be read by others; its mode is 600 now")
        if not settings.api_key:
            step = how_to_set("RUNPOD_API_KEY", "...", settings.secrets_file)
            raise UsageError("RUNPOD_API_KEY is not set", f"{step} ({KEYS_URL}), or try --sandbox")
        return settings, self.client(settings)

    def connect_if_running(self) -> RunpodClient:
        """A client for what a person has not asked for in so many words: a sandbox that does not
        run is not started, nothing is sent without a key, and nothing is tried again. Raises
        PodkitError then.
        """
        self.sandbox = wants_sandbox(self.sandbox, self.environ, self.root)
        connection = None
        if self.sandbox:
            with sandbox_control() as control:
                running = control.status(self.root / ".podkit/sandbox")
            if running is None:
                raise PodkitError("no sandbox is running", "./podkit.sh sandbox start")
            connection = (running.api_url, running.api_key)
        settings = load(self.environ, self.root, {}, connection)
        if not settings.api_key:
            raise PodkitError("RUNPOD_API_KEY is not set")
        client = self.client(settings)
        client.sleep = _refuse_to_wait
        return client

    def find_pod(self, pod_id: str) -> tuple[Settings, RunpodClient, Pod]:
        """connect(), and the pod that `pod_id` means; if it is empty, podkit's only one."""
        from podkit.pods.ending import find, only

        settings, client = self.connect()
        pods = client.list_pods()
        pod = find(pods, pod_id) if pod_id else only(pods)
        return settings, client, pod

    def reach(self, pod_id: str, *, tells_phase: bool = False) -> Access:
        """How to reach the pod that is meant; `tells_phase` says so if it is not ready yet.

        Raises PodkitError for one that does not live, or has no URL yet.
        """
        from podkit.pods.access import access
        from podkit.pods.phases import READY, phases_of

        settings, client, pod = self.find_pod(pod_id)
        where = access(pod, settings.proxy_url)
        if not pod.live:
            hint = "./deploy_olmocr.sh makes another"
            raise PodkitError(f"pod {pod.id} is {pod.status}", hint)
        if not where.api_url:
            raise PodkitError(f"pod {pod.id} has no URL yet", f"./podkit.sh wait {pod.id}")
        if tells_phase:
            phases = phases_of([pod], client, self.session(), settings.proxy_url)
            phase = phases.get(pod.id, READY)
            if phase != READY:
                self.say(f"not ready yet ({phase}), ./podkit.sh wait {pod.id}")
        return where

    def session(self) -> requests.Session:
        """An HTTP session for a pod's own URLs.

        In the sandbox without the network's proxy, which cannot reach them.
        """
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
            made=self.made_pods(settings),
            follow=follow,
            new_probes=lambda: Probes(session, time.time),
            showing=self.showing,
            interrupts=self.interrupts,
        )

    def kept_logs(self) -> KeptLogs:
        """The last lines of pods' logs as far as this checkout saw them, and what boots taught:
        that of the sandbox apart."""
        from podkit.pods.kept_logs import KeptLogs

        folder = self.root / ".podkit"
        boots = folder / "sandbox/boots.jsonl" if self.sandbox else folder / "boots.jsonl"
        return KeptLogs(folder / "logs", time.time, boots)

    def boots(self) -> list[Boot]:
        """What boots taught about memory, as far as this checkout saw them."""
        from podkit.models.learned import read_boots

        self.sandbox = wants_sandbox(self.sandbox, self.environ, self.root)
        return read_boots(self.kept_logs().learned_lines())

    def made_pods(self, settings: Settings) -> MadePods:
        """What deploys of this checkout made in this account."""
        from podkit.pods.made import MadePods

        return MadePods(self.of_account("made", settings))

    def of_account(self, name: str, settings: Settings) -> Path:
        """A file of this checkout's about one account, the sandbox's or the provider's."""
        import hashlib

        account = f"{settings.api_url} {settings.api_key.reveal()}"
        digest = hashlib.sha256(account.encode()).hexdigest()[:8]
        return self.root / f".podkit/{name}-{digest}.json"

    @contextmanager
    def showing(self) -> Iterator[Callable[[Progress], None]]:
        """What shows a wait: a live block on a terminal, else plain lines.

        With --json each is an event on stdout, too.
        """
        from podkit.pods.progress import Changes, line, live
        from podkit.pods.progress import event as fields_of

        def tell(progress: Progress) -> None:
            self.show_event("progress", **fields_of(progress))
            self.say(line(progress))

        shown = live() if self.draws() and not self.as_json else nullcontext(Changes(tell))
        with shown as show:
            yield show

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take turns with other deploys from this checkout, so that the second one finds the first
        one's pod. Those in the sandbox hold up none in the account.
        """
        folder = self.root / (".podkit/sandbox" if self.sandbox else ".podkit")

        def busy() -> None:
            self.say("another deploy from this checkout is at work; waiting for it")

        with hold_lock(folder / "deploy.lock", busy):
            yield

    def report_failure(self, error: PodkitError) -> int:
        """The exit code of a command that failed, having said what happened and what to do next."""
        if "--json" in sys.argv:
            with suppress(OSError):
                click.echo(self.here(failure(error)))
        hint = f"\n  next: {error.hint}" if error.hint else ""
        self.say(f"podkit: {error.message}{hint}")
        return error.exit_code


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at the other end; a stream that was closed at the start is None."""
    return stream is not None and stream.isatty()


def _refuse_to_wait(_seconds: float) -> None:
    raise PodkitError("nobody waits for this")


@contextmanager
def sandbox_control() -> Iterator[Any]:
    """The sandbox's control module.

    Raises UsageError if its parts are not installed, PodkitError where it fails.
    """
    try:
        from podkit_sandbox import control
    except ImportError as error:
        what = f"the sandbox's parts are not installed ({error.name})"
        raise UsageError(what, "./podkit.sh sandbox start") from None
    try:
        yield control
    except control.SandboxError as error:
        raise PodkitError(str(error), "./podkit.sh sandbox status") from None
