"""One run of `ocr`: which PDFs, on which pods, and what becomes of both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from podkit.errors import PodkitError, UsageError
from podkit.ocr.documents import Document, Done, examine, find, make_room, only_pages, turn
from podkit.ocr.fleet import Fleet
from podkit.ocr.fleet_placement import places_of
from podkit.ocr.one_pod import OnePod
from podkit.ocr.page_reader import PageReader
from podkit.ocr.plan import ReadingPlan, plan_reading
from podkit.ocr.relay import Relay
from podkit.ocr.toolkit import install_toolkit, progress, transcribe
from podkit.ocr.wanted import Pods, Surroundings, Wanted
from podkit.pods.refusals import verdict
from podkit.pods.survey import survey


@dataclass(frozen=True)
class Reading:
    """What became of each PDF that was to be read, and those that were done before; `pods` is what
    each pod of a fleet did.
    """

    documents: Sequence[Document]
    done_before: Sequence[Document]
    pods: dict[str, Any]

    def fields(self) -> dict[str, Any]:
        """For programs."""
        return {
            "documents": [_fields(one) for one in self.documents],
            "done_before": [str(one.markdown) for one in self.done_before],
            **self.pods,
        }

    def text(self) -> str:
        """Nothing: each path was printed as it was written."""
        return ""


def _fields(document: Document) -> dict[str, Any]:
    return {**vars(document), "pdf": str(document.pdf), "markdown": str(document.markdown)}


@dataclass(frozen=True)
class Work:
    """The PDFs that a run was given: those to read, those that cannot be, those done before."""

    to_do: Sequence[Document]
    refused: Sequence[Document]
    before: Sequence[Document]


def read_pdfs(around: Surroundings, wanted: Wanted) -> Reading:
    """Read what is missing or changed. Raises PodkitError naming all that was not read."""
    pods: Pods = Fleet(around, wanted) if wanted.pods else OnePod(around, wanted)
    with turn(around.folder / "ocr", is_sandbox=around.is_sandbox) as done:
        try:
            work = look_through(around, wanted, done)
            ended = list(work.refused)
            if work.to_do:
                make_room(work.to_do)
                ended += _read(around, wanted, pods, work.to_do, done)
        finally:
            pods.leave()
    reading = Reading(ended, work.before, pods.fields())
    raise_failures(reading, is_usage=not (work.to_do or work.before))
    return reading


def plan_pdfs(around: Surroundings, wanted: Wanted) -> ReadingPlan:
    """What reading would take and cost. Reads alone. Raises what keeps a pod from being made."""
    with turn(around.folder / "ocr", is_sandbox=around.is_sandbox) as done:
        work = look_through(around, wanted, done)
    settings, client = around.connect()
    model = around.model()
    place = places_of(settings, wanted.data_centers, client)[0]
    _, placement = survey(client, place, model, around.say)
    if not placement.candidates:
        raise verdict((), placement, model.name)
    pages = sum(document.pages for document in work.to_do)
    cores = os.cpu_count() or 1
    return plan_reading(
        pages, placement.candidates[0], around.rates(settings), cores, settings.budget
    )


def look_through(around: Surroundings, wanted: Wanted, done: Done) -> Work:
    """What there is to do of the PDFs that are given, which is said."""
    found = find(wanted.paths, wanted.out)
    if wanted.pages:
        found = [only_pages(found, wanted.pages)]
        around.say(f"these pages alone go to {found[0].markdown}; the whole is not done by that")
    to_do: list[Document] = []
    refused: list[Document] = []
    before: list[Document] = []
    for one in found:
        document = examine(one, done)
        if document is None:
            before.append(one)
        elif document.reason:
            refused.append(document)
        else:
            to_do.append(document)
    counts = f"PDFs to do: {len(to_do)}; done: {len(before)}"
    around.say(f"{counts}; cannot be done: {len(refused)}")
    return Work(to_do, refused, before)


def raise_failures(reading: Reading, *, is_usage: bool) -> None:
    """Raises PodkitError naming every PDF and page that was not read, if there is one."""
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
    pods: Pods,
    to_do: Sequence[Document],
    done: Done,
) -> list[Document]:
    """What became of each document."""
    folder = around.folder / "ocr"
    python = install_toolkit(around.folder / "olmocr", around.path, around.say)
    pages = sum(document.pages for document in to_do)
    say = None if around.draws else around.say

    def place(document: Document, text: str) -> Document:
        placed = done.place(document, text)
        if not placed.reason:
            around.wrote(placed.markdown)
        return placed

    def look(pages_read: int) -> None:
        pods.look()
        show(pages_read)

    rates = around.rates(around.connect()[0])
    model = pods.start(pages)
    kept = folder / ("sandbox-answers" if around.is_sandbox else "answers")
    reader = PageReader(around.session(), pods.backends, kept, around.sleep)
    with (
        Relay(reader, model) as relay,
        progress(pages, lambda: pods.backends.spent, say, around.clock) as show,
    ):
        try:
            return transcribe(
                to_do,
                python,
                folder,
                around.path,
                relay,
                wanted.at_once,
                place,
                look,
            )
        finally:
            rates.note_answers(pods.backends.all, around.clock())
