"""Workers as real processes: a service under the official SDK's own loop, and its deaths."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from podkit_sandbox import control
from podkit_sandbox.processes import tree
from podkit_sandbox.serverless.environments import Environments
from tests.sandbox.sandboxes import Live
from tests.waiting import eventually

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SERVICE = HERE / "service"
LONG = 240.0  # seconds, for an installation and an import on a busy machine


class Served:
    """An endpoint of a real sandbox whose workers run tests/sandbox/service."""

    def __init__(self, live: Live, name: str, **changes: Any) -> None:
        self.live = live
        body = {
            "name": name,
            "type": "QUEUE",
            "image": "me/echo:1",
            "cpu": [{"id": "cpu5c", "vcpuCount": 4}],
            "workers": {"min": 0, "max": 1, "idleTimeout": 600},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
            **changes,
        }
        answer = live.call("POST", "/serverless", json=body)
        assert answer.status_code == 201, answer.text
        self.id = str(answer.json()["id"])

    def submit(self, policy: dict[str, Any] | None = None, **wish: Any) -> str:
        body = {"input": wish, "policy": policy or {}}
        answer = self.live.call("POST", f"/{self.id}/run", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def status(self, job: str) -> Any:
        return self.live.call("GET", f"/{self.id}/status/{job}").json()

    def until(self, job: str, *states: str) -> Any:
        """The job once it is in one of these states."""
        return eventually(lambda: self._in(job, states), LONG)

    def _in(self, job: str, states: tuple[str, ...]) -> Any:
        found = self.status(job)
        return found if found["status"] in states else None

    def workers(self) -> list[Any]:
        rows = self.live.call("GET", f"/serverless/{self.id}/workers").json()["workers"]
        assert isinstance(rows, list)
        return rows

    def processes(self) -> set[psutil.Process]:
        """What runs for its workers, living or not."""
        found: set[psutil.Process] = set()
        for folder in (self.live.folder / "workers").glob("*"):
            found |= tree(folder)
        return found

    def delete(self) -> None:
        self.live.call("DELETE", f"/serverless/{self.id}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    sandbox = Live(tmp_path_factory.mktemp("it's a work er"))
    control.place_service(sandbox.connection, "me/echo", SERVICE, ["python", "-u", "handler.py"])
    yield Served(sandbox, "echo")
    control.stop(sandbox.folder)


def test_a_job_runs_under_the_real_sdk_with_a_home_of_its_own(served: Served) -> None:
    done = served.until(served.submit(text="Bonjour"), "COMPLETED", "FAILED")
    assert done["output"]["echo"] == {"text": "Bonjour"}
    assert Path(done["output"]["home"]).is_relative_to(served.live.folder / "workers")
    (worker,) = served.workers()
    assert (worker["id"], worker["status"]) == (done["workerId"], "IDLE")


def test_the_official_client_gets_what_others_get(served: Served) -> None:
    environments = Environments(served.live.folder / "envs")
    python = asyncio.run(environments.prepare(SERVICE, print)).binaries / "python"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(served.live.folder),
        "RUNPOD_ENDPOINT_BASE_URL": served.live.connection.api_url,
        "RUNPOD_API_KEY": served.live.connection.api_key,
    }
    done = subprocess.run(
        [str(python), str(HERE / "official_client.py"), served.id, '{"n": 1}'],
        capture_output=True,
        text=True,
        env=env,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["final"] == "COMPLETED"
    assert seen["output"]["echo"] == {"n": 1}
    assert seen["sync"]["echo"] == {"n": 1}
    assert seen["cancelled"] == "CANCELLED"
    assert seen["health"]["jobs"]["completed"] >= 2
    assert seen["purged"]["status"] == "completed"


def podkit(served: Served, *arguments: str) -> subprocess.Popen[str]:
    """A command of podkit's in this sandbox as a process of its own."""
    connection = served.live.connection
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(served.live.folder),
        "RUNPOD_API_URL": connection.api_url,
        "RUNPOD_JOBS_URL": connection.api_url,
        "RUNPOD_API_KEY": connection.api_key,
    }
    command = [sys.executable, "-m", "podkit", "serverless", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env, cwd=ROOT)


def test_the_command_line_gets_what_the_official_client_gets(served: Served) -> None:
    done = podkit(served, "run", served.id, "--input", '{"n": 1}')
    out, err = done.communicate(timeout=LONG)
    assert done.returncode == 0, err
    assert json.loads(out)["echo"] == {"n": 1}
    assert "COMPLETED" in err


def test_ctrl_c_leaves_the_job_that_is_waited_for_and_names_it(
    served: Served, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waiting = podkit(served, "run", served.id, "--input", json.dumps({"until": str(go)}))
    assert waiting.stderr
    first = waiting.stderr.readline()
    job = first.split()[1]
    served.until(job, "IN_PROGRESS")
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=LONG)
    assert waiting.returncode == 130, err
    assert f"job {job} goes on" in err
    assert f"jobs wait {job} {served.id}" in err
    assert f"jobs cancel {job} {served.id}" in err
    go.touch()
    served.until(job, "COMPLETED")


