"""One run of `ocr`: which PDFs, on which pod, and what becomes of both.

It must never take a pod that serves another model, nor leave one unmentioned that it deployed or
found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podkit.errors import (
    ApiError,
    Missing,
    NotFound,
    PodFailed,
    PodkitError,
    SeveralPods,
    UsageError,
)
from podkit.ocr.documents import Document, Done, examined, find, make_room, only_pages, turn
from podkit.ocr.pace import Pace
from podkit.ocr.relay import Relay
from podkit.ocr.toolkit import installed, progress, transcribe
from podkit.pods.access import Access, access
from podkit.pods.ending import end, only
from podkit.pods.ending import find as find_pod
from podkit.pods.readiness import LOOK, World, wait_until_ready
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Pod
from podkit.settings import Settings
from podkit.text import stop_command

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class Surroundings:
    """What surrounds a run: podkit's own `folder`, the `path` to find programs in, the account, and
    what is said and shown.

    `deploy` gives a pod that serves OLMoCR, and is told whether Ctrl-C is to end it. `tell_left`
    says what goes on billing. `wrote` is given each Markdown as it is written; `draws` says whether
    stderr may be drawn on.
    """

    folder: Path
    path: str
    say: Callable[[str], None]
    draws: bool
    wrote: Callable[[Path], None]
    connect: Callable[[], tuple[Settings, RunpodClient]]
    world: Callable[[Settings], World]
    session: Callable[[], requests.Session]
    deploy: Callable[[Settings, bool], Pod]
    tell_left: Callable[[], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be read, and on which pod; `pod_id` is empty for the only one, `pages` for all."""

    paths: Sequence[Path]
    out: Path | None
    pod_id: str
    concurrency: int
    may_deploy: bool
    stop_after: bool
    pages: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What became of each PDF that was to be read, and those that were done before."""

    documents: Sequence[Document]
    done_before: Sequence[Document]

    def fields(self) -> dict[str, Any]:
        """For programs."""
        return {
            "documents": [_fields(one) for one in self.documents],
            "done_before": [str(one.markdown) for one in self.done_before],
        }

    def text(self) -> str:
        """Nothing: each path was printed as it was written."""
        return ""


def _fields(document: Document) -> dict[str, Any]:
    return {**vars(document), "pdf": str(document.pdf), "markdown": str(document.markdown)}


def read_pdfs(around: Surroundings, wanted: Wanted) -> Reading:
    """Read what is missing or changed. Raises PodkitError naming all that was not read."""
    used: list[Pod] = []
    with turn(around.folder / "ocr") as done:
        try:
            found = find(wanted.paths, wanted.out)
            if wanted.pages:
                found = [only_pages(found, wanted.pages)]
                around.say(f"these pages alone: {found[0].markdown}; the whole is another")
            to_do: list[Document] = []
            ended: list[Document] = []
            before: list[Document] = []
            for one in found:
                document = examined(one, done)
                if document is None:
                    before.append(one)
                elif document.reason:
                    ended.append(document)
                else:
                    to_do.append(document)
            counts = f"PDFs to do: {len(to_do)}; done: {len(before)}"
            around.say(f"{counts}; cannot be done: {len(ended)}")
            if to_do:
                make_room(to_do)
                ended += _read(around, wanted, to_do, done, used)
        finally:
            _leave(around, wanted, used)
    reading = Reading(ended, before)
    _raise_failures(reading, is_usage=not (to_do or before))
    return reading


def _raise_failures(reading: Reading, *, is_usage: bool) -> None:
    failures: list[str] = []
    may_pass = False
    for document in reading.documents:
        lines = document.failures()
        failures += lines
        may_pass = may_pass or bool(lines and document.pages)
    if not failures:
        return
    kind = UsageError if is_usage else PodkitError
    hint = "fix these, or leave them out"
    if may_pass:
        hint = "the same command tries again what the pod did not read"
    raise kind("not all was read:\n  " + "\n  ".join(failures), hint, **reading.fields())


def _read(
    around: Surroundings,
    wanted: Wanted,
    to_do: list[Document],
    done: Done,
    used: list[Pod],
) -> list[Document]:
    """What became of each document; the pod is put into `used`."""
    folder = around.folder / "ocr"
    python = installed(around.folder / "olmocr", around.path, around.say)
    pages = sum(document.pages for document in to_do)
    say = None if around.draws else around.say

    def place(document: Document, text: str) -> None:
        done.place(document, text)
        around.wrote(document.markdown)

    with (
        _olmocr_pod(around, wanted, used) as (pod, where),
        Relay(
            around.session(),
            where,
            folder / "answers",
            time.monotonic,
            time.sleep,
            lambda: _is_gone(around, pod.id),
            Pace(wanted.concurrency, time.monotonic),
        ) as relay,
        progress(pages, pod.cost_per_hour, say, time.monotonic) as show,
    ):
        return transcribe(
            to_do,
            python,
            folder,
            around.path,
            relay,
            wanted.concurrency,
            place,
            show,
        )


def _is_gone(around: Surroundings, pod_id: str) -> bool:
    """Whether the pod has ended; not while the API does not say."""
    try:
        return not around.connect()[1].get_pod(pod_id).live
    except NotFound:
        return True
    except ApiError:
        return False


@contextmanager
def _olmocr_pod(
    around: Surroundings,
    wanted: Wanted,
    used: list[Pod],
) -> Iterator[tuple[Pod, Access]]:
    """The pod that serves OLMoCR, ready; it is put into `used` as soon as it is known.

    From then on the last words name it, unless it will be ended and was.
    """
    settings, client = around.connect()
    world = around.world(settings)
    try:
        pod = serving(settings, client, wanted.pod_id)
    except SeveralPods:
        raise
    except Missing:
        if wanted.pod_id or not wanted.may_deploy:
            raise
        pod = around.deploy(settings, wanted.stop_after)
    used.append(pod)
    what = f"pod {pod.label} goes on at ${pod.cost_per_hour:.2f}/h"
    left = f"{what}; end it now: {stop_command(pod.id)}"
    world.interrupts.report = lambda: f"podkit: {world.here(left)}\n"
    try:
        ready = wait_until_ready(
            world,
            pod,
            settings.proxy_url,
            settings.boot_minutes,
            needs_page=False,
        )
    except PodFailed as error:
        error.hint += LOOK.format(pod.id)
        raise
    yield ready


def _leave(around: Surroundings, wanted: Wanted, used: Sequence[Pod]) -> None:
    """End the pod if that is wanted, and say what goes on billing."""
    try:
        if wanted.stop_after:
            _end_pod(around, wanted, used)
    finally:
        around.tell_left()


def _end_pod(around: Surroundings, wanted: Wanted, used: Sequence[Pod]) -> None:
    """End the pod that this run used; if it reached none, the one that serves OLMoCR.

    What it is and costs is said before, as this may be cut off. Raises SeveralPods.
    """
    settings, client = around.connect()
    if used:
        pod = used[0]
    else:
        try:
            pod = serving(settings, client, wanted.pod_id)
        except SeveralPods:
            raise
        except Missing:
            return
    what = f"ending pod {pod.label}, ${pod.cost_per_hour:.2f}/h"
    around.say(f"{what}; by hand: {stop_command(pod.id)}")
    around.say(end(client, pod, keep=False, delete=False))
    world = around.world(settings)
    world.made.note_end(pod.name)
    world.interrupts.report = lambda: ""


def serving(settings: Settings, client: RunpodClient, pod_id: str) -> Pod:
    """The pod that `pod_id` means, else the only live one that serves OLMoCR.

    Raises Missing if there is none, SeveralPods if several do.
    """
    pods = client.list_pods()
    if pod_id:
        pod = find_pod(pods, pod_id)
        model = access(pod, settings.proxy_url).model
        if model != "olmocr":
            what = f"pod {pod.id} serves {model or 'nothing of podkit'}, not OLMoCR"
            raise UsageError(what, "leave out --pod, or --deploy")
        return pod
    fitting = []
    for pod in pods:
        if pod.live and access(pod, settings.proxy_url).model == "olmocr":
            fitting.append(pod)
    if not fitting:
        raise Missing("no OLMoCR pod is running", "the same command with --deploy makes one")
    return only(fitting)
