"""Jobs on paper: from the queue to a worker and back, their errors, expiry and deaths."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from podkit_sandbox.serverless import webhooks
from tests.sandbox.sandboxes import KEY, Paper
from tests.sandbox.served import INPUT, Served


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


@pytest.mark.parametrize(("route", "megabytes"), [("run", 10), ("runsync", 20)])
def test_a_job_has_a_size(served: Served, route: str, megabytes: int) -> None:
    path = f"/{served.id}/{route}"
    fitting = {"input": {"text": "x" * (megabytes * 1_000_000)}}
    assert served.paper.call("POST", path, fitting).status == 200
    large = {"input": {"text": "x" * (megabytes * 1_100_000)}}
    assert served.paper.call("POST", path, large).status == 413


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


def test_the_job_api_takes_a_bare_key_and_the_control_plane_does_not(served: Served) -> None:
    bare = {"authorization": KEY}
    assert served.paper.call("GET", f"/{served.id}/health", **bare).status == 200
    assert served.paper.call("GET", f"/serverless/{served.id}", **bare).status == 401


def test_a_webhook_is_told_once_when_its_job_has_ended(served: Served) -> None:
    url = "http://127.0.0.1:9/hook"
    job = served.submit(webhook=url)
    platform = served.paper.account.platform
    assert platform.take_webhooks() == []
    served.take()
    served.done(job, {"output": 1})
    ((called, told),) = platform.take_webhooks()
    assert (called, told["id"], told["status"]) == (url, job, "COMPLETED")
    assert (told["output"], told["input"], told["webhook"]) == (1, INPUT, url)
    assert platform.take_webhooks() == []


def test_a_webhook_is_called_again_until_it_answers_2xx(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            heard.append(json.loads(self.rfile.read(length)))
            self.send_response(200 if len(heard) == 2 else 500)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    async def deliver(url: str) -> None:
        hooks = webhooks.Webhooks()
        hooks.call([(url, {"id": "a"})])
        while len(heard) < 2:
            await asyncio.sleep(0.01)
        await hooks.close()

    monkeypatch.setattr(webhooks, "REPEAT_SECONDS", (0.0, 0.0))
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        asyncio.run(deliver(f"http://127.0.0.1:{server.server_port}/hook"))
        server.shutdown()
    assert heard == [{"id": "a"}, {"id": "a"}]