def test_a_log_that_is_followed_shows_a_worker_that_starts_later_and_ends_on_ctrl_c(
    served: Served,
) -> None:
    limits = {"min": 0, "max": 1, "idleTimeout": 600}
    later = Served(served.live, "later", workers=limits)
    following = podkit(served, "logs", later.id, "-f")
    job = later.submit(n=1)
    assert following.stdout
    too_long = threading.Timer(LONG, following.kill)
    too_long.start()
    line = ""
    while job not in line:
        line = following.stdout.readline()
        assert line, "it ended"
    too_long.cancel()
    (worker,) = later.workers()
    assert line.startswith(f"{worker['id']}  ")
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=LONG)
    assert following.returncode == 130
    shown, _ = podkit(served, "logs", later.id, "--job", job).communicate(timeout=LONG)
    assert shown
    assert all(job in row for row in shown.splitlines())
    later.delete()


def test_many_jobs_at_once_all_complete(served: Served) -> None:
    jobs = [served.submit(sleep=0.01, n=n) for n in range(32)]
    outputs = [served.until(job, "COMPLETED")["output"]["echo"]["n"] for job in jobs]
    assert outputs == list(range(32))


def test_what_a_handler_raises_or_says_fails_the_job(served: Served) -> None:
    raised = served.until(served.submit(None, **{"raise": "no such language"}), "FAILED")
    error = json.loads(raised["error"])
    assert "ValueError" in error["error_type"]
    assert "no such language" in error["error_message"]
    said = served.until(served.submit(error="too long"), "FAILED")
    assert said["error"] == "too long"


def test_progress_shows_as_the_output_while_a_job_runs(served: Served, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = served.submit(progress="half way", until=str(go))
    eventually(lambda: served.status(job).get("output") == "half way", LONG)
    go.touch()
    assert served.until(job, "COMPLETED")["output"]["echo"]["progress"] == "half way"


def test_a_running_job_is_cancelled_and_its_worker_goes_on(served: Served) -> None:
    before = served.until(served.submit(n=1), "COMPLETED")["output"]["pid"]
    job = served.submit(sleep=600)
    served.until(job, "IN_PROGRESS")
    served.live.call("POST", f"/{served.id}/cancel/{job}")
    assert served.status(job)["status"] == "CANCELLED"
    eventually(lambda: served.workers()[0]["status"] == "IDLE", LONG)
    after = served.until(served.submit(n=2), "COMPLETED")["output"]["pid"]
    assert after == before


def test_a_job_outlives_its_worker_that_is_killed(served: Served, tmp_path: Path) -> None:
    before = served.until(served.submit(n=1), "COMPLETED")["output"]["pid"]
    go = tmp_path / "go"
    job = served.submit(until=str(go))
    served.until(job, "IN_PROGRESS")
    psutil.Process(before).kill()
    go.touch()
    done = served.until(job, "COMPLETED", "FAILED")
    assert (done["status"], done["retries"]) == ("COMPLETED", 1)
    assert done["output"]["pid"] != before
    assert not psutil.pid_exists(before)


def test_a_job_that_kills_its_worker_twice_fails(served: Served) -> None:
    done = served.until(served.submit(die=True), "COMPLETED", "FAILED")
    assert done["error"] == "job timed out after 1 retries"


def test_a_handler_that_does_not_let_go_costs_its_worker(served: Served) -> None:
    before = served.until(served.submit(n=1), "COMPLETED")["output"]["pid"]
    job = served.submit({"executionTimeout": 5000}, block=600)
    served.until(job, "TIMED_OUT")
    eventually(lambda: not psutil.pid_exists(before), LONG)
    assert served.until(served.submit(n=2), "COMPLETED")["output"]["pid"] != before


def test_a_generator_is_streamed_part_by_part(served: Served) -> None:
    streaming = Served(served.live, "parts", env={"STREAMS": "1"})
    job = streaming.submit(n=1)
    parts: list[int] = []
    for _ in range(60):
        answer = served.live.call("GET", f"/{streaming.id}/stream/{job}?wait=8000").json()
        parts += [row["output"]["part"] for row in answer["stream"]]
        if answer["status"] == "COMPLETED":
            break
    assert parts == [0, 1, 2]
    streaming.delete()


def test_never_more_than_max_and_none_after_the_idle_timeout(served: Served) -> None:
    limits = {"min": 0, "max": 3, "idleTimeout": 3}
    scaled = Served(served.live, "scaled", workers=limits, env={"AT_ONCE": "1"})
    jobs = [scaled.submit(sleep=5) for _ in range(10)]
    most = 0
    while any(scaled.status(job)["status"] != "COMPLETED" for job in jobs):
        most = max(most, len(scaled.workers()))
    pids = {scaled.status(job)["output"]["pid"] for job in jobs}
    assert most <= 3
    assert len(pids) >= 2
    eventually(lambda: scaled.workers() == [], LONG)
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), LONG)
    scaled.delete()


def test_a_worker_without_a_folder_says_so(served: Served) -> None:
    unknown = Served(served.live, "unknown", image="me/nothing:1")
    unknown.submit(n=1)
    (worker,) = eventually(lambda: [w for w in unknown.workers() if w["status"] == "UNHEALTHY"])
    path = f"/serverless/{unknown.id}/workers/{worker['id']}/logs"
    with served.live.session.get(served.live.connection.api_url + path, stream=True) as answer:
        assert any(b"no folder is known" in line for line in answer.iter_lines(chunk_size=1))
    unknown.delete()


def test_nothing_of_a_deleted_endpoint_is_left(served: Served) -> None:
    assert served.processes()
    served.delete()
    eventually(lambda: not served.processes())
    assert served.live.call("GET", f"/{served.id}/health").status_code == 404
