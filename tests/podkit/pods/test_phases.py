"""What several pods are at, from whatever answers in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import requests
import requests_mock as mocking

from podkit.errors import NotFound
from podkit.pods.phases import PodLook, phases_of
from podkit.runpod.client import RunpodClient
from podkit.runpod.logs import LogLine
from podkit.runpod.types import Pod
from tests.podkit.pods.lines import told
from tests.podkit.pods.pages import CONFIG, HEALTH, HTML, PROXY, WHERE
from tests.podkit.samples import API, POD, pod, problem

API_HEALTH = WHERE.api_url.replace("/v1", "/health")
LOG = f"{API}/pods/{POD['id']}/logs"
INSTALLING = (
    "podkit: phase=check event=start t=0.1",
    "podkit: phase=check event=done t=1.2",
    "podkit: phase=fetch event=start t=1.3",
    "podkit: phase=install event=start t=1.3",
)


def look(shown: Pod, *lines: str, up: bool = False) -> str:
    """The phase of a pod whose log has these lines, and whose URLs answer or not."""
    found = PodLook(shown, lambda: up, lambda: told(*lines))
    assert found.done.wait(5)
    return found.phase()


@pytest.mark.parametrize(
    ("lines", "up", "phase"),
    [
        (INSTALLING, False, "fetch, install"),
        (INSTALLING, True, "ready"),
        ((*INSTALLING, "podkit: phase=load event=start t=99"), False, "load"),
        (
            ("podkit: phase=ready event=start t=9", "podkit: phase=ready event=done t=9"),
            False,
            "unknown",
        ),
        ((*INSTALLING, "podkit: fatal step=load reason=no memory"), False, "failed"),
        (("noise",), False, "container"),
        ((), False, "container"),
    ],
)
def test_the_phase_is_that_of_the_urls_or_else_of_the_log(
    lines: tuple[str, ...], up: bool, phase: str
) -> None:
    assert look(pod(), *lines, up=up) == phase


def test_a_pod_without_a_sign_of_life_is_placed() -> None:
    assert look(pod(runtime=None)) == "placed"


def test_a_pod_that_answers_is_ready_without_its_log() -> None:
    over = threading.Event()

    def silent() -> Iterator[LogLine]:
        over.wait(5)
        yield from ()

    found = PodLook(pod(), lambda: True, silent)
    assert found.done.wait(5)
    assert found.phase() == "ready"
    over.set()


def test_a_log_that_cannot_be_read_tells_nothing() -> None:
    def refused() -> Iterator[LogLine]:
        raise NotFound("404", status=404)

    found = PodLook(pod(), lambda: False, refused)
    assert found.done.wait(5)
    assert found.phase() == "container"


def test_only_podkits_live_pods_are_looked_at(api: mocking.Mocker, client: RunpodClient) -> None:
    for url in (API_HEALTH, HEALTH, CONFIG):
        api.get(url, json={"status": True})
    api.get(LOG, **problem(404))
    pods = [pod(), pod(id="x", name="theirs"), pod(id="y", status="EXITED")]
    assert phases_of(pods, client, requests.Session(), PROXY) == {POD["id"]: "ready"}
    assert {sent.method for sent in api.request_history} == {"GET"}


def test_a_pod_whose_chat_page_does_not_answer_is_not_ready(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    api.get(API_HEALTH, text="")
    api.get(HEALTH, text=HTML, status_code=502)
    api.get(LOG, text="")
    assert phases_of([pod()], client, requests.Session(), PROXY) == {POD["id"]: "container"}


def test_nobody_waits_longer_than_agreed_for_a_pod_that_says_nothing(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    over = threading.Event()

    def hang(_request: object, _answer: object) -> str:
        over.wait(10)
        return ""

    for url in (API_HEALTH, HEALTH, CONFIG, LOG):
        api.get(url, text=hang)
    assert phases_of([pod()], client, requests.Session(), PROXY, 0.05) == {POD["id"]: "container"}
    over.set()
