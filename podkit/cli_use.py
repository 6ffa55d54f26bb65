"""The commands that put a pod to use. Only `env` prints a secret here: that is what it is for."""

from __future__ import annotations

import shlex
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from podkit import output
from podkit.app import App, command, pod_argument
from podkit.errors import Missing, PodkitError, UsageError

if TYPE_CHECKING:
    from podkit.extras.pdfs import Document
    from podkit.models import Pod
    from podkit.readiness import Access


@command()
@pod_argument
def env(app: App, pod_id: str) -> None:
    """Print the lines that point an OpenAI client at a pod, and the chat page's login.

    \b
    Examples:
      eval "$(./podkit.sh env)"         # this shell now has OPENAI_BASE_URL and OPENAI_API_KEY
      ./podkit.sh env 0926d6
    """
    where = _access(app, pod_id)
    values = {
        "OPENAI_BASE_URL": where.api_url,
        "OPENAI_API_KEY": where.key.reveal(),
        "WEBUI_URL": where.webui_url,
        "WEBUI_ADMIN_EMAIL": where.email,
        "WEBUI_ADMIN_PASSWORD": where.password.reveal(),
    }
    click.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items()))


@command("open")
@pod_argument
def open_page(app: App, pod_id: str) -> None:
    """Open a pod's chat page in the browser, and print its URL.

    \b
    Examples:
      ./podkit.sh open                  # the only pod there is
      ./podkit.sh open podkit-qwen3vl-4f1c22
    """
    url = _access(app, pod_id).webui_url
    click.echo(url)
    webbrowser.open(url)


@command()
@click.argument("question")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=click.Path(path_type=Path))
@click.option("--pod", "pod_id", default="", help="Id, start of an id, or name; needed only if there are several pods.")
def chat(app: App, question: str, images: tuple[Path, ...], pod_id: str) -> None:
    """Ask a pod's model a question, with images if you like; the answer appears as it is written.

    \b
    Examples:
      ./chat.sh "Who are you?"
      ./chat.sh "What is the total on this invoice?" invoice.png
    """
    from podkit.chat import answer

    where = _access(app, pod_id)
    for piece in answer(app.session(), where, question, images):
        click.echo(piece, nl=False)
    click.echo()


@command(json=True)
@click.argument("paths", nargs=-1, required=True, metavar="FILE.pdf|FOLDER...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the Markdown; else each goes beside its PDF.")
@click.option("--pod", "pod_id", default="", help="Id, start of an id, or name; needed only if several serve OLMoCR.")
@click.option("--concurrency", type=click.IntRange(1, 200), default=20, show_default=True, help="Pages read at once.")
@click.option("--deploy", "may_deploy", is_flag=True, help="Make a pod, as ./deploy_olmocr.sh does, if there is none.")
@click.option("--stop-after", is_flag=True, help="End the pod afterwards, whatever became of the pages.")
def ocr(
    app: App, paths: tuple[Path, ...], out: Path | None, pod_id: str, concurrency: int, may_deploy: bool,
    stop_after: bool,
) -> None:  # fmt: skip
    """Turn PDFs into Markdown on an OLMoCR pod, with the olmOCR toolkit. A second run does what is missing or changed.

    \b
    Examples:
      ./ocr_pdfs.sh scans/ report.pdf --out text/
      ./ocr_pdfs.sh --deploy --stop-after archive/
    """
    from podkit.extras.olmocr_pod import serving
    from podkit.extras.pdfs import examined, find, turn
    from podkit.extras.relay import Relay
    from podkit.extras.toolkit import installed, progress, transcribe
    from podkit.pods import end

    folder, path = app.root / ".podkit/ocr", app.environ.get("PATH", "")
    with turn(folder) as done:
        found = find(paths, out)
        documents = [document for one in found if (document := examined(one, done))]
        wanted, ended = ([one for one in documents if bool(one.reason) is failed] for failed in (False, True))
        app.say(f"{len(wanted)} PDFs to do, {len(found) - len(documents)} done already, {len(ended)} cannot be done")

        def place(document: Document, text: str) -> None:
            done.place(document, text)
            if not app.as_json:
                click.echo(document.markdown)

        if wanted:
            python = installed(app.root / ".podkit/olmocr", path, app.say)
            pages, say = sum(document.pages for document in wanted), None if app.draws() else app.say
            with (
                _olmocr_pod(app, pod_id, may_deploy, stop_after) as (pod, where),
                Relay(app.session(), where, folder / "answers", time.monotonic, time.sleep) as relay,
                progress(pages, pod.cost_per_hour, say, time.monotonic) as show,
            ):
                ended += transcribe(wanted, python, folder, path, relay, concurrency, place, show)
        elif stop_after:
            with suppress(Missing):
                settings, client = app.connected()
                app.say(end(client, serving(settings, client, pod_id), keep=False, delete=False))
    failures = [line for document in ended for line in document.failures()]
    shown = [{**vars(one), "pdf": str(one.pdf), "markdown": str(one.markdown)} for one in ended]
    if failures:
        kind = PodkitError if wanted or len(documents) < len(found) else UsageError
        what = "not all was read:\n  " + "\n  ".join(failures)
        raise kind(what, "the same command tries these again, and no others", documents=shown)
    if app.as_json:
        click.echo(output.envelope("ocr", documents=shown))


