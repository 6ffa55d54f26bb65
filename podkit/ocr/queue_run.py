"""`ocr --workspace`: pods that read by themselves, while this machine may sleep. It fills the
workspace, makes the pods and leaves; later it looks, and collects the Markdown.

It must never leave without naming each pod that it made, with its price and its end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podkit.errors import Interrupted, PodkitError, UsageError
from podkit.models.spec import FOR_THE_PAGE, Model, pack
from podkit.ocr.documents import Document, make_room, turn
from podkit.ocr.fleet_placement import FleetPlacement
from podkit.ocr.run import Reading, look_through, raise_failures
from podkit.ocr.toolkit import install_toolkit
from podkit.ocr.wanted import Surroundings, Wanted
from podkit.ocr.workspace import ON_VOLUME, Progress, Workspace, open_workspace
from podkit.pods.deploy import make_secrets, report
from podkit.pods.ledger import Ledger
from podkit.pods.lifetime import pod_lifetime
from podkit.pods.spend import budget_warning
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Pod
from podkit.secret import Secret
from podkit.settings import Settings
from podkit.uploads import Uploads

STEM = "olmocr-queue"
"""In the names of these pods: no deploy, and no other run of `ocr`, takes them for its own."""


@dataclass(frozen=True)
class Started:
    """What was left at work: the workspace, and its pods."""

    workspace: str
    pods: Sequence[Pod]
    done_before: Sequence[Document]

    def fields(self) -> dict[str, Any]:
        """For programs."""
        return {
            "workspace": self.workspace,
            "pods": [_pod_fields(pod) for pod in self.pods],
            "done_before": [str(one.markdown) for one in self.done_before],
        }

    def text(self) -> str:
        """The pods' ids."""
        return "\n".join(pod.id for pod in self.pods)


@dataclass(frozen=True)
class Status:
    """How far a workspace is, and who reads it."""

    workspace: str
    progress: Progress
    pods: Sequence[Pod]
    lives: Sequence[str]

    def fields(self) -> dict[str, Any]:
        """For programs."""
        return {
            "workspace": self.workspace,
            **vars(self.progress),
            "pods": [_pod_fields(pod) for pod in self.pods],
        }

    def text(self) -> str:
        """A line for the work, and one for each pod."""
        now = self.progress
        pages = f"{now.pages_done} of {now.pages} pages"
        lines = [f"{now.pdfs_done} of {now.pdfs} PDFs are done, {pages}"]
        for pod, life in zip(self.pods, self.lives, strict=True):
            lines.append(
                f"pod {pod.label} on {pod.gpu_type}, ${pod.cost_per_hour:.2f}/h; it {life}"
            )
        return "\n".join(lines)


def start_reading(around: Surroundings, wanted: Wanted) -> Started:
    """Put what is missing or changed into the workspace, make the pods that are missing, and leave.

    Raises PodkitError if there is no pod at the end, or if a PDF cannot be read at all.
    """
    with turn(around.folder / "ocr", is_sandbox=around.is_sandbox) as done:
        work = look_through(around, wanted, done)
    if not work.to_do:
        raise_failures(Reading(work.refused, work.before, {}), is_usage=not work.before)
        return Started(wanted.workspace, (), work.before)
    settings, workspace, _ = _open(around, wanted)
    megabytes = sum(one.pdf.stat().st_size for one in work.to_do) / 1e6
    around.say(f"putting {len(work.to_do)} PDFs, {megabytes:.1f} MB, into {workspace.place}")
    sent = workspace.fill(work.to_do, Uploads(around.folder / "uploads.json"))
    around.say(f"{sent} PDFs were sent, the others are there")
    left = workspace.progress().pdfs_left
    if not left:
        _say_all_done(around, workspace)
        return Started(workspace.place, (), work.before)
    if left < wanted.pods:
        around.say(f"{left} of {wanted.pods} pods are enough: a PDF is read by one")
        wanted = replace(wanted, pods=left)
    if around.is_sandbox:  # its pods have no package index: they take this machine's toolkit
        install_toolkit(around.folder / "olmocr", around.path, around.say)
    pods = _make_pods(around, wanted, settings, workspace)
    _say_how_to_look(around, wanted, workspace)
    if work.refused:
        started = Started(workspace.place, pods, work.before)
        what = "not all can be read:"
        for one in work.refused:
            what += "".join(f"\n  {line}" for line in one.failures())
        raise PodkitError(what, "the rest is read", **started.fields())
    return Started(workspace.place, pods, work.before)


def look_at(around: Surroundings, wanted: Wanted) -> Status:
    """How far a workspace is. Reads alone."""
    _, workspace, client = _open(around, wanted)
    progress = workspace.progress()
    pods = [pod for pod in client.list_pods() if pod.live and reads(pod, workspace.place)]
    status = Status(
        workspace.place,
        progress,
        pods,
        [pod_lifetime(pod, client.now()) for pod in pods],
    )
    if not progress.pdfs_left:
        _say_all_done(around, workspace)
    elif not pods:
        around.say("no pod reads it: the command that filled it, again, makes some")
    return status


