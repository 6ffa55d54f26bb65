"""Jobs on paper: queue, scaling, deaths, expiry by the clock, a test in place of workers."""

import json
from typing import Any

import pytest

from podkit_sandbox.account import Answer
from podkit_sandbox.serverless.scaler import Load, wanted_workers
from tests.sandbox.sandboxes import Paper
from tests.sandbox.test_serverless_control import QUEUE_DELAY, REQUEST_COUNT, make

INPUT = {"text": "Bonjour"}


class Served:
    """An endpoint, and this test as its workers."""

    def __init__(self, paper: Paper, **changes: Any) -> None:
        self.paper = paper
        self.id = make(paper, **changes)["id"]
        self.endpoint = paper.account.platform.endpoints[self.id]

    def submit(self, content: Any = INPUT, route: str = "run", **body: Any) -> str:
        answer = self.paper.call("POST", f"/{self.id}/{route}", {"input": content, **body})
        assert answer.status == 200, answer.body
        return str(json.loads(answer.body)["id"])

    def status(self, job: str) -> Any:
        return self.paper.json("GET", f"/{self.id}/status/{job}")

    def workers(self) -> list[Any]:
        self.paper.json("GET", f"/{self.id}/health")
        return self.endpoint.living()

    def as_worker(self, method: str, rest: str, body: Any = None, number: int = 0) -> Answer:
        """A call of one of the workers, which is waited for."""
        worker = self.workers()[number]
        rest, mark, query = rest.partition("?")
        call, slash, after = rest.partition("/")
        path = f"/{self.id}/{call}/{worker.id}{slash}{after}{mark}{query}"
        return self.waited(self.paper.call(method, path, body, key=worker.key))

    def waited(self, answer: Answer) -> Answer:
        while answer.wait:
            found = answer.wait()
            if found:
                return found
            self.paper.clock.now += 0.5
        return answer

    def take(self, number: int = 0) -> Any:
        answer = self.as_worker("GET", "job-take", number=number)
        return json.loads(answer.body) if answer.status == 200 else None

    def done(self, job: str, payload: Any, number: int = 0) -> int:
        return self.as_worker("POST", f"job-done/{job}", payload, number).status


@pytest.fixture
def served(paper: Paper) -> Served:
    return Served(paper)


def test_a_job_goes_from_the_queue_to_a_worker_and_back(served: Served) -> None:
    job = served.submit()
    assert served.status(job) == {"id": job, "status": "IN_QUEUE"}
    served.paper.clock.now += 3
    assert served.take() == {"id": job, "input": INPUT}
    served.paper.clock.now += 0.5
    assert served.done(job, {"output": ["Ne y yibeoogo"]}) == 200
    state = served.status(job)
    assert state["status"] == "COMPLETED"
    assert state["output"] == ["Ne y yibeoogo"]
    assert (state["delayTime"], state["executionTime"]) == (3000, 500)


def test_a_poll_is_held_for_two_seconds(paper: Paper) -> None:
    served = Served(paper, workers={"min": 1, "max": 1})
    before = served.paper.clock.now
    assert served.take() is None
    assert served.paper.clock.now - before == 2


def test_a_batch_takes_as_many_as_there_are_places(served: Served) -> None:
    jobs = [served.submit() for _ in range(5)]
    answer = served.as_worker("GET", "job-take-batch?batch_size=3")
    assert [row["id"] for row in json.loads(answer.body)] == jobs[:3]


@pytest.mark.parametrize(
    ("payload", "status", "shown"),
    [
        ({"output": {"a": 1}}, "COMPLETED", {"output": {"a": 1}}),
        ({}, "COMPLETED", {}),
        ({"error": "too long"}, "FAILED", {"error": "too long"}),
        ({"error": {"code": 1}}, "FAILED", {"error": '{"code": 1}'}),
        ({"status": "IN_PROGRESS", "output": "half"}, "IN_PROGRESS", {"output": "half"}),
    ],
)
def test_what_a_worker_says_becomes_the_state(
    served: Served, payload: Any, status: str, shown: Any
) -> None:
    job = served.submit()
    served.take()
    served.done(job, payload)
    state = served.status(job)
    assert state["status"] == status
    assert {key: state[key] for key in ("output", "error") if key in state} == shown


