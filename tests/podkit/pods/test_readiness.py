"""When a pod counts as up, and how podkit notices that it never will be."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock as mocking

from podkit.errors import BadHost, PodFailed
from podkit.interrupts import Interrupts
from podkit.pods.access import Access
from podkit.pods.made import MadePods
from podkit.pods.probes import Probe, Probes
from podkit.pods.progress import Changes, line
from podkit.pods.readiness import POLL_SECONDS, World, wait_until_ready
from podkit.runpod.logs import LogLine
from tests.podkit.pods.lines import told
from tests.podkit.pods.pages import PROXY, WHERE, PublicUrls
from tests.podkit.samples import (
    API,
    CLIENT_KEY,
    CREATED,
    POD,
    Clock,
    client_at,
    pod,
    problem,
)

ONE = f"{API}/pods/{POD['id']}"


class Told:
    """A log whose lines a test sets in advance; each look gets the next batch."""

    def __init__(self, *batches: list[str]) -> None:
        self.batches = list(batches)
        self.closed = False

    def lines(self) -> list[LogLine]:
        return told(*self.batches.pop(0)) if self.batches else []

    def close(self) -> None:
        self.closed = True


class Story:
    """A world for one wait: what the pod's logs and probes will say, and what was narrated."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.said: list[str] = []
        self.logs = {"container": Told(), "system": Told()}
        self.probes = iter([(Probe(True), Probe(True))])
        self.probed: list[Access] = []

    def new_probes(self) -> Any:
        return self

    def follow(self, _pod: str, source: str) -> Any:
        return self.logs[source]

    def look(self, where: Access) -> tuple[Probe, Probe]:
        self.probed.append(where)
        return next(self.probes)

    def wait(self, boot_minutes: float = 30, **options: bool) -> tuple[Any, Access]:
        world = World(
            client=client_at(API, self.clock),
            new_suffix=lambda: "000000",
            say=self.said.append,
            here=str,
            made=MadePods(Path("/nonexistent/made.json")),
            follow=self.follow,
            new_probes=self.new_probes,
            showing=lambda: nullcontext(Changes(lambda progress: self.said.append(line(progress)))),
            interrupts=Interrupts(),
        )
        return wait_until_ready(world, pod(runtime=None), PROXY, boot_minutes, **options)


@pytest.fixture
def story(clock: Clock) -> Story:
    return Story(clock)


def test_a_pod_is_ready_when_it_has_a_container_and_both_urls_work(
    api: mocking.Mocker, story: Story
) -> None:
    no = Probe(False)
    yes = Probe(True)
    api.get(ONE, [{"json": {**POD, "runtime": None}}, {"json": POD}])
    story.probes = iter([(no, no), (yes, no), (no, yes), (yes, yes)])
    seen, where = story.wait()
    assert seen == pod()
    assert where == WHERE
    assert story.clock.naps == [2.0] * 3
    assert all(log.closed for log in story.logs.values())


def test_whoever_needs_no_page_neither_waits_for_it_nor_fails_with_it(
    api: mocking.Mocker, story: Story
) -> None:
    api.get(ONE, json=POD)
    broken = Probe(False, "the page refuses")
    story.probes = iter([(Probe(False), broken), (Probe(True), broken)])
    story.wait(needs_page=False)
    assert story.clock.naps == [2.0]


def test_the_phases_are_told_with_time_and_money(api: mocking.Mocker, story: Story) -> None:
    api.get(ONE, json=POD)
    story.logs["container"] = Told([], ["podkit: phase=load event=start t=60"])
    story.probes = iter([(Probe(False), Probe(False))] * 20 + [(Probe(True), Probe(True))])
    story.wait()
    assert story.said == [
        "0:00  container 0:00",
        "0:02  load 0:00",
        "0:32  load 0:30  about $0.01 so far",
        "0:40  ready  about $0.01 so far",
    ]


def test_the_end_is_told_within_one_poll_of_both_urls_working(
    api: mocking.Mocker, story: Story
) -> None:
    api.get(ONE, json=POD)
    began = story.clock()
    moment = 100.9  # between two polls
    story.look = lambda _: (Probe(story.clock() - began >= moment),) * 2  # type: ignore[method-assign, assignment]
    story.wait()
    assert moment <= story.clock() - began <= moment + POLL_SECONDS


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ((Probe(False, "key refused"), Probe(False)), "key refused"),
        ((Probe(True), Probe(False, "no login")), "no login"),
    ],
)
def test_a_fault_of_our_own_that_lasts_a_minute_ends_the_wait(
    api: mocking.Mocker, story: Story, probe: tuple[Probe, Probe], words: str
) -> None:
    api.get(ONE, json=POD)
    story.probes = iter([probe] * 99)
    with pytest.raises(PodFailed, match=f"pod {POD['id']}: {words}"):
        story.wait()
    assert 60 < sum(story.clock.naps) <= 64
    assert all(log.closed for log in story.logs.values())


