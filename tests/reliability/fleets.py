"""A whole run of `ocr` with several pods over the sandbox's account, on one clock and without a
socket.

Stood in for are the toolkit, whose threads ask for pages as the real one does, and the pods'
answers. The PDFs, the files, the relay's reader, the fleet and the ledger are podkit's own.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from podkit.interrupts import Interrupts
from podkit.models.spec import Model
from podkit.ocr import fleet, run
from podkit.ocr.documents import Document
from podkit.ocr.page_reader import PageReader
from podkit.ocr.rates import Rates
from podkit.ocr.wanted import Surroundings, Wanted
from podkit.secret import Secret
from podkit.settings import Settings
from podkit_sandbox.account import Call
from tests.podkit.ocr.answers import HEAD, stream
from tests.podkit.ocr.documents import short_pages
from tests.reliability.batons import SharedClock, SharedCondition
from tests.reliability.ticks import Clock
from tests.reliability.transport import (
    API_URL,
    GPUS,
    KEY,
    PROXY_URL,
    READY_SECONDS,
    Body,
    Outcome,
    Plan,
    Stage,
    ended,
    handlers,
)

SERVES = Model("olmocr", "allenai/olmocr@1", "olmocr", "", "sleep 600")
SECRETS = ("PODKIT_API_KEY", "WEBUI_ADMIN_EMAIL", "WEBUI_ADMIN_PASSWORD", "WEBUI_SECRET_KEY")
THREADS = 6
TRIES = 8
"""How often the toolkit asks for a page (olmocr 0.4.27)."""


@dataclass(frozen=True)
class Fate:
    """Of a pod: the seconds it takes for a page, when it dies, and when and for how long it answers
    502; all counted from its creation.
    """

    page_seconds: float = 5.0
    dies_after: float = 1e9
    ill_from: float = 1e9
    ill_for: float = 0.0


@dataclass(frozen=True)
class FleetPlan:
    """One run: its faults, its fates by the order of the creates, and what it is asked for."""

    rules: tuple[Mapping[str, Any], ...] = ()
    fates: tuple[Fate, ...] = ()
    pods: int = 3
    data_centers: tuple[str, ...] = ()
    pages: tuple[int, ...] = (4, 5)
    budget: float | None = None
    stop_after: bool = True
    seed: int = 1
    stock: Mapping[str, str] = field(default_factory=dict)
    signal: tuple[int, int] | None = None


class Answers(HTTPAdapter):
    """The pods' own URLs: a page takes its time, and a pod may die meanwhile."""

    def __init__(self, stage: FleetStage) -> None:
        super().__init__()
        self._stage = stage

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        stage = self._stage
        pod_id = str(urlsplit(str(request.url)).hostname).partition("-")[0]
        page = json.loads(request.body or b"{}")["page"]
        stage.asked.append(page)
        if not stage.serves(pod_id):
            stage.clock.sleep(0.1)
            return self._answer(request, 502, "<html>")
        stage.clock.sleep(stage.fate(pod_id).page_seconds)
        if not stage.serves(pod_id):
            broken = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError())
            raise requests.ConnectionError(broken, request=request)
        return self._answer(request, 200, stream(HEAD, f"<{page}>"))

    def _answer(
        self, request: requests.PreparedRequest, status: int, text: str
    ) -> requests.Response:
        raw = urllib3.HTTPResponse(Body(text.encode()), {}, status, preload_content=False)
        return self.build_response(request, raw)


