"""The commands that put a pod to use. Only `env` prints a secret here: that is what it is for."""

from __future__ import annotations

import shlex
import sys
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podkit.commands import output
from podkit.commands.app import App, command, pod_argument
from podkit.errors import PodkitError, UsageError

if TYPE_CHECKING:
    from podkit.pods.access import Access

STDIN = Path("-")


@command()
@pod_argument
def env(app: App, pod_id: str) -> None:
    """Print the lines that point an OpenAI client at a pod, and the chat page's login.

    \b
    Examples:
      eval "$(./podkit.sh env)"         # this shell now has OPENAI_BASE_URL and OPENAI_API_KEY
      ./podkit.sh env 0926d6
    """
    where = _access(app, pod_id, tells_phase=True)
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
    url = _access(app, pod_id, tells_phase=True).webui_url
    click.echo(url)
    webbrowser.open(url)


@command()
@click.argument("question", default="-")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=click.Path(path_type=Path))
@click.option("--continue", "goes_on", is_flag=True, help="Go on with the last conversation.")
@click.option(
    "--pod",
    "pod_id",
    default="",
    help="Id, start of an id, or name; needed only if there are several pods.",
)
def chat(app: App, question: str, images: tuple[Path, ...], goes_on: bool, pod_id: str) -> None:
    """Ask a pod's model a question, with images if you like; the answer appears as it is written.

    A - stands for the text on standard input, in place of the question or after it.

    \b
    Examples:
      ./chat.sh "Who are you?"
      ./chat.sh "What is the total on this invoice?" invoice.png
      ./chat.sh --continue "And the tax?"
      ./chat.sh "Translate into French:" - < letter.txt
    """
    from podkit.pods.chat import Conversation, answer_to, message

    asked = message(_with_stdin(question, images), [one for one in images if one != STDIN])
    where = _access(app, pod_id)
    conversation = Conversation(app.root / ".podkit/conversation.json")
    messages = [*conversation.messages(), asked] if goes_on else [asked]
    said = ""
    for piece in answer_to(app.session(), where, messages):
        click.echo(piece, nl=False)
        said += piece
    click.echo()
    conversation.keep([*messages, {"role": "assistant", "content": said}])


def _with_stdin(question: str, images: tuple[Path, ...]) -> str:
    """The question, with what stands on standard input where a - stands for it."""
    if question != str(STDIN) and STDIN not in images:
        return question
    text = ""
    if not sys.stdin.isatty():
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not text.strip():
        raise UsageError("there is no question", './chat.sh "Who are you?"')
    if question == str(STDIN):
        return text
    return f"{question}\n\n{text}"


@command(json=True)
@click.argument(
    "paths", nargs=-1, required=True, metavar="FILE.pdf|FOLDER...", type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the Markdown; else each goes beside its PDF.",
)
@click.option(
    "--pod",
    "pod_id",
    default="",
    help="Id, start of an id, or name; needed only if several serve OLMoCR.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 200),
    default=20,
    show_default=True,
    help="Pages read at once.",
)
@click.option(
    "--deploy",
    "may_deploy",
    is_flag=True,
    help="Make a pod, as ./deploy_olmocr.sh does, if there is none.",
)
@click.option(
    "--stop-after", is_flag=True, help="End the pod afterwards, whatever became of the pages."
)
def ocr(
    app: App,
    paths: tuple[Path, ...],
    out: Path | None,
    pod_id: str,
    concurrency: int,
    may_deploy: bool,
    stop_after: bool,
) -> None:
    """Turn PDFs into Markdown on an OLMoCR pod, with the olmOCR toolkit. A second run does what is missing or changed.

    \b
    Examples:
      ./ocr_pdfs.sh scans/ report.pdf --out text/
      ./ocr_pdfs.sh --deploy --stop-after archive/
    """
    from podkit.ocr.run import read_pdfs

    read_pdfs(app, paths, out, pod_id, concurrency, may_deploy=may_deploy, stop_after=stop_after)


@command("eval", json=True)
@pod_argument
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Your own cases: NAME.pdf, NAME.png or NAME.jpg, and its text in NAME.txt or NAME.md.",
)
def evaluate(app: App, pod_id: str, folder: Path | None) -> None:
    """Send pages whose text is known through a pod, and print how much comes back wrong: per word and per character.

    Exit 1 if more than 10 % of all words are wrong: the model, a flag or the pod is broken.

    \b
    Examples:
      ./podkit.sh eval                  # pages that podkit draws itself
      ./podkit.sh eval 0926d6 --folder samples/ --json
    """
    from tempfile import TemporaryDirectory

    from podkit.ocr.evaluation import GOOD_WER, MOST_WER, built_in, paired, scored

    with TemporaryDirectory() as scratch:
        cases = paired(folder, Path(scratch), app.say) if folder else built_in(Path(scratch))
        where = _access(app, pod_id)
        *scores, total = scored(app.session(), where, cases, app.say)
    wrong = f"{total.wer:.1%} of the words are wrong"
    parts = {"model": where.model, "cases": [asdict(one) for one in scores], "total": asdict(total)}
    if not app.as_json:
        rows = [
            (one.name, str(one.words), f"{one.wer:.1%}", f"{one.cer:.1%}")
            for one in (*scores, total)
        ]
        click.echo("\n".join(output.columns(("CASE", "WORDS", "WER", "CER"), *rows)))
    if total.wer > MOST_WER:
        hint = "./podkit.sh logs shows the model and the flags it runs with; if every case is bad, it is one of them"
        raise PodkitError(f"the OCR is not as it should be: {wrong}", hint, **parts)
    if app.as_json:
        click.echo(output.envelope("eval", **parts))
    app.say(
        f"the OCR works: {wrong}"
        if total.wer < GOOD_WER
        else f"the OCR works, but not well: {wrong}"
    )


def _access(app: App, pod_id: str, *, tells_phase: bool = False) -> Access:
    """How to reach the pod that is meant; `tells_phase` says so if it is not ready yet."""
    from podkit.pods.access import access
    from podkit.pods.phases import READY, phases_of

    settings, client, pod = app.chosen(pod_id)
    where = access(pod, settings.proxy_url)
    if not pod.live:
        raise PodkitError(f"pod {pod.id} is {pod.status}", "./deploy_olmocr.sh makes another")
    if not where.api_url:
        raise PodkitError(f"pod {pod.id} has no URL yet", f"./podkit.sh wait {pod.id}")
    if tells_phase:
        phase = phases_of([pod], client, app.session(), settings.proxy_url).get(pod.id, READY)
        if phase != READY:
            app.say(f"not ready yet ({phase}), ./podkit.sh wait {pod.id}")
    return where
