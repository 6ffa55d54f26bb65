"""Workers on paper: how many there are, when they go, and what goes wrong with them on purpose."""

from pathlib import Path
from typing import Any

import pytest

from podkit_sandbox.account import Scenario
from podkit_sandbox.serverless.scaler import Load, wanted_workers
from podkit_sandbox.serverless.services import Service, find_service
from tests.sandbox.sandboxes import Paper
from tests.sandbox.served import INPUT, Served
from tests.sandbox.test_serverless_control import QUEUE_DELAY, REQUEST_COUNT


@pytest.fixture
def served(paper: Paper) -> Served:
    return Served(paper)


@pytest.mark.parametrize(
    ("scaling", "load", "living", "wanted"),
    [
        (QUEUE_DELAY, Load(0, 0, 0), 0, 0),
        (QUEUE_DELAY, Load(1, 0, 0), 0, 1),
        (QUEUE_DELAY, Load(9, 1, 3.9), 1, 1),
        (QUEUE_DELAY, Load(9, 1, 4.0), 1, 2),
        (QUEUE_DELAY, Load(9, 3, 99), 3, 3),
        (REQUEST_COUNT, Load(1, 0, 0), 0, 1),
        (REQUEST_COUNT, Load(3, 1, 0), 1, 2),
        (REQUEST_COUNT, Load(9, 9, 0), 1, 3),
    ],
)
def test_how_many_workers_are_wanted(scaling: Any, load: Load, living: int, wanted: int) -> None:
    assert wanted_workers(scaling, {"min": 0, "max": 3}, load, living) == wanted


def test_workers_come_with_the_queue_and_go_when_they_are_idle(served: Served) -> None:
    for _ in range(4):
        served.submit()
    assert len(served.workers()) == 1
    served.paper.clock.now += 4
    assert len(served.workers()) == 2
    served.paper.clock.now += 4
    assert len(served.workers()) == 2
    for number in (0, 1, 0, 1):
        served.done(served.take(number)["id"], {"output": 1}, number)
    served.paper.clock.now += 4
    assert len(served.workers()) == 2
    served.paper.clock.now += 2
    assert served.workers() == []


def test_ten_jobs_of_five_seconds_get_two_or_three_workers_and_none_is_left_when_idle(
    paper: Paper,
) -> None:
    served = Served(paper, workers={"min": 0, "max": 3, "idleTimeout": 5})
    waiting = {served.submit() for _ in range(10)}
    busy: dict[str, tuple[str, float]] = {}
    counts = []
    for _ in range(60):
        paper.clock.now += 1
        counts.append(len(served.workers()))
        for number, worker in enumerate(served.workers()):
            job, until = busy.get(worker.id, ("", 0.0))
            if job and paper.clock.now >= until:
                assert served.done(busy.pop(worker.id)[0], {"output": 1}, number) == 200
            if waiting and worker.id not in busy:
                job = served.take(number)["id"]
                waiting.remove(job)
                busy[worker.id] = (job, paper.clock.now + 5)
    assert (waiting, busy) == (set(), {})
    assert max(counts) == 3
    assert counts[-1] == 0


def test_max_0_is_a_pause_in_which_jobs_wait(served: Served) -> None:
    path = f"/serverless/{served.id}"
    served.paper.json("PATCH", path, {"workers": {"min": 0, "max": 0}})
    job = served.submit()
    served.paper.clock.now += 100
    assert served.workers() == []
    assert served.status(job)["status"] == "IN_QUEUE"
    served.paper.json("PATCH", path, {"workers": {"max": 1}})
    assert served.take()["id"] == job


def test_a_release_ends_idle_workers_at_once_and_busy_ones_after_their_job(paper: Paper) -> None:
    served = Served(paper, workers={"min": 2, "max": 3})
    job = served.submit()
    assert served.take(0)["id"] == job
    busy, idle = served.workers()
    paper.json("PATCH", f"/serverless/{served.id}", {"image": "ghcr.io/me/translation:2"})
    assert idle not in served.workers()
    rollout = paper.json("GET", f"/serverless/{served.id}/releases")["rollout"]
    assert rollout["inProgress"] is True
    done = f"/{served.id}/job-done/{busy.id}/{job}"
    assert paper.call("POST", done, {"output": 1}, key=busy.key).status == 200
    assert busy not in served.workers()
    rollout = paper.json("GET", f"/serverless/{served.id}/releases")["rollout"]
    assert (rollout["inProgress"], rollout["percentOnLatest"]) == (False, 100)


