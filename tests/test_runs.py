"""What keeps runs of the tests honest: the rule on skips, and sandboxes that end with their run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.clones import ROOT, Clone
from tests.conftest import name_of
from tests.pod_processes import processes_of
from tests.reliability.live import own_environment
from tests.waiting import eventually


@pytest.mark.parametrize(
    "nodeid",
    [
        "tests/test_a.py::test_one",
        "tests/test_a.py::test_one[a case::of@two]",
        "tests/test_a.py::test_one@tests/test_a.py",
        "tests/test_a.py::test_one[a case]@clone",
    ],
)
def test_a_skipped_test_is_known_by_its_name_in_a_parallel_run_too(nodeid: str) -> None:
    assert name_of(nodeid) == "test_one"


def test_a_sandbox_that_a_test_starts_ends_with_the_run(tmp_path: Path) -> None:
    clone = Clone(tmp_path, tmp_path / "home", tmp_path / "programs")
    for environment in (clone.environment(), own_environment()):
        assert environment["PODKIT_SANDBOX_OWNER"] == str(os.getpid())


def run_of_two_workers(folder: Path) -> subprocess.CompletedProcess[str]:
    """A parallel run of the tests in `folder`, with this project's options."""
    words = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-n", "2"]
    words += ["--dist", "loadgroup", "-c", str(ROOT / "pyproject.toml"), str(folder)]
    words += ["--rootdir", str(folder), "--basetemp", str(folder / "its own")]
    return subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)


TELLS_ITS_WORKER = """
import os
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(6))
def test_that_tells(number):
    with Path(__file__).with_suffix(".workers").open("a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


@pytest.mark.slow
def test_one_worker_of_a_parallel_run_gets_all_tests_of_a_file(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / f"test_{name}.py").write_text(TELLS_ITS_WORKER)
    done = run_of_two_workers(tmp_path)
    assert done.returncode == 0, done.stdout
    workers = [set(file.read_text().split()) for file in tmp_path.glob("*.workers")]
    assert sorted(map(sorted, workers)) == [["gw0"], ["gw1"]]


PASSES = "def test_that_passes():\n    pass\n"
CRASHES = "import os\n\n\ndef test_that_crashes():\n    os.abort()\n"


@pytest.mark.slow
def test_a_run_whose_worker_crashes_ends_and_names_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_first.py").write_text(PASSES)
    (tmp_path / "test_second.py").write_text(PASSES)
    (tmp_path / "test_third.py").write_text(CRASHES)
    done = run_of_two_workers(tmp_path)
    assert done.returncode == 1
    assert "crashed while running 'test_third.py::test_that_crashes" in done.stdout


HANGS = """
import time
from pathlib import Path

def test_that_hangs(live):
    pod = live.create("sleep 600")
    draft = Path(__file__).with_name("draft")
    draft.write_text(f"{live.connection.pid} {pod}")
    draft.rename(draft.with_name("running"))
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["plain", "parallel"])
def test_a_run_that_is_killed_leaves_no_sandbox_and_no_pod(
    tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGS)
    plugins = ["-p", "tests.conftest", "-p", "tests.sandbox.conftest"]
    begin = [sys.executable, "-m", "pytest", *plugins, *options, "--rootdir", str(ROOT)]
    words = [*begin, "-c", str(ROOT / "pyproject.toml"), str(tmp_path / "test_hanging.py")]
    words += ["--basetemp", str(tmp_path / "its own")]
    run = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
    running = tmp_path / "running"
    try:
        eventually(lambda: running.exists() or run.poll() is not None)
        sandbox, pod = running.read_text().split()
        assert psutil.pid_exists(int(sandbox))
        eventually(lambda: processes_of(pod))
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    eventually(lambda: not psutil.pid_exists(int(sandbox)))
    eventually(lambda: not processes_of(pod))


def jobs_of_ci() -> dict[str, Any]:
    import yaml

    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return jobs


def test_the_steps_of_ci_are_pinned_and_their_scripts_are_clean() -> None:
    for job in jobs_of_ci().values():
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
                continue
            assert "${{" not in step["run"]
            words = [str(Path(sys.prefix) / "bin/shellcheck"), "--shell=bash", "-"]
            done = subprocess.run(
                words, input=step["run"], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout


BUSY = """#!/bin/sh
echo "$*" >>runs
count() { ps -o args= --ppid "$PPID" | grep -c "while :"; }
for _ in $(seq 100); do # the other work may only be about to begin
  [ "$(count)" -ge "$CORES" ] && break
  sleep 0.1
done
count >>busy
[ "$(wc -l <runs)" != "$FAILS_AT" ]
"""


@pytest.mark.slow
@pytest.mark.parametrize(("fails_at", "runs"), [(9, 3), (2, 2)])
def test_the_busy_job_runs_three_times_beside_other_work_and_ends_at_a_failure(
    tmp_path: Path, fails_at: int, runs: int
) -> None:
    (tmp_path / "run_tests.sh").write_text(BUSY)
    (tmp_path / "run_tests.sh").chmod(0o755)
    script = jobs_of_ci()["busy"]["steps"][-1]["run"]
    (tmp_path / "step.sh").write_text(script)
    env = {**os.environ, "FAILS_AT": str(fails_at), "CORES": str(os.cpu_count())}
    step = subprocess.run(
        ["/bin/bash", "-e", "step.sh"], cwd=tmp_path, env=env, check=False, timeout=60
    )
    assert (step.returncode == 0) == (runs == 3)
    assert (tmp_path / "runs").read_text() == "--core\n" * runs
    assert (tmp_path / "busy").read_text() == f"{os.cpu_count()}\n" * runs
