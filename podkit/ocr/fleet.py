"""Several pods for one run of `ocr`: they join as they come up, and are named or ended on every way
out.

It must never end a pod that this checkout did not make, nor leave one unmentioned.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from podkit.errors import (
    BadHost,
    Interrupted,
    PodFailed,
    PodkitError,
    PodUnclear,
)
from podkit.ocr.backends import Backend, Backends
from podkit.ocr.fleet_placement import FleetPlacement, made_here
from podkit.ocr.pace import Pace
from podkit.ocr.plan import plan_reading
from podkit.ocr.wanted import Surroundings, Wanted
from podkit.pods.deploy import make_secrets, report
from podkit.pods.ending import join_failures
from podkit.pods.ledger import Ledger
from podkit.pods.readiness import POLL_SECONDS, Boot
from podkit.pods.spend import budget_warning
from podkit.pods.watch import Progress
from podkit.runpod.types import Pod
from podkit.text import stop_command

REPLACED_MOST = 2
"""So many bad hosts are replaced for each pod that is wanted: more are no bad luck."""


class Fleet:
    """See Pods."""

    def __init__(self, around: Surroundings, wanted: Wanted) -> None:
        self.backends = Backends(around.clock, threading.Condition())
        self._around = around
        self._wanted = wanted
        self._settings, _ = around.connect()
        self._world = around.world(self._settings)
        self._rates = around.rates(self._settings)
        self._ledger = Ledger(self._world.client, around.say, self._world.made)
        self._placement = FleetPlacement(around, wanted, self._world, self._ledger)
        self._pods: dict[str, Pod] = {}
        self._boots: dict[str, Boot] = {}
        self._told: list[Backend] = []
        self._replaced = 0
        self._looks = 0
        self._is_started = False
        self._failure: PodkitError | None = None
        self._look_at = float("-inf")

    def start(self, pages: int) -> str:
        """Say what so many pages may take and cost; take the pods of this checkout that live, and
        make new ones up to the number that is wanted; then wait for the first that serves.

        Raises what ended the last of them if none is left.
        """
        self._is_started = True
        world = self._world
        world.interrupts.report = lambda: report(self._ledger, world)
        with self._around.turn():
            settings = make_secrets(self._settings, self._around.say)
            if settings.monthly_budget:
                warning = budget_warning(world.client, settings.monthly_budget)
                if warning:
                    self._around.say(warning)
            self._placement.open(settings)
            self._say_plan(pages)
            for pod in self._placement.find():
                self._add(pod)
            self._make()
        with world.showing() as show:
            while not self.backends.all:
                if not self._pods:
                    raise self._failure or PodFailed("no pod is left")
                self._see_to_boots(show)
                world.client.sleep(POLL_SECONDS)
        return self.backends.all[0].where.model

    def look(self) -> None:
        """See to a pod that does not serve yet, and to those that were given up."""
        now = self._around.clock()
        if now < self._look_at:
            return
        self._look_at = now + POLL_SECONDS
        self._see_to_boots(_show_nothing)
        for one in self.backends.all:
            if one.failure and one not in self._told:
                self._told.append(one)
                self._around.say(f"pod {one.pod.label} is given up: {one.failure}")
                self._drop(one.pod)

    def leave(self) -> None:
        """End the pods if that is wanted, and say what goes on billing."""
        is_patient = not isinstance(sys.exception(), Interrupted)
        for boot in self._boots.values():
            boot.close()
        try:
            for one in self.backends.all:
                self._around.say(text_of_pod(one, self._around.clock()))
            if self._wanted.stop_after:
                self._end_all()
        finally:
            self._ledger.try_sweep(patient=is_patient)
            self._around.tell_left()

    def fields(self) -> dict[str, Any]:
        """Each pod that served, what it read, and what it cost meanwhile."""
        now = self._around.clock()
        return {"pods": [_fields(one, now) for one in self.backends.all]}

    def _say_plan(self, pages: int) -> None:
        offer = self._placement.offer()
        if offer:
            cores = os.cpu_count() or 1
            budget = self._settings.budget
            plan = plan_reading(pages, offer, self._rates, cores, budget)
            for line in plan.text().splitlines():
                self._around.say(line)

    def _add(self, pod: Pod) -> None:
        self._pods[pod.id] = pod
        self._boots[pod.id] = Boot(
            self._world,
            pod,
            self._settings.proxy_url,
            self._settings.boot_minutes,
            needs_page=False,
        )
        self.backends.expects_more = True

    def _make(self) -> None:
        """Make the pods that are missing; where that fails, go on with fewer, which is said."""
        self._placement.open_again()
        while len(self._pods) < self._wanted.pods:
            try:
                self._add(self._placement.make(list(self._pods.values())))
            except Interrupted:
                raise
            except PodkitError as error:
                self._failure = error
                what = f"{len(self._pods)} of {self._wanted.pods} pods"
                self._around.say(f"{what}: {error.message}")
                return

    def _see_to_boots(self, show: Callable[[Progress], None]) -> None:
        """Look at one pod that comes up, each in its turn; the first of them is shown.

        One at a time keeps a large fleet below the API's 60 requests a minute (RateLimit-Policy of
        the document of 2026-08-20).
        """
        if self._boots:
            booting = list(self._boots)
            self._looks += 1
            pod_id = booting[self._looks % len(booting)]
            self._see_to_boot(pod_id, show if pod_id == booting[0] else _show_nothing)
        self.backends.expects_more = bool(self._boots)

    def _see_to_boot(self, pod_id: str, show: Callable[[Progress], None]) -> None:
        pod = self._pods[pod_id]
        try:
            serving = self._boots[pod_id].look(show)
        except PodFailed as error:
            self._failure = error
            self._boots[pod_id].say_last_lines()
            self._around.say(f"pod {pod.label}: {error.message}; ending it")
            self._drop(pod)
            if isinstance(error, BadHost):
                self._replace()
            return
        if serving:
            ready, where = serving
            self._boots.pop(pod_id).close()
            self._pods[pod_id] = ready
            self._ledger.keep(ready)
            if self._ledger.is_own(ready):
                hours = ready.hours(self._world.client.now())
                self._rates.note_boot(hours * 3600)
            pace = Pace(self._wanted.concurrency, self._around.clock)
            self.backends.add(ready, where, pace, lambda: self._around.is_gone(pod_id))
            self._around.say(f"pod {ready.label} serves")

    def _replace(self) -> None:
        """Make another pod in the place of one on a bad host."""
        if self._replaced < REPLACED_MOST * self._wanted.pods:
            self._replaced += 1
            with self._around.turn():
                self._make()

    def _drop(self, pod: Pod) -> None:
        """End a pod that is of no use; one that cannot be ended stays in the ledger."""
        self._pods.pop(pod.id, None)
        boot = self._boots.pop(pod.id, None)
        if boot:
            boot.close()
        try:
            self._placement.end(pod)
        except PodUnclear as error:
            self._around.say(error.message)

    def _end_all(self) -> None:
        """End every pod of this run, or, if there was nothing to read, those that an earlier one
        left.

        What each is and costs is said before, as this may be cut off. Raises PodUnclear for those
        that could not be ended.
        """
        pods = dict(self._pods)
        for pod in self._ledger.own_pods():
            pods[pod.id] = pod
        if not self._is_started:
            for pod in made_here(self._around, self._world)[: self._wanted.pods]:
                pods[pod.id] = pod
        failures = []
        for pod in pods.values():
            what = f"ending pod {pod.label}, ${pod.cost_per_hour:.2f}/h"
            self._around.say(f"{what}; by hand: {stop_command(pod.id)}")
        for pod in pods.values():
            try:
                self._ledger.end(pod)
                self._around.say(f"pod {pod.label} is gone and no longer billed")
            except PodUnclear as error:
                failures.append(error)
        if failures:
            raise join_failures(failures)


def _show_nothing(_: Progress) -> None:
    """For pods that come up while others read."""


def _fields(one: Backend, now: float) -> dict[str, Any]:
    return {
        "id": one.pod.id,
        "name": one.pod.name,
        "gpu": one.pod.gpu_type,
        "data_center": one.pod.data_center,
        "answers": one.pages,
        "hours": round(one.hours(now), 4),
        "cost": round(one.hours(now) * one.pod.cost_per_hour, 4),
        "failure": one.failure,
    }


def text_of_pod(one: Backend, now: float) -> str:
    usd = one.hours(now) * one.pod.cost_per_hour
    what = f"pod {one.pod.label} on {one.pod.gpu_type} in {one.pod.data_center}"
    told = f"{what}: {one.pages} answers, about ${usd:.2f} meanwhile"
    return f"{told}; {one.failure}" if one.failure else told