def collect(around: Surroundings, wanted: Wanted) -> Reading:
    """Write the Markdown of what the pods have read. Raises PodkitError naming all that is missing,
    pages of a PDF, too.
    """
    with turn(around.folder / "ocr", is_sandbox=around.is_sandbox) as done:
        work = look_through(around, wanted, done)
        ended = list(work.refused)
        if work.to_do:
            _, workspace, _ = _open(around, wanted)
            make_room(work.to_do)
            for document, text in workspace.collect(work.to_do):
                placed = done.place(document, text) if text else document
                ended.append(placed)
                if text and not placed.reason:
                    around.wrote(placed.markdown)
    reading = Reading(ended, work.before, {})
    raise_failures(reading, is_usage=not (work.to_do or work.before))
    return reading


def reads(pod: Pod, place: str) -> bool:
    """Whether a pod reads this workspace."""
    return pod.env.get("PODKIT_WORKSPACE", "") == place


def queue_model(
    model: Model,
    startup: Path,
    settings: Settings,
    workspace: Workspace,
    at_once: int,
) -> Model:
    """The model as a pod serves it to itself, for its workspace: without a chat page, and with the
    keys to the bucket if that is one. It is asked for so many pages `at_once`.
    """
    env: dict[str, str | Secret] = {
        "PODKIT_MODEL": model.name,
        "PODKIT_WORKSPACE": workspace.place,
        "PODKIT_AT_ONCE": str(at_once),
    }
    if not ON_VOLUME.fullmatch(workspace.place):
        access = settings.model_s3
        env["PODKIT_S3_URL"] = access.url
        env["PODKIT_S3_REGION"] = access.region
        env["PODKIT_S3_ACCESS_KEY"] = access.access_key
        env["PODKIT_S3_SECRET_KEY"] = access.secret_key
        env["PODKIT_S3_SESSION_TOKEN"] = access.session_token
    packed = pack(startup, FOR_THE_PAGE)
    return replace(model, name=STEM, startup_b64=packed, env=env)


def _open(around: Surroundings, wanted: Wanted) -> tuple[Settings, Workspace, RunpodClient]:
    settings, client = around.connect()
    volumes = around.folder / "sandbox/volumes" if around.is_sandbox else None
    if ON_VOLUME.fullmatch(wanted.workspace.rstrip("/")) and len(wanted.data_centers) > 1:
        what = "a workspace on a network volume is in one data center"
        raise UsageError(what, "give one --data-center, or a workspace in a bucket")
    return settings, open_workspace(wanted.workspace, settings, client, volumes), client


def _make_pods(
    around: Surroundings,
    wanted: Wanted,
    settings: Settings,
    workspace: Workspace,
) -> list[Pod]:
    """The pods of the workspace that live, and new ones up to the number that is wanted; where that
    fails it goes on with fewer, which is said. Raises what kept the first from being made.
    """
    world = around.world(settings)
    ledger = Ledger(world.client, around.say, world.made)
    world.interrupts.report = lambda: report(ledger, world)
    model = queue_model(around.model(), around.startup, settings, workspace, wanted.concurrency)
    placement = FleetPlacement(replace(around, model=lambda: model), wanted, world, ledger)
    pods: list[Pod] = []
    try:
        with around.turn():
            settings = make_secrets(settings, around.say)
            warning = settings.monthly_budget and budget_warning(
                world.client, settings.monthly_budget
            )
            if warning:
                around.say(warning)
            placement.open(settings)
            pods += placement.find()
            while len(pods) < wanted.pods:
                try:
                    pods.append(placement.make(pods))
                except PodkitError as error:
                    if isinstance(error, Interrupted) or not pods:
                        raise
                    around.say(f"{len(pods)} of {wanted.pods} pods: {error.message}")
                    break
    finally:
        ledger.try_sweep(patient=not isinstance(sys.exception(), Interrupted))
        around.tell_left()
    return pods


def _say_all_done(around: Surroundings, workspace: Workspace) -> None:
    where = f"--workspace {workspace.place}"
    around.say(f"all is done: ./podkit.sh ocr collect FOLDER {where} writes the Markdown")


def _say_how_to_look(around: Surroundings, wanted: Wanted, workspace: Workspace) -> None:
    paths = " ".join(map(str, wanted.paths))
    where = f"--workspace {workspace.place}"
    around.say("the pods read by themselves and end when all is done; this machine may sleep")
    around.say(f"  how far they are:  ./podkit.sh ocr status {where}")
    around.say(f"  the Markdown:      ./podkit.sh ocr collect {paths} {where}")


def _pod_fields(pod: Pod) -> dict[str, Any]:
    return {
        "id": pod.id,
        "name": pod.name,
        "gpu": pod.gpu_type,
        "data_center": pod.data_center,
        "cost_per_hour": pod.cost_per_hour,
    }