def test_a_result_that_is_no_json_is_refused_and_lost(served: Served) -> None:
    job = served.submit()
    served.take()
    assert served.done(job, {"output": float("nan")}) == 400
    assert "output" not in served.status(job)
    assert served.status(job)["status"] == "COMPLETED"


@pytest.mark.parametrize("body", [{}, {"input": []}, {"input": "x"}, [], {"input": None}])
def test_an_input_that_is_no_object_is_refused(served: Served, body: Any) -> None:
    assert served.paper.call("POST", f"/{served.id}/run", body).status == 400


@pytest.mark.parametrize(
    "policy",
    [{"executionTimeout": 4999}, {"ttl": 9999}, {"ttl": "long"}, {"executionTimeout": True}],
)
def test_a_policy_out_of_range_is_refused(served: Served, policy: Any) -> None:
    body = {"input": INPUT, "policy": policy}
    assert served.paper.call("POST", f"/{served.id}/run", body).status == 400


def test_an_empty_input_is_lost_by_healthy_workers_and_fails_in_the_end(served: Served) -> None:
    job = served.submit({})
    for _ in range(2):
        assert served.take() == {"id": job}
        served.as_worker("GET", "ping?job_id=")
        served.paper.clock.now += 29
        served.as_worker("GET", "ping?job_id=")
        served.paper.clock.now += 29
        served.as_worker("GET", "ping?job_id=")
        served.paper.clock.now += 3
    assert served.status(job)["error"] == "job timed out after 1 retries"


def test_results_are_kept_for_30_minutes_and_of_runsync_for_one(served: Served) -> None:
    jobs = [served.submit(), served.submit(route="run")]
    held = served.paper.call("POST", f"/{served.id}/runsync", {"input": INPUT})
    for _ in range(3):
        taken = served.take()
        served.done(taken["id"], {"output": 1})
    sync = json.loads(served.waited(held).body)
    assert (sync["status"], sync["id"][:5]) == ("COMPLETED", "sync-")
    served.paper.clock.now += 60
    assert served.paper.call("GET", f"/{served.id}/status/{sync['id']}").status == 404
    assert served.status(jobs[0])["status"] == "COMPLETED"
    served.paper.clock.now += 30 * 60
    assert served.paper.call("GET", f"/{served.id}/status/{jobs[0]}").status == 404


def test_runsync_gives_up_waiting_with_the_id(served: Served) -> None:
    held = served.paper.call("POST", f"/{served.id}/runsync?wait=1000", {"input": INPUT})
    assert json.loads(served.waited(held).body)["status"] == "IN_QUEUE"


def test_a_job_over_its_ttl_is_deleted_even_while_it_runs(served: Served) -> None:
    job = served.submit(policy={"ttl": 10_000})
    served.take()
    served.paper.clock.now += 10
    assert served.paper.call("GET", f"/{served.id}/status/{job}").status == 404


def test_a_job_over_its_execution_time_is_stopped_and_its_worker_killed_if_it_holds_on(
    served: Served,
) -> None:
    job = served.submit(policy={"executionTimeout": 5_000})
    served.take()
    worker = served.workers()[0]
    served.paper.clock.now += 5
    assert served.status(job)["status"] == "TIMED_OUT"
    stop = served.as_worker("GET", "job-stop")
    assert json.loads(stop.body) == {"jobsToStop": [job]}
    served.as_worker("GET", f"ping?job_id={job}")
    served.paper.clock.now += 5
    assert worker not in served.workers()


def test_a_worker_that_lets_go_of_a_cancelled_job_goes_on(served: Served) -> None:
    job = served.submit()
    served.take()
    worker = served.workers()[0]
    path = f"/{served.id}/cancel/{job}"
    assert served.paper.json("POST", path) == {"id": job, "status": "CANCELLED"}
    served.paper.clock.now += 1
    served.as_worker("GET", "ping?job_id=")
    served.paper.clock.now += 4
    served.as_worker("GET", "ping?job_id=")
    assert served.workers() == [worker]
    assert served.done(job, {"output": 1}) == 200
    assert served.status(job)["status"] == "CANCELLED"