class Toolkit:
    """Stands in for the real one: threads ask for page after page, each several times."""

    def __init__(self, documents: Sequence[Document], reader: PageReader) -> None:
        self._waiting = list(documents)
        self._reader = reader
        self._pages: deque[tuple[str, int]] = deque()
        self._texts: dict[str, list[str]] = {}
        self._tried: Counter[str] = Counter()
        for document in documents:
            self._texts[document.pdf.name] = []
            self._pages.extend((document.pdf.name, page) for page in range(document.pages))

    def work(self) -> None:
        while self._pages:
            name, number = self._pages.popleft()
            question = json.dumps({"page": f"{name}-{number}"}).encode()
            for _ in range(TRIES):
                status, answer = self._reader.completion(question)
                if status == 200:
                    content = json.loads(answer)["choices"][0]["message"]["content"]
                    self._texts[name].append(content)
                    break
            self._tried[name] += 1

    def wait(
        self,
        clock: Clock,
        place: Callable[[Document, str], Document],
        show: Callable[[int], None],
    ) -> list[Document]:
        """What became of each document."""
        through: list[Document] = []
        while self._waiting and not self._reader.failure:
            clock.sleep(0.5)
            for document in list(self._waiting):
                name = document.pdf.name
                if self._tried[name] == document.pages and not self._reader.failure:
                    self._waiting.remove(document)
                    through.append(place(document, "\n".join(self._texts[name])))
            show(len(self._reader.read))
        if not self._waiting:
            self._reader.forget()
        failure = self._reader.failure
        return through + [replace(document, reason=failure) for document in self._waiting]


