"""What Tab offers: pods, GPU types, data centers and models; in the scripts at the root, too.

It must never fail, wait long, say anything, or start or install anything: what cannot be had soon
is not offered.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path

import click

from podkit.commands.app import App

WAIT_SECONDS = 1.0
COMMAND_OF_SCRIPT = re.compile(r'^podkit (.*)"\$@"$', re.MULTILINE)
"""The last line of a script at the root: the words that stand for it."""


def _offer(names: Callable[[App], Iterable[str]]) -> Callable[..., list[str]]:
    """A completion that offers those of `names` that begin with what was typed."""

    def complete(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        app = context.find_object(App) or App()
        found: list[str] = []

        def look() -> None:
            with suppress(Exception):
                found.extend(names(app))

        looking = threading.Thread(target=look, daemon=True)
        with redirect_stderr(StringIO()):
            looking.start()
            looking.join(WAIT_SECONDS)
        return [name for name in list(found) if name.startswith(typed)]

    return complete


def _pods(app: App) -> list[str]:
    found = []
    for pod in app.connect_if_running().list_pods():
        if pod.ours:
            found += [pod.id, pod.name]
    return found


def _gpu_types(app: App) -> list[str]:
    from podkit.runpod.types import MIN_CUDA

    return [gpu.id for gpu in app.connect_if_running().list_gpu_types(MIN_CUDA)]


def _data_centers(app: App) -> list[str]:
    return app.connect_if_running().list_data_centers()


def _models(app: App) -> list[str]:
    from podkit.models.spec import model_names

    return model_names(app.root / "startup")


complete_pod = _offer(_pods)
complete_gpu_type = _offer(_gpu_types)
complete_data_center = _offer(_data_centers)
complete_model = _offer(_models)


def complete_scripts(app: App) -> None:
    """Have Tab know the scripts at the root of the checkout beside `podkit` itself."""
    from click.shell_completion import BashComplete, ZshComplete, add_completion_class

    scripts = " ".join(sorted(path.name for path in app.root.glob("*.sh")))
    before = words_of(app.root, app.environ.get("COMP_WORDS", ""))

    class Bash(BashComplete):
        # `$1` is what was typed: a script would start by looking whether all is installed
        source_template = (
            BashComplete.source_template.replace(" $1)", " %(prog_name)s)")
            + f"complete -o nosort -F %(complete_func)s {scripts}\n"
        )

        def get_completion_args(self) -> tuple[list[str], str]:
            words, typed = super().get_completion_args()
            return [*before, *words], typed

    class Zsh(ZshComplete):
        source_template = f"{ZshComplete.source_template}compdef %(complete_func)s {scripts}\n"

        def get_completion_args(self) -> tuple[list[str], str]:
            words, typed = super().get_completion_args()
            return [*before, *words], typed

    add_completion_class(Bash)
    add_completion_class(Zsh)


def words_of(root: Path, line: str) -> Sequence[str]:
    """The words of podkit for which the script stands with which a line begins; none for others."""
    typed = line.split(maxsplit=1)
    script = root / Path(typed[0]).name if typed else root
    if script.suffix != ".sh" or not script.is_file():
        return []
    found = COMMAND_OF_SCRIPT.search(script.read_text(encoding="utf-8"))
    return found[1].split() if found else []
