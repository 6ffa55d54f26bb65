"""podkit's deploy and stop over the sandbox's account, in this process and on a clock of its own.

The client's calls go through a requests adapter straight into `Account.handle`; what requests would
raise for a reset, a time-out or a body cut short, it raises here. The clock moves when something
sleeps or calls, so an hour takes milliseconds and a seed repeats it.
"""

from __future__ import annotations

import atexit
import io
import json
import random
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from podkit.errors import ApiError, PodkitError
from podkit.interrupts import SIGNALS, Interrupts
from podkit.models.spec import Model
from podkit.pods import ending
from podkit.pods.access import Access
from podkit.pods.launcher import Launcher
from podkit.pods.ledger import Ledger
from podkit.pods.logs import LogPosition, new_lines
from podkit.pods.made import MadePods
from podkit.pods.probes import Probe
from podkit.pods.progress import Changes, line
from podkit.pods.readiness import World
from podkit.pods.wishes import Wishes
from podkit.runpod.client import RunpodClient
from podkit.runpod.http import growing_backoff
from podkit.runpod.logs import LogLine
from podkit.secret import Secret
from podkit.settings import Settings
from podkit_sandbox.account import Account, Call, Cut, PaperRunner, Scenario
from tests.reliability.ticks import Alarm, Clock

KEY = "rpa_test"
API_URL = "https://api.example/v2"
PROXY_URL = "https://{pod_id}-{port}.proxy.example"
MODEL = Model("olmocr", "allenai/olmocr@1", "olmocr", "", "sleep 600")
GPUS = ("NVIDIA L40S", "NVIDIA A100 80GB PCIe", "NVIDIA GeForce RTX 4090")
CALL_SECONDS = 0.1
READY_SECONDS = 60.0
"""How long a container is up before it serves."""
SCRATCH = tempfile.mkdtemp()
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
STOP_COMMAND = re.compile(r"\./stop_pod\.sh (\w[\w-]*)")


class Body(io.BytesIO):
    """An answer's bytes, closed at their end as http.client's are."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data or size in (None, -1):
            self.close()
        return data


class Answered(urllib3.HTTPResponse):
    """An answer whose pieces are as large as they come from a socket: from memory, one that is read
    as it comes would be read byte by byte.
    """

    def stream(
        self, amt: int | None = None, decode_content: bool | None = None
    ) -> Generator[bytes, None, None]:
        return super().stream(max(amt or 0, 2**16), decode_content)


class AccountAdapter(HTTPAdapter):
    """Carries requests to an account.

    `creates` notes each POST /pods: its name, the pods alive just before it, and whether a signal
    had come.
    """

    def __init__(self, account: Account, clock: Clock, alarm: Alarm) -> None:
        super().__init__()
        self._account = account
        self._clock = clock
        self._alarm = alarm
        self.creates: list[tuple[str, frozenset[str], bool]] = []

    def send(
        self, request: requests.PreparedRequest, *_: Any, timeout: Any = None, **__: Any
    ) -> requests.Response:
        parts = urlsplit(str(request.url))
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        call = Call(str(request.method), parts.path, dict(parse_qsl(parts.query)), headers, body)
        if (call.method, call.path) == ("POST", "/v2/pods"):
            self.creates.append(
                (json.loads(body)["name"], frozenset(alive(self._account)), self._alarm.rang)
            )
        self._alarm.tick()
        self._clock.now += CALL_SECONDS
        try:
            answer = self._account.handle(call)
        except Cut:
            broken = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError())
            raise requests.ConnectionError(broken, request=request) from None
        self._clock.now += min(answer.delay, timeout[1])
        if answer.delay > timeout[1]:
            raise requests.ReadTimeout(request=request)
        self._alarm.tick()
        raw = Answered(
            Body(answer.body),
            dict(answer.headers),
            answer.status,
            preload_content=False,
            request_method=call.method,
        )
        return self.build_response(request, raw)


class LogReader:
    """A pod's log, read every 10 seconds when it is asked for, instead of followed by a thread."""

    def __init__(
        self, client: RunpodClient, pod_id: str, source: str, clock: Callable[[], float]
    ) -> None:
        self._open = lambda resume_from: client.pod_log(pod_id, source, 200, resume_from)
        self._position = LogPosition()
        self._clock = clock
        self._next = 0.0

    def lines(self) -> list[LogLine]:
        found: list[LogLine] = []
        if self._clock() < self._next:
            return found
        self._next = self._clock() + 10.0
        with suppress(ApiError):
            found += new_lines(self._open, self._position)
        return found

    def close(self) -> None:
        return


