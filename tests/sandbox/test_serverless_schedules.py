"""Random schedules of one endpoint on paper: what must hold whatever happens, in whatever order."""

import json
import random
from typing import Any

import pytest

from podkit_sandbox.serverless.jobs import FINAL
from tests.sandbox.sandboxes import Paper
from tests.sandbox.served import INPUT, Served

STEPS = 60
MOVES = [
    *["submit", "submit", "take", "take", "take", "done", "done", "cancel", "ping"],
    *["kill", "release", "wait", "wait", "retry"],
]


class Schedule:
    """One endpoint, moved at random; `held` is what each worker was given and has not answered."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.paper = Paper({"seed": seed})
        self.served = Served(self.paper, workers={"min": 0, "max": 3, "idleTimeout": 5})
        self.jobs: list[str] = []
        self.ended: dict[str, str] = {}
        self.held: dict[str, set[str]] = {}
        self.version = 1

    def move(self, name: str) -> None:
        getattr(self, f"do_{name}")()
        self.paper.clock.now += self.rng.choice([0.0, 0.1, 1.0])
        self.check()

    def check(self) -> None:
        living = self.served.workers()
        assert len(living) <= 3
        running = self.served.endpoint.queue.running()
        alive = {worker.id for worker in living}
        for job in running:
            assert job.worker_id in alive, "a job runs on a worker that is gone"
        for id in self.jobs:
            found = self.served.endpoint.queue.find(id, self.paper.clock.now)
            if found and id in self.ended:
                assert found.status == self.ended[id], "a job that has ended changed its state"
            if found and found.status in FINAL:
                self.ended[id] = found.status

    def do_submit(self) -> None:
        self.jobs.append(self.served.submit(INPUT))

    def do_take(self) -> None:
        for number, worker in enumerate(self.served.workers()):
            if self.rng.random() < 0.6:
                answer = self.served.as_worker("GET", "job-take", number=number)
                if answer.status == 200:
                    id = json.loads(answer.body)["id"]
                    holders = [one for one, held in self.held.items() if id in held]
                    alive = {one.id for one in self.served.workers()}
                    assert not alive & {*holders}, "two workers have one job"
                    self.held.setdefault(worker.id, set()).add(id)
                return

    def do_done(self) -> None:
        for number, worker in enumerate(self.served.workers()):
            held = self.held.get(worker.id)
            if held:
                payload = self.rng.choice([{"output": 1}, {"error": "no"}, {}])
                self.served.done(held.pop(), payload, number)
                return

    def do_cancel(self) -> None:
        if self.jobs:
            self.paper.call("POST", f"/{self.served.id}/cancel/{self.rng.choice(self.jobs)}")

    def do_retry(self) -> None:
        failed = [id for id, state in self.ended.items() if state in ("FAILED", "TIMED_OUT")]
        if failed:
            id = self.rng.choice(failed)
            if self.paper.call("POST", f"/{self.served.id}/retry/{id}").status == 200:
                del self.ended[id]

    def do_ping(self) -> None:
        for number, worker in enumerate(self.served.workers()):
            stopping = self.served.endpoint.queue.stopping
            held = self.held.setdefault(worker.id, set())
            held -= {*stopping}
            self.served.as_worker("GET", f"ping?job_id={','.join(held)}", number=number)

    def do_kill(self) -> None:
        living = self.served.workers()
        if living and self.rng.random() < 0.3:
            self.paper.account.platform.end_worker(self.served.endpoint, living[0])

    def do_release(self) -> None:
        if self.rng.random() < 0.3:
            self.version += 1
            image = {"image": f"ghcr.io/me/translation:{self.version}"}
            self.paper.call("PATCH", f"/serverless/{self.served.id}", image)

    def do_wait(self) -> None:
        self.paper.clock.now += self.rng.choice([1.0, 4.0, 30.0])


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_jobs_and_workers_stay_in_order(seed: int) -> None:
    schedule = Schedule(seed)
    for _ in range(STEPS):
        schedule.move(schedule.rng.choice(MOVES))
    until_all_have_ended(schedule)
    for worker in schedule.served.workers():  # one that never asked for a job is still starting
        path = f"/{schedule.served.id}/job-take/{worker.id}"
        schedule.paper.call("GET", path, key=worker.key)
    schedule.paper.clock.now += 6
    assert schedule.served.workers() == []


def until_all_have_ended(schedule: Schedule) -> None:
    """Workers answer everything that they are given."""
    served: Any = schedule.served
    for _ in range(500):
        queue = served.endpoint.queue
        if not queue.waiting() and not queue.running():
            return
        for worker in served.workers():
            for job in queue.running(worker.id):
                path = f"/{served.id}/job-done/{worker.id}/{job.id}"
                schedule.paper.call("POST", path, {"output": 1}, key=worker.key)
        if served.workers():
            schedule.do_take()
        schedule.paper.clock.now += 1.0
    raise AssertionError("jobs are left")
