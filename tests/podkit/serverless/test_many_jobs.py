"""Many jobs at once: their ends in order, and none left behind by an interrupt."""

from __future__ import annotations

import _thread
import threading
from typing import Any

import pytest

from podkit.errors import Forbidden
from podkit.jobs import Jobs
from podkit.serverless.many_jobs import run_many
from tests.podkit.samples import KEY
from tests.podkit.serverless.cloud import Cloud

CONTENTS = [{"n": number} for number in range(12)]


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def jobs_of(cloud: Cloud, endpoint_id: str) -> Jobs:
    return Jobs(endpoint_id, KEY, session=cloud.session(), clock=cloud, sleep=cloud.sleep)


def test_the_ends_come_in_order_with_the_reason_of_each_that_has_no_output(cloud: Cloud) -> None:
    cloud.answers = lambda given: {"output": given} if given["n"] % 2 else {"error": "even"}
    ended = run_many(jobs_of(cloud, cloud.make()), CONTENTS, 4, 600, cloud)
    assert [one.output for one in ended[1::2]] == CONTENTS[1::2]
    assert all(one.problem and "even" in one.problem.message for one in ended[::2])
    assert all(one.state and one.seconds > 0 for one in ended)


def left(cloud: Cloud) -> int:
    """How many jobs wait or run."""
    queue = cloud.only().queue
    return len(queue.waiting()) + len(queue.running())


def test_a_submit_that_is_refused_ends_them_all_and_leaves_none_behind(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.answers = lambda _: None
    jobs = jobs_of(cloud, cloud.make())
    submitted: list[Any] = []
    submit = jobs.submit

    def refused_in_the_end(content: Any, **options: Any) -> str:
        submitted.append(content)
        if len(submitted) > 3:
            raise Forbidden("no")
        return submit(content, **options)

    monkeypatch.setattr(jobs, "submit", refused_in_the_end)
    with pytest.raises(Forbidden):
        run_many(jobs, CONTENTS, 4, 600, cloud)
    assert left(cloud) == 0
    assert len(submitted) <= 8


def test_an_interrupt_leaves_none_behind(cloud: Cloud) -> None:
    fourth_ran = threading.Lock()

    def interrupt(given: Any) -> None:
        """Once, when every thread has its first job."""
        if given["n"] == 3 and fourth_ran.acquire(blocking=False):
            _thread.interrupt_main()

    cloud.answers = interrupt
    jobs = jobs_of(cloud, cloud.make())
    with pytest.raises(KeyboardInterrupt):
        run_many(jobs, CONTENTS, 4, 600, cloud)
    cloud.answers = lambda _: None
    assert left(cloud) == 0