@pytest.mark.parametrize(
    ("fault", "state"),
    [("throttled", "THROTTLED"), ("unhealthy", "UNHEALTHY"), ("slow-start", "INITIALIZING")],
)
def test_workers_can_be_kept_from_working(faulty: Any, fault: str, state: str) -> None:
    served = Served(faulty("POST /serverless", fault, seconds=60))
    served.submit()
    served.paper.clock.now += 59
    path = f"/serverless/{served.id}/workers"
    assert served.paper.json("GET", path)["workers"][0]["status"] == state
    served.paper.clock.now += 1
    assert served.take() is not None


def test_a_crash_loop_shows_as_starts_without_a_word_of_the_container(faulty: Any) -> None:
    served = Served(faulty("POST /serverless", "unhealthy"))
    served.submit()
    served.paper.clock.now += 60
    worker = served.workers()[0]
    logs = f"/serverless/{served.id}/workers/{worker.id}/logs"
    assert served.paper.call("GET", logs).body.count(b"start container") == 4
    assert served.paper.call("GET", f"{logs}?source=container").body == b""


def test_a_worker_is_throttled_until_there_is_a_host() -> None:
    stock = {"EU-RO-1": {"NVIDIA GeForce RTX 4090": "NONE"}}
    served = Served(Paper({"stock": stock}), dataCenterIds=["EU-RO-1"])
    job = served.submit()
    health = served.paper.json("GET", f"/{served.id}/health")
    assert health["workers"]["throttled"] == 1
    served.paper.account.set_scenario(Scenario())
    assert served.take()["id"] == job


@pytest.mark.parametrize(
    ("fault", "state"),
    [("result-lost", "COMPLETED"), ("late-progress", "IN_PROGRESS")],
)
def test_a_result_can_be_lost_or_overtaken(faulty: Any, fault: str, state: str) -> None:
    served = Served(faulty("POST /{endpoint}/run", fault))
    job = served.submit()
    served.take()
    served.done(job, {"output": 1})
    found = served.status(job)
    assert found["status"] == state
    assert ("output" in found) == (fault == "late-progress")


def test_a_new_job_can_be_invisible_for_a_while(faulty: Any) -> None:
    served = Served(faulty("POST /{endpoint}/run", "status-lag", seconds=5))
    job = served.submit()
    assert served.paper.call("GET", f"/{served.id}/status/{job}").status == 404
    served.paper.clock.now += 5
    assert served.status(job)["status"] == "IN_QUEUE"


@pytest.mark.parametrize(("deaths", "state"), [(1, "IN_QUEUE"), (2, "FAILED")])
def test_a_worker_can_die_in_the_middle_of_a_job(faulty: Any, deaths: int, state: str) -> None:
    served = Served(faulty("POST /{endpoint}/run", "worker-dies", seconds=1, factor=deaths))
    job = served.submit()
    for _ in range(deaths):
        served.take()
        served.paper.clock.now += 1
        assert served.status(job)["status"] in ("IN_QUEUE", "FAILED")
    assert served.status(job)["status"] == state


def test_the_edge_can_cut_a_runsync_whose_job_goes_on(faulty: Any) -> None:
    served = Served(faulty("POST /{endpoint}/runsync", "edge524", effect=True))
    held = served.paper.call("POST", f"/{served.id}/runsync", {"input": INPUT})
    job = served.take()["id"]
    served.done(job, {"output": 1})
    assert served.waited(held).status == 524
    assert served.status(job)["status"] == "COMPLETED"


def test_a_poll_can_be_answered_400(faulty: Any) -> None:
    served = Served(faulty("GET /{endpoint}/job-take/{worker}", "take-400", times=1))
    served.submit()
    assert served.as_worker("GET", "job-take").status == 400
    assert served.take() is not None


def test_a_worker_that_initializes_for_too_long_is_unhealthy(paper: Paper) -> None:
    served = Served(paper, env={"RUNPOD_INIT_TIMEOUT": "800"})
    served.submit()
    path = f"/serverless/{served.id}/workers"
    paper.clock.now += 799
    assert paper.json("GET", path)["workers"][0]["status"] == "INITIALIZING"
    paper.clock.now += 1
    assert paper.json("GET", path)["workers"][0]["status"] == "UNHEALTHY"


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("ghcr.io/me/echo:1", True),
        ("ghcr.io/me/echo@sha256:abc", True),
        ("ghcr.io/me/echo:1@sha256:abc", True),
        ("ghcr.io/me/other:1", False),
        ("host:5000/me/echo", False),
    ],
)
def test_the_service_of_an_image_is_found_whatever_its_tag(image: str, found: bool) -> None:
    images = {"ghcr.io/me/echo": Service(Path("/srv"))}
    assert (find_service(images, image) is not None) == found
    assert find_service({image: Service(Path("/srv"))}, image) is not None