class FleetStage(Stage):
    """An account whose pods have fates, and runs of `ocr` in one folder."""

    def __init__(self, plan: FleetPlan, folder: Path) -> None:
        super().__init__(
            Plan(rules=plan.rules, seed=plan.seed, stock=plan.stock, signal=plan.signal)
        )
        self.fleet_plan = plan
        self.folder = folder
        self.asked: list[str] = []
        carry = self.adapter.send

        def carry_to_the_living(*arguments: Any, **options: Any) -> requests.Response:
            self.reap()
            return carry(*arguments, **options)

        setattr(self.adapter, "send", carry_to_the_living)  # noqa: B010 - one stage's own
        (folder / "in").mkdir(parents=True)
        for number, pages in enumerate(plan.pages):
            (folder / f"in/{number}.pdf").write_bytes(short_pages(pages))

    def new_clock(self) -> Clock:
        return SharedClock(self.alarm)

    @property
    def shared(self) -> SharedClock:
        assert isinstance(self.clock, SharedClock)
        return self.clock

    def add_volume(self, data_center: str) -> None:
        """Another network volume of the account."""
        body = {"name": "podkit", "size": 100, "dataCenter": data_center}
        headers = {"authorization": f"Bearer {KEY}"}
        call = Call("POST", "/v2/network-volumes", {}, headers, json.dumps(body).encode())
        assert self.account.handle(call).status == 201

    def fate(self, pod_id: str) -> Fate:
        """Of a pod that the run made, by the order of the creates."""
        made = [pod for pod in self.account.pods.values() if pod.id not in self.others]
        number = [pod.id for pod in made].index(pod_id)
        fates = self.fleet_plan.fates
        return fates[number] if number < len(fates) else Fate()

    def reap(self) -> None:
        """End the pods whose time has come: by their fate, or their own end time."""
        for pod in self.account.pods.values():
            if pod.id in self.others or pod.ended is not None:
                continue
            moment = min(pod.created + self.fate(pod.id).dies_after, self.end_time(pod))
            if moment <= self.clock():
                pod.status = "TERMINATED"
                pod.ended = moment

    def end_time(self, pod: Any) -> float:
        """Of a pod by its environment, in seconds since 1970."""
        text = pod.body["env"].get("PODKIT_ENDS_AT") or "2099-01-01T00:00:00Z"
        return datetime.fromisoformat(text).timestamp()

    def serves(self, pod_id: str) -> bool:
        """Whether a pod answers now."""
        self.reap()
        pod = self.account.pods[pod_id]
        age = self.clock() - pod.created
        fate = self.fate(pod_id)
        is_ill = fate.ill_from <= age < fate.ill_from + fate.ill_for
        return pod.status == "RUNNING" and not is_ill and age >= READY_SECONDS

    def read(self) -> Outcome:
        """`./ocr_pdfs.sh --pods N in/`"""
        plan = self.fleet_plan
        said: list[str] = []
        last: list[str] = []
        with handlers() as interrupts, pytest.MonkeyPatch.context() as patched:
            patched.setattr(run, "install_toolkit", lambda *_: Path("python"))
            patched.setattr(run, "Relay", self._relay)
            patched.setattr(run, "transcribe", self._transcribe)
            condition = SimpleNamespace(Condition=lambda: SharedCondition(self.shared))
            patched.setattr(fleet, "threading", condition)
            wanted = Wanted(
                [self.folder / "in"],
                None,
                "",
                THREADS,
                False,
                plan.stop_after,
                pods=plan.pods,
                data_centers=plan.data_centers,
            )
            around = self._surroundings(said, last, interrupts)

            def work() -> str:
                run.read_pdfs(around, wanted)
                return ""

            code, report, crash = ended(work)
        self.shared.end_threads()
        return Outcome(code, "\n".join(said), "\n".join([*last, report]), crash)

    def _surroundings(
        self, said: list[str], last: list[str], interrupts: Interrupts
    ) -> Surroundings:
        keys = {name: Secret("x") for name in SECRETS}
        settings = Settings(
            API_URL, PROXY_URL, Secret(KEY), Path(".env"), gpus=GPUS, secrets=keys, max_hours=12
        )
        settings = replace(settings, budget=self.fleet_plan.budget)
        world = self.world(said, interrupts)
        session = requests.Session()

        def mounted() -> requests.Session:
            session.mount("https://", Answers(self))
            session.mount = lambda *_: None  # type: ignore[method-assign]
            return session

        return Surroundings(
            folder=self.folder / ".podkit",
            path="",
            startup=self.folder / "startup",
            say=world.say,
            draws=False,
            is_sandbox=False,
            wrote=lambda _: None,
            connect=lambda: (settings, self.client),
            world=lambda _: world,
            session=mounted,
            deploy=lambda *_: pytest.fail("a fleet makes its own pods"),
            model=lambda: SERVES,
            turn=nullcontext,
            rates=lambda _: Rates(self.folder / "rates.json"),
            tell_left=lambda: last.append(interrupts.report()),
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def _relay(self, reader: Any, _model: str) -> AbstractContextManager[Any]:
        return nullcontext(SimpleNamespace(reader=reader))

    def _transcribe(
        self,
        documents: Sequence[Document],
        _python: Path,
        _folder: Path,
        _path: str,
        relay: Any,
        at_once: int,
        place: Callable[[Document, str], Document],
        show: Callable[[int], None],
    ) -> list[Document]:
        toolkit = Toolkit(documents, relay.reader)
        for _ in range(min(at_once, THREADS)):
            self.shared.start(toolkit.work)
        return toolkit.wait(self.clock, place, show)

    def unread(self) -> list[str]:
        """The pages that are not exactly once in the Markdown, by PDF and number."""
        found: list[str] = []
        for number, pages in enumerate(self.fleet_plan.pages):
            markdown = self.folder / f"in/{number}.md"
            text = markdown.read_text(encoding="utf-8") if markdown.exists() else ""
            names = re.findall(r"<(.+?)>", text)
            for page in range(pages):
                if names.count(f"{number}.pdf-{page}") != 1:
                    found.append(f"{number}.pdf-{page}")
        return found

    def cost(self) -> float:
        """USD of the pods that the run knows of, each until its end, or its own end time. Twins of
        unclear creates are not among them: nobody asked for these.
        """
        self.reap()
        total = 0.0
        names: set[str] = set()
        for pod in self.account.pods.values():
            if pod.id not in self.others and pod.name not in names:
                names.add(pod.name)
                until = min(pod.ended or 1e12, self.end_time(pod))
                total += pod.rate * (until - pod.created) / 3600
        return total
