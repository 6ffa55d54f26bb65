"""`ocr`: PDFs to Markdown."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from podkit.commands.app import App
from podkit.commands.completion import complete_data_center
from podkit.commands.options import DATA_CENTER, POD_OPTION, command
from podkit.commands.result import Result
from podkit.errors import PodkitError, UsageError
from podkit.settings import wants_sandbox

if TYPE_CHECKING:
    from podkit.ocr.wanted import Surroundings, Wanted
    from podkit.runpod.types import Pod
    from podkit.settings import Settings


WORKSPACE = click.option(
    "--workspace",
    metavar="s3://BUCKET/FOLDER|volume[/NAME]",
    help="Where pods read by themselves: a bucket, or a folder of the network volume.",
)
PATHS = click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="FILE.pdf|FOLDER...",
    type=click.Path(path_type=Path),
)
OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the Markdown; else each goes beside its PDF.",
)


@command("status", json=True)
@WORKSPACE
@DATA_CENTER
def ocr_status(app: App, workspace: str | None, **options: str | None) -> Result:
    """Show how far the pods of a workspace are, and what they cost.

    \b
    Examples:
      ./podkit.sh ocr status --workspace volume
    """
    from podkit.ocr.queue_run import look_at

    return look_at(_surroundings(app, [], options), _of_workspace(workspace))


@command("collect", json=True)
@PATHS
@OUT
@WORKSPACE
@DATA_CENTER
def ocr_collect(
    app: App,
    paths: tuple[Path, ...],
    out: Path | None,
    workspace: str | None,
    **options: str | None,
) -> Result:
    """Write the Markdown of what the pods of a workspace have read.

    Each PDF is compared by its pages; what is missing is named, and the exit code is 1.

    \b
    Examples:
      ./podkit.sh ocr collect archive/ --workspace volume
    """
    from podkit.ocr.queue_run import collect

    done: list[Path] = []
    wanted = _of_workspace(workspace, paths, out)
    with _tell(app, done):
        return collect(_surroundings(app, done, options), wanted)


class Ocr(click.Command):
    """`ocr`, whose first word may be one of `looks`: what is done later about a workspace."""

    looks: ClassVar[dict[str, click.Command]] = {"status": ocr_status, "collect": ocr_collect}

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        look = self.looks.get(args[0]) if args else None
        if look:
            return look.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@command("ocr", json=True, kind=Ocr)
@PATHS
@OUT
@click.option("--pages", metavar="3-7,9", help="Only these pages, of one PDF.")
@POD_OPTION
@click.option(
    "--concurrency",
    type=click.IntRange(1, 200),
    default=40,
    show_default=True,
    help="Pages read at once, at most: fewer while the pod answers slowly.",
)
@click.option(
    "--deploy",
    "may_deploy",
    is_flag=True,
    help="Make a pod, as ./deploy_olmocr.sh does, if there is none.",
)
@click.option(
    "--pods",
    type=click.IntRange(1, 16),
    help="Read on so many pods at once: this checkout's own, and new ones.",
)
@click.option(
    "--data-center",
    "data_centers",
    multiple=True,
    shell_complete=complete_data_center,
    help="Where the pods of --pods are made; give it again for more, in turn.",
)
@click.option(
    "--budget",
    "PODKIT_BUDGET",
    help="USD; the pods of --pods end themselves before all together have cost so much.",
)
@click.option(
    "--plan",
    "is_plan",
    is_flag=True,
    help="Show what one, two, four and eight pods would take and cost; change nothing.",
)
@click.option(
    "--stop-after",
    is_flag=True,
    help="End the pods afterwards, whatever became of the pages.",
)
@WORKSPACE
def ocr(
    app: App,
    paths: tuple[Path, ...],
    out: Path | None,
    pages: str | None,
    pod_id: str,
    concurrency: int,
    may_deploy: bool,
    pods: int | None,
    data_centers: tuple[str, ...],
    is_plan: bool,
    stop_after: bool,
    workspace: str | None,
    **options: str | None,
) -> Result:
    """Turn PDFs into Markdown on an OLMoCR pod, with the olmOCR toolkit.

    A second run does what is missing or changed. Some pages of a PDF become a Markdown of their
    own, REPORT.pages-3-7.md: the whole remains to be done.

    With --pods, several pods read at once under one budget, and a page of a pod that dies goes to
    another. A run that is started again takes the pods that are left.

    With --workspace the pods read by themselves, this machine may sleep, and they end when all is
    done; `./podkit.sh ocr status` and `./podkit.sh ocr collect` are for afterwards.

    \b
    Examples:
      ./ocr_pdfs.sh scans/ report.pdf --out text/
      ./ocr_pdfs.sh report.pdf --pages 3-7
      ./ocr_pdfs.sh --deploy --stop-after archive/
      ./ocr_pdfs.sh --plan archive/
      ./ocr_pdfs.sh --pods 4 --budget 10 --stop-after archive/
      ./ocr_pdfs.sh --pods 4 --budget 10 --workspace volume archive/
    """
    from podkit.ocr.page_range import parse_pages
    from podkit.ocr.queue_run import start_reading
    from podkit.ocr.run import plan_pdfs, read_pdfs
    from podkit.ocr.wanted import Wanted

    done: list[Path] = []
    wanted = Wanted(
        paths,
        out,
        pod_id,
        concurrency,
        may_deploy,
        stop_after,
        parse_pages(pages) if pages is not None else (),
        pods or 0,
        data_centers,
        workspace or "",
    )
    _check_together(wanted, is_plan, options)
    options["PREFERRED_DATACENTER"] = next(iter(data_centers), None)
    around = _surroundings(app, done, options)
    if is_plan:
        return plan_pdfs(around, wanted)
    run = start_reading if wanted.workspace else read_pdfs
    with _tell(app, done):
        return run(around, wanted)


@contextmanager
def _tell(app: App, done: list[Path]) -> Iterator[None]:
    """However a run ends, what is `done` is shown below its bar, and is part of its failure."""
    try:
        yield
    except PodkitError as error:
        error.fields["markdown"] = [str(markdown) for markdown in done]
        raise
    finally:
        if app.draws():
            for markdown in done:
                app.show_line(str(markdown))


def _of_workspace(
    workspace: str | None, paths: tuple[Path, ...] = (), out: Path | None = None
) -> Wanted:
    """Raises UsageError where no workspace is named."""
    from podkit.ocr.wanted import Wanted

    if not workspace:
        raise UsageError("which workspace?", "--workspace as it was given to ./ocr_pdfs.sh")
    return Wanted(paths, out, "", 1, may_deploy=False, stop_after=False, workspace=workspace)


def _check_together(wanted: Wanted, is_plan: bool, options: Mapping[str, str | None]) -> None:
    """Raise UsageError for options that do not go together."""
    several = wanted.pods or is_plan
    if several and (wanted.pod_id or wanted.may_deploy):
        what = "--pods and --plan go neither with --pod nor with --deploy"
        raise UsageError(what, "--pods takes this checkout's pods, and makes what is missing")
    if not several and (wanted.data_centers or options["PODKIT_BUDGET"]):
        what = "--data-center and --budget are for the pods that --pods makes"
        raise UsageError(what, "give --pods, or ./deploy_olmocr.sh these, and then read")
    if wanted.workspace and (not several or wanted.pages or wanted.stop_after):
        what = "--workspace goes with --pods, and neither with --pages nor with --stop-after"
        raise UsageError(what, "its pods read whole PDFs, and end themselves when all is done")


def _surroundings(
    app: App,
    done: list[Path],
    options: Mapping[str, str | None],
) -> Surroundings:
    """What a run needs. Where a bar is drawn, the paths that are `done` wait for its end; else each
    is shown at once.
    """
    from podkit.models.spec import read_model
    from podkit.ocr.rates import Rates
    from podkit.ocr.wanted import Surroundings

    def wrote(markdown: Path) -> None:
        done.append(markdown)
        if not app.draws():
            app.show_line(str(markdown))

    return Surroundings(
        folder=app.root / ".podkit",
        is_sandbox=wants_sandbox(app.sandbox, app.environ, app.root),
        path=app.environ.get("PATH", ""),
        say=app.say,
        draws=app.draws(),
        wrote=wrote,
        connect=lambda: app.connect(**options),
        world=app.world,
        session=app.session,
        tell_left=app.interrupts.tell_left,
        startup=app.root / "startup",
        rates=lambda settings: Rates(app.of_account("rates", settings)),
        deploy=lambda settings, rm_on_interrupt: _deploy(app, settings, rm_on_interrupt),
        model=lambda: read_model(app.root / "startup", "olmocr", app.boots()),
        turn=app.turn,
        clock=time.monotonic,
        sleep=time.sleep,
    )


def _deploy(app: App, settings: Settings, rm_on_interrupt: bool) -> Pod:
    """A pod as ./deploy_olmocr.sh makes it; what that prints goes to stderr here."""
    from podkit.models.spec import read_model
    from podkit.pods.deploy import deploy
    from podkit.pods.wishes import Wishes

    pod, _ = deploy(
        settings,
        read_model(app.root / "startup", "olmocr", app.boots()),
        app.world(settings),
        Wishes(rm_on_interrupt=rm_on_interrupt, needs_page=False),
        app.turn,
        lambda pod, where, _: app.say(
            f"{pod.id}\napi    {where.api_url}\nwebui  {where.webui_url}"
        ),
    )
    return pod