@dataclass(frozen=True)
class Plan:
    """One deploy: its faults, its options, who else is there, and the signal that ends it."""

    rules: tuple[Mapping[str, Any], ...] = ()
    seed: int = 1
    stock: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = GPUS
    wait: bool = True
    new: bool = False
    keep_failed: bool = False
    rm_on_interrupt: bool = False
    other_laptop: float | None = None
    """Seconds for which the pod that another laptop has just made of this model is missing from
    lists; None: no pod.
    """
    signal: tuple[int, int] | None = None
    """(number, tick)"""

    @property
    def scenario(self) -> Scenario:
        return Scenario.parse(
            {"seed": self.seed, "stock": {"EU-RO-1": self.stock}, "rules": list(self.rules)}
        )


@dataclass(frozen=True)
class Outcome:
    """How a command ended: `said` is its narration, `report` its last lines,
    `crash` an exception that is not ours.
    """

    code: int
    said: str
    report: str
    crash: str = ""


def alive(account: Account) -> dict[str, Any]:
    return {pod.id: pod for pod in account.pods.values() if pod.status != "TERMINATED"}


class Stage:
    """An account, a client of it and a clock, for one plan."""

    def __init__(self, plan: Plan, runner_class: type[PaperRunner] = PaperRunner) -> None:
        self.plan = plan
        self.alarm = Alarm(*(plan.signal or ()))
        self.clock = self.new_clock()
        rng = random.Random(plan.seed)
        self.runner = runner_class(self.clock)
        self.account = Account(self.clock, rng, Scenario(), self.runner, KEY)
        self.made = MadePods(Path(tempfile.mkdtemp(dir=SCRATCH)) / "made.json")
        self.limits: dict[str, Any] = {}
        self.others: dict[str, str] = {}
        self._other_people()
        self.adapter = AccountAdapter(self.account, self.clock, self.alarm)
        session = requests.Session()
        session.trust_env = False
        session.mount(API_URL, self.adapter)
        self.client = RunpodClient(
            session,
            API_URL,
            Secret(KEY),
            clock=self.clock,
            sleep=self.clock.sleep,
            backoff=growing_backoff(rng.random),
        )
        self._suffix = lambda: f"{rng.randrange(16**6):06x}"

    def new_clock(self) -> Clock:
        return Clock(self.alarm)

    def _other_people(self) -> None:
        """Pods that no deploy and no sweep here may touch."""
        self.made_by_others("someone-elses-pod")
        self.made_by_others("podkit-qwen3vl-aaaaaa")
        if self.plan.other_laptop is not None:
            self.clock.now += 100.0
            self.made_by_others("podkit-olmocr-bbbbbb", self.plan.other_laptop)

    def made_by_others(self, name: str, lag: float = 0.0) -> None:
        rule = {"call": "POST /pods", "fault": "list-lag", "seconds": lag}
        self.obey(rule)
        body = {
            "name": name,
            "image": "any",
            "dataCenterIds": ["EU-RO-1"],
            "gpu": {"id": GPUS[0], "count": 1},
        }
        body |= {
            "mounts": {"network": [{"volumeId": "podkit0vol", "path": "/workspace"}]},
            "ports": ["8000/http"],
        }
        headers = {"authorization": f"Bearer {KEY}"}
        answer = self.account.handle(
            Call("POST", "/v2/pods", {}, headers, json.dumps(body).encode())
        )
        self.others[json.loads(answer.body)["id"]] = name
        self.account.set_scenario(self.plan.scenario)

    @property
    def own(self) -> dict[str, Any]:
        """The living pods that this stage's deploys made."""
        return {
            pod_id: pod for pod_id, pod in alive(self.account).items() if pod_id not in self.others
        }

    def listed(self) -> set[str]:
        """The ids that the account lists now, whatever the plan's faults."""
        self.account.set_scenario(Scenario())
        answer = self.account.handle(
            Call("GET", "/v2/pods", {}, {"authorization": f"Bearer {KEY}"})
        )
        self.account.set_scenario(self.plan.scenario)
        return {pod["id"] for pod in json.loads(answer.body)["pods"]}

    def world(self, said: list[str], interrupts: Interrupts) -> World:
        def say(text: str) -> None:
            said.append(text)
            self.alarm.tick()

        def look(where: Access) -> tuple[Probe, Probe]:
            pod = self.account.pods[str(urlsplit(where.api_url).hostname).partition("-")[0]]
            runtime = self.runner.runtime(pod)
            served = Probe(
                pod.status == "RUNNING" and runtime is not None and runtime.uptime >= READY_SECONDS
            )
            return served, served

        def follow(pod_id: str, source: str) -> Any:
            return LogReader(self.client, pod_id, source, self.clock)

        probes: Any = SimpleNamespace(look=look)
        return World(
            client=self.client,
            new_suffix=self._suffix,
            say=say,
            here=str,
            made=self.made,
            follow=follow,
            new_probes=lambda: probes,
            showing=lambda: nullcontext(Changes(lambda progress: say(line(progress)))),
            interrupts=interrupts,
        )

    def deploy(self, **parts: Any) -> Outcome:
        settings = Settings(API_URL, PROXY_URL, Secret(KEY), Path(".env"), gpus=self.plan.gpus)
        settings = replace(settings, **self.limits)
        said: list[str] = []
        with handlers() as interrupts:
            world = self.world(said, interrupts)
            outcome = deploy(settings, MODEL, world, self.plan, said, **parts)
        self.alarm.at = 0
        return outcome

    def stop(self, *wanted: str) -> Outcome:
        return stop(self.client, *wanted)

    def obey(self, *rules: Mapping[str, Any]) -> None:
        """From here on these are the faults."""
        self.account.set_scenario(Scenario.parse({"rules": list(rules)}))

    def heal(self) -> None:
        """From here on nothing goes wrong, and what was late has come."""
        self.obey()
        self.clock.now += 60.0


