"""The one pod of a run: the one that serves OLMoCR, or one that is made.

It must never take a pod that serves another model, nor leave one unmentioned that it deployed or
found.
"""

from __future__ import annotations

import threading
from typing import Any

from podkit.errors import Missing, PodFailed, SeveralPods, UsageError
from podkit.ocr.backends import Backends
from podkit.ocr.pace import Pace
from podkit.ocr.wanted import Surroundings, Wanted
from podkit.pods.access import access
from podkit.pods.adopting import DIFFERS
from podkit.pods.ending import end, only
from podkit.pods.ending import find as find_pod
from podkit.pods.limits import compare_limits
from podkit.pods.readiness import wait_until_ready, while_it_is_there
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Pod
from podkit.settings import Settings
from podkit.text import stop_command


class OnePod:
    """See Pods."""

    def __init__(self, around: Surroundings, wanted: Wanted) -> None:
        self.backends = Backends(around.clock, threading.Condition())
        self._around = around
        self._wanted = wanted
        self._used: Pod | None = None

    def start(self, pages: int) -> str:  # noqa: ARG002 - it reads as many as there are
        """Find or make the pod, and wait until it serves.

        From when it is known, the last words name it, unless it will be ended and was.
        """
        settings, client = self._around.connect()
        world = self._around.world(settings)
        try:
            pod = serving(settings, client, self._wanted.pod_id)
        except SeveralPods:
            raise
        except Missing:
            if self._wanted.pod_id or not self._wanted.may_deploy:
                raise
            pod = self._around.deploy(settings, self._wanted.stop_after)
        self._used = pod
        for one in compare_limits(pod, settings, client.now()):
            self._around.say(f"{DIFFERS}: {one.text}")
        what = f"pod {pod.label} goes on at ${pod.cost_per_hour:.2f}/h"
        left = f"{what}; end it now: {stop_command(pod.id)}"
        world.interrupts.report = lambda: f"podkit: {world.here(left)}\n"
        try:
            ready, where = wait_until_ready(
                world,
                pod,
                settings.proxy_url,
                settings.boot_minutes,
                needs_page=False,
            )
        except PodFailed as error:
            error.hint += while_it_is_there(pod.id)
            raise
        pace = Pace(self._wanted.concurrency, self._around.clock)
        self.backends.add(ready, where, pace, lambda: self._is_gone(ready))
        return where.model

    def _is_gone(self, pod: Pod) -> bool:
        """Whether the pod has ended; the last words do not name it then."""
        is_gone = self._around.is_gone(pod.id)
        if is_gone:
            settings, _ = self._around.connect()
            self._around.world(settings).interrupts.report = lambda: ""
        return is_gone

    def look(self) -> None:
        """It serves already."""

    def leave(self) -> None:
        try:
            if self._wanted.stop_after:
                self._end()
        finally:
            self._around.tell_left()

    def fields(self) -> dict[str, Any]:
        return {}

    def _end(self) -> None:
        """End the pod that this run used; if it reached none, the one that serves OLMoCR.

        What it is and costs is said before, as this may be cut off. Raises SeveralPods.
        """
        settings, client = self._around.connect()
        pod = self._used
        if pod is None:
            try:
                pod = serving(settings, client, self._wanted.pod_id)
            except SeveralPods:
                raise
            except Missing:
                return
        what = f"ending pod {pod.label}, ${pod.cost_per_hour:.2f}/h"
        self._around.say(f"{what}; by hand: {stop_command(pod.id)}")
        self._around.say(end(client, pod, keep=False, must_terminate=False))
        world = self._around.world(settings)
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
        is_busy = pod.env.get("PODKIT_WORKSPACE")  # it reads by itself, and ends when that is done
        if pod.live and not is_busy and access(pod, settings.proxy_url).model == "olmocr":
            fitting.append(pod)
    if not fitting:
        raise Missing("no OLMoCR pod is running", "the same command with --deploy makes one")
    return only(fitting)