def test_a_fault_of_our_own_that_passes_is_forgiven(api: mocking.Mocker, story: Story) -> None:
    api.get(ONE, json=POD)
    fault = (Probe(True), Probe(False, "no login"))
    fine = (Probe(True), Probe(False))
    story.probes = iter([*[fault] * 25, fine, *[fault] * 25, (Probe(True), Probe(True))])
    story.wait()


def test_a_container_that_never_comes_is_a_bad_host(api: mocking.Mocker, story: Story) -> None:
    api.get(ONE, json={**POD, "runtime": None})
    story.probes = iter([(Probe(False), Probe(False))] * 999)
    with pytest.raises(BadHost, match="no container after 15 minutes"):
        story.wait()


def test_a_pod_that_is_not_ready_in_its_boot_time_and_two_minutes_has_failed(
    api: mocking.Mocker, story: Story
) -> None:
    api.get(ONE, [{"json": {**POD, "runtime": None}}] * 30 + [{"json": POD}])
    story.probes = iter([(Probe(True), Probe(False))] * 999)
    with pytest.raises(PodFailed, match="was not ready 8 minutes after its container started"):
        story.wait(boot_minutes=5)
    assert 60 + 420 < sum(story.clock.naps) < 60 + 490


@pytest.mark.parametrize("status", ["EXITED", "ERROR", "TERMINATED"])
def test_a_pod_that_ended_is_not_waited_for(api: mocking.Mocker, story: Story, status: str) -> None:
    api.get(ONE, json={**POD, "status": status})
    with pytest.raises(PodFailed, match=f"is {status}"):
        story.wait()


def test_a_new_pod_may_be_unknown_for_a_while_but_not_for_long(
    api: mocking.Mocker, story: Story
) -> None:
    api.get(ONE, [problem(404)] * 25 + [{"json": POD}])
    story.probes = iter([*[(Probe(False), Probe(False))] * 25, (Probe(True), Probe(True))])
    assert story.wait()[0].id == POD["id"]
    api.get(ONE, **problem(404))
    story.probes = iter([(Probe(False), Probe(False))] * 99)
    with pytest.raises(PodFailed, match="is gone"):
        story.wait()
    assert sum(story.clock.naps) < 180


def test_faults_of_the_api_during_the_wait_are_told_and_waited_out(
    api: mocking.Mocker, story: Story
) -> None:
    api.get(ONE, [problem(500)] * 5 + [{"json": POD}])
    story.wait()
    assert "could not look at the pod, trying again" in story.said[0]


@pytest.mark.parametrize(
    ("source", "lines", "words"),
    [
        (
            "container",
            ["podkit: fatal step=load reason=no memory fix=x"],
            "its load failed: no memory",
        ),
        ("system", ["create container failed"] * 4, "the host repeats: create container failed"),
    ],
)
def test_what_the_logs_say_ends_the_wait(
    api: mocking.Mocker, story: Story, source: str, lines: list[str], words: str
) -> None:
    api.get(ONE, json=POD)
    story.logs[source] = Told(lines)
    with pytest.raises(PodFailed, match=words):
        story.wait()
    assert story.probed == []


def test_what_a_pod_costs_in_its_first_hour_is_told_as_it_waits(
    api: mocking.Mocker, story: Story
) -> None:
    api.get(ONE, json={**POD, "cost": 100.0})
    story.probes = iter([(Probe(False), Probe(False))] * 18 + [(Probe(True), Probe(True))])
    story.wait()
    assert story.said[-2:] == [
        "0:30  container 0:30  about $0.83 so far",
        "0:36  ready  about $1.00 so far",
    ]
    assert story.clock() - CREATED.timestamp() == timedelta(seconds=36).total_seconds()
    assert json.dumps(story.said).count(CLIENT_KEY) == 0


def test_a_pod_that_loads_for_minutes_is_not_locked_out_of_its_own_page(
    api: mocking.Mocker, story: Story
) -> None:
    api.get(ONE, json=POD)
    urls = PublicUrls(api, story.clock, api_at=240, page_at=30)
    story.new_probes = lambda: Probes(requests.Session(), story.clock)  # type: ignore[method-assign]
    story.wait()
    assert len(urls.sign_ins) == 1
    assert story.said[-1].startswith("4:00  ready")


def test_a_stranger_who_tries_passwords_does_not_end_the_wait(
    api: mocking.Mocker, story: Story
) -> None:
    api.get(ONE, json=POD)
    urls = PublicUrls(api, story.clock, api_at=60, page_at=0)
    for number in range(20):
        urls.try_password(f"guess {number}")
    story.new_probes = lambda: Probes(requests.Session(), story.clock)  # type: ignore[method-assign]
    assert story.wait()[1] == WHERE
    assert "takes no sign-in at the moment" in story.said[-2]
    assert story.said[-1].startswith("1:00  ready")