def test_jobs_of_a_dead_worker_wait_again_once_and_then_fail(served: Served) -> None:
    job = served.submit()
    for retries in (1, 2):
        served.take()
        platform = served.paper.account.platform
        platform.end_worker(served.endpoint, served.workers()[0])
        if retries == 1:
            assert served.status(job)["status"] == "IN_QUEUE"
            assert served.status(job)["retries"] == 1
    assert served.status(job)["error"] == "job timed out after 1 retries"


def test_a_worker_that_misses_three_pings_is_ended(served: Served) -> None:
    job = served.submit()
    served.take()
    worker = served.workers()[0]
    served.as_worker("GET", f"ping?job_id={job}")
    served.paper.clock.now += 30
    assert worker not in served.workers()
    assert served.status(job)["retries"] == 1


def test_a_failed_job_can_be_retried_under_its_id(served: Served) -> None:
    job = served.submit()
    path = f"/{served.id}/retry/{job}"
    assert served.paper.call("POST", path).status == 400
    served.take()
    served.done(job, {"error": "no"})
    assert served.paper.json("POST", path) == {"id": job, "status": "IN_QUEUE"}
    assert served.take()["id"] == job


def test_a_purge_ends_what_waits_and_nothing_that_runs(served: Served) -> None:
    first = served.submit()
    served.take()
    second = served.submit()
    answer = served.paper.json("POST", f"/{served.id}/purge-queue")
    assert answer == {"removed": 1, "status": "completed"}
    assert served.status(first)["status"] == "IN_PROGRESS"
    assert served.status(second)["status"] == "CANCELLED"


def test_a_stream_gives_what_has_come_and_ends_with_the_job(served: Served) -> None:
    job = served.submit()
    served.take()
    for part in ("a", "b"):
        served.as_worker("POST", f"job-stream/{job}", {"output": part})
    path = f"/{served.id}/stream/{job}"
    answer = json.loads(served.waited(served.paper.call("GET", path)).body)
    assert answer == {"status": "IN_PROGRESS", "stream": [{"output": "a"}, {"output": "b"}]}
    served.done(job, {"output": ["a", "b"]})
    answer = json.loads(served.waited(served.paper.call("GET", path)).body)
    assert answer == {"status": "COMPLETED", "stream": []}


def test_health_counts_jobs_and_workers(served: Served) -> None:
    served.submit()
    path = f"/{served.id}/health"
    assert served.paper.json("GET", path)["workers"]["initializing"] == 1
    served.take()
    served.submit()
    health = served.paper.json("GET", path)
    assert (health["jobs"]["inProgress"], health["jobs"]["inQueue"]) == (1, 1)
    assert (health["workers"]["running"], health["workers"]["ready"]) == (1, 1)


def test_a_workers_key_opens_its_own_routes_and_no_others(served: Served) -> None:
    job = served.submit()
    worker = served.workers()[0]
    paper = served.paper
    for path in (f"/{served.id}/status/{job}", "/pods", "/serverless"):
        assert paper.call("GET", path, key=worker.key).status == 403
    other = f"/{served.id}/job-take/{'0' * 14}"
    assert paper.call("GET", other, key=worker.key).status == 403
    own = f"/{served.id}/job-take/{worker.id}"
    assert paper.call("GET", own).status == 403
    assert paper.call("GET", own, key="rpa_wrong").status == 401
    assert paper.call("GET", own, key=worker.key).status in (200, 204)


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


def test_a_worker_without_a_host_is_throttled() -> None:
    stock = {"EU-RO-1": {"NVIDIA GeForce RTX 4090": "NONE"}}
    served = Served(Paper({"stock": stock}), dataCenterIds=["EU-RO-1"])
    served.submit()
    health = served.paper.json("GET", f"/{served.id}/health")
    assert health["workers"]["throttled"] == 1


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
