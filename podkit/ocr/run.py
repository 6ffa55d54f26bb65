"""One run of `ocr`: which PDFs, on which pod, and what becomes of both.

It must never take a pod that serves another model, nor leave one unmentioned that it deployed or found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import cast

import click

from podkit.commands import output
from podkit.commands.app import App
from podkit.errors import Missing, PodkitError, UsageError
from podkit.ocr.documents import Document, Done, examined, find, make_room, turn
from podkit.ocr.relay import Relay
from podkit.ocr.toolkit import installed, progress, transcribe
from podkit.pods.access import Access, access
from podkit.pods.ending import end, only
from podkit.pods.ending import find as find_pod
from podkit.pods.readiness import wait_until_ready
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Pod
from podkit.settings import Settings


def read_pdfs(
    app: App,
    paths: Sequence[Path],
    out: Path | None,
    pod_id: str,
    concurrency: int,
    *,
    may_deploy: bool,
    stop_after: bool,
) -> None:
    """Read what is missing or changed, and print what was written. Raises PodkitError naming all that was not read."""
    with turn(app.root / ".podkit/ocr") as done:
        try:
            found = find(paths, out)
            documents = [document for one in found if (document := examined(one, done))]
            wanted, ended = (
                [one for one in documents if bool(one.reason) is failed] for failed in (False, True)
            )
            app.say(
                f"PDFs to do: {len(wanted)}; done: {len(found) - len(documents)}; cannot be done: {len(ended)}"
            )
            if wanted:
                make_room(wanted)
                ended += _read(
                    app, wanted, done, concurrency, _olmocr_pod(app, pod_id, may_deploy, stop_after)
                )
        finally:
            if stop_after:
                _end_pod(app, pod_id)
    failures = [line for document in ended for line in document.failures()]
    shown = [{**vars(one), "pdf": str(one.pdf), "markdown": str(one.markdown)} for one in ended]
    if failures:
        kind = PodkitError if wanted or len(documents) < len(found) else UsageError
        what = "not all was read:\n  " + "\n  ".join(failures)
        again = any(document.pages for document in ended if document.failures())
        hint = (
            "the same command tries again what the pod did not read"
            if again
            else "mend these, or leave them out"
        )
        raise kind(what, hint, documents=shown)
    if app.as_json:
        click.echo(output.envelope("ocr", documents=shown))


def _read(
    app: App,
    wanted: list[Document],
    done: Done,
    concurrency: int,
    ready: AbstractContextManager[tuple[Pod, Access]],
) -> list[Document]:
    """What became of each document. The path of each Markdown goes to stdout, where a bar is drawn at the end."""
    folder, path = app.root / ".podkit/ocr", app.environ.get("PATH", "")
    python = installed(app.root / ".podkit/olmocr", path, app.say)
    pages, say = sum(document.pages for document in wanted), None if app.draws() else app.say
    written: list[Path] = []

    def place(document: Document, text: str) -> None:
        done.place(document, text)
        written.append(document.markdown)
        if say and not app.as_json:
            click.echo(document.markdown)

    with (
        ready as (pod, where),
        Relay(app.session(), where, folder / "answers", time.monotonic, time.sleep) as relay,
        progress(pages, pod.cost_per_hour, say, time.monotonic) as show,
    ):
        ended = transcribe(wanted, python, folder, path, relay, concurrency, place, show)
    if not say and not app.as_json:
        click.echo("\n".join(map(str, written)))
    return ended


@contextmanager
def _olmocr_pod(
    app: App, pod_id: str, may_deploy: bool, stop_after: bool
) -> Iterator[tuple[Pod, Access]]:
    """The pod that serves OLMoCR, ready. Unless it will be ended, the way out says how to end it."""
    settings, client = app.connected()
    try:
        pod = serving(settings, client, pod_id)
    except Missing:
        if pod_id or not may_deploy:
            raise
        context = click.get_current_context()
        deploy = cast(click.Group, context.find_root().command).commands["deploy"]
        as_json, app.as_json = app.as_json, False
        with redirect_stdout(sys.stderr):
            context.invoke(deploy, model="olmocr", rm_on_interrupt=stop_after)
        app.as_json = as_json
        pod = serving(settings, client, pod_id)
    left = f"pod {pod.id} ({pod.name}) goes on at ${pod.cost_per_hour:.2f}/h; end it now: ./stop_pod.sh {pod.id}"
    app.interrupts.report = lambda: f"podkit: {app.here(left)}\n"
    try:
        yield wait_until_ready(app.world(settings), pod, settings.proxy_url, settings.boot_minutes)
    finally:
        if not stop_after:
            app.say(left)


def _end_pod(app: App, pod_id: str) -> None:
    """End the pod that serves OLMoCR, if there is one; what it is and costs is said before, as this may be cut off."""
    settings, client = app.connected()
    with suppress(Missing):
        pod = serving(settings, client, pod_id)
        app.say(
            f"ending pod {pod.id} ({pod.name}), ${pod.cost_per_hour:.2f}/h; by hand: ./stop_pod.sh {pod.id}"
        )
        app.say(end(client, pod, keep=False, delete=False))


def serving(settings: Settings, client: RunpodClient, pod_id: str) -> Pod:
    """The pod of this id, prefix or name, else the only live one that serves OLMoCR. Raises Missing if there is none.

    Raises PodkitError if several do.
    """
    pods = client.list_pods()
    if pod_id:
        pod = find_pod(pods, pod_id)
        if (model := access(pod, settings.proxy_url).model) != "olmocr":
            raise UsageError(
                f"pod {pod.id} serves {model or 'nothing of podkit'}, not OLMoCR",
                "leave out --pod, or --deploy",
            )
        return pod
    fitting = [
        pod for pod in pods if pod.live and access(pod, settings.proxy_url).model == "olmocr"
    ]
    if not fitting:
        raise Missing("no OLMoCR pod is running", "the same command with --deploy makes one")
    return only(fitting)