def deploy(
    settings: Settings,
    model: Model,
    world: World,
    plan: Plan,
    said: list[str],
    launcher_class: type[Launcher] = Launcher,
    ledger_class: type[Ledger] = Ledger,
    **wishes: Any,
) -> Outcome:
    """One deploy as `./deploy_olmocr.sh` does it; `said` is where the world's narration goes."""
    ledger = ledger_class(world.client, world.say, world.made)
    wished = Wishes(
        new=plan.new,
        wait=plan.wait,
        rm_on_interrupt=plan.rm_on_interrupt,
        **wishes,
    )
    settings = replace(settings, keep_failed=plan.keep_failed)
    launcher = launcher_class(settings, model, world, ledger, wished)

    def run() -> str:
        pod, _ = launcher.run(placed=lambda: None, served=lambda _pod, _where: None)
        return f"{pod.id}\nend it now: ./stop_pod.sh {pod.id}"

    code, report, crash = ended(run)
    if code:
        report = "\n".join([*ledger.left_running(), report])
    return Outcome(code, "\n".join(said), report, crash)


def stop(client: RunpodClient, *wanted: str) -> Outcome:
    """`./stop_pod.sh WANTED...`"""
    said: list[str] = []

    def run() -> str:
        ended = ending.end_each(client, wanted, False, False, said.append, lambda _left: None)
        if ended.failures:
            raise ending.join_failures(ended.failures)
        return ""

    code, report, crash = ended(run)
    return Outcome(code, "\n".join(said), report, crash)


def ended(run: Callable[[], str]) -> tuple[int, str, str]:
    """(exit code, last lines, crash) of a command."""
    try:
        return 0, run(), ""
    except PodkitError as error:
        return error.exit_code, f"{error.message}\n{error.hint}", ""
    except Exception as error:
        return 1, "", repr(error)


@contextmanager
def handlers() -> Iterator[Interrupts]:
    """podkit's signal handlers, installed for the length of one deploy."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    interrupts = Interrupts()
    interrupts.install()
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