@contextmanager
def _olmocr_pod(app: App, pod_id: str, may_deploy: bool, stop_after: bool) -> Iterator[tuple[Pod, Access]]:
    """The pod that serves OLMoCR, ready. The way out ends it, or says how to."""
    from podkit.extras.olmocr_pod import serving
    from podkit.pods import end
    from podkit.readiness import wait_until_ready

    settings, client = app.connected()
    try:
        pod = serving(settings, client, pod_id)
    except Missing:
        if pod_id or not may_deploy:
            raise
        context = click.get_current_context()
        deploy = cast(click.Group, context.find_root().command).commands["deploy"]
        with redirect_stdout(sys.stderr):
            context.invoke(deploy, model="olmocr", rm_on_interrupt=stop_after)
        pod = serving(settings, client, pod_id)
    left = f"pod {pod.id} ({pod.name}) goes on at ${pod.cost_per_hour:.2f}/h; end it now: ./stop_pod.sh {pod.id}"
    app.interrupts.report = lambda: f"podkit: {app.here(left)}\n"
    try:
        yield wait_until_ready(app.world(settings), pod, settings.proxy_url, settings.boot_minutes)
    finally:
        app.say(end(client, pod, keep=False, delete=False) if stop_after else left)


@command("eval", json=True)
@pod_argument
@click.option(
    "--folder", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Your own cases: NAME.pdf, NAME.png or NAME.jpg, and its text in NAME.txt or NAME.md.",
)  # fmt: skip
def evaluate(app: App, pod_id: str, folder: Path | None) -> None:
    """Send pages whose text is known through a pod, and print how much comes back wrong: per word and per character.

    Exit 1 if more than 10 % of all words are wrong: the model, a flag or the pod is broken.

    \b
    Examples:
      ./podkit.sh eval                  # pages that podkit draws itself
      ./podkit.sh eval 0926d6 --folder samples/ --json
    """
    from tempfile import TemporaryDirectory

    from podkit.extras.evaluation import GOOD_WER, MOST_WER, built_in, paired, scored

    with TemporaryDirectory() as scratch:
        cases = paired(folder, Path(scratch), app.say) if folder else built_in(Path(scratch))
        where = _access(app, pod_id)
        *scores, total = scored(app.session(), where, cases, app.say)
    wrong = f"{total.wer:.1%} of the words are wrong"
    parts = {"model": where.model, "cases": [asdict(one) for one in scores], "total": asdict(total)}
    if not app.as_json:
        rows = [(one.name, str(one.words), f"{one.wer:.1%}", f"{one.cer:.1%}") for one in (*scores, total)]
        click.echo("\n".join(output.columns(("CASE", "WORDS", "WER", "CER"), *rows)))
    if total.wer > MOST_WER:
        hint = "./podkit.sh logs shows the model and the flags it runs with; if every case is bad, it is one of them"
        raise PodkitError(f"the OCR is not as it should be: {wrong}", hint, **parts)
    if app.as_json:
        click.echo(output.envelope("eval", **parts))
    app.say(f"the OCR works: {wrong}" if total.wer < GOOD_WER else f"the OCR works, but not well: {wrong}")


def _access(app: App, pod_id: str) -> Access:
    from podkit.readiness import access

    settings, _, pod = app.chosen(pod_id)
    where = access(pod, settings.proxy_url)
    if not where.api_url:
        raise PodkitError(f"pod {pod.id} has no URL yet", f"./podkit.sh wait {pod.id}")
    return where
