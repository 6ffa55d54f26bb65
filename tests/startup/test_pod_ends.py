"""Whole pods as processes that end themselves: at their limits, and when start.sh has nothing else
left.
"""

import shutil
import signal
import time

import pytest

from podkit.models.spec import pack
from tests.startup.local_pod import KEY, STARTUP, Platform, Pod, get
from tests.waiting import LONG

pytestmark = pytest.mark.slow


def test_a_syntax_error_in_a_script_ends_the_pod(pod: Pod, platform: Platform) -> None:
    folder = pod.root / "startup"
    shutil.copytree(STARTUP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "ending.py").write_text("def broken(:")
    pod.env["STARTUP_B64"] = pack(folder)
    log = pod.start().wait_for("terminate: HTTP 204")
    assert "podkit: fatal step=start reason=" in log
    # Curl's turn: Python cannot ask.
    assert platform.headers[0]["User-Agent"] == "podkit-pod/1"


def test_without_python_curl_ends_the_pod_and_the_key_stays_out_of_its_arguments(
    pod: Pod, platform: Platform
) -> None:
    tools = pod.root / "tools"
    tools.mkdir()
    for name in ("mkdir", "date", "base64", "tar", "gzip", "sleep"):
        (tools / name).symlink_to(shutil.which(name) or "/missing")
    (tools / "curl").write_text(f'#!/bin/bash\necho "curl $*"\nexec {shutil.which("curl")} "$@"\n')
    (tools / "curl").chmod(0o755)
    pod.env["PATH"] = str(tools)
    platform.answers = [500, 500]
    log = pod.start().ended()
    assert [call[:2] for call in platform.calls[:2]] == [
        ("POST", "/v2/pods/pod1/action"),
        ("DELETE", "/v2/pods/pod1"),
    ]
    assert "podkit: fatal step=start reason=" in log
    assert platform.headers[0]["Authorization"] == "Bearer rp_secret"
    assert "rp_secret" not in log
    assert pod.process
    assert pod.process.poll() is None  # it never exits while the pod may exist


def test_the_watchdog_ends_the_pod_at_its_end_time_without_the_others(
    pod: Pod, platform: Platform
) -> None:
    pod.env["PODKIT_ENDS_AT"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6))
    pod.start().wait_for("watchdog armed")
    for process in pod.find("startup_") + pod.find("-m boot"):
        process.send_signal(signal.SIGSTOP)
    log = pod.ended()
    assert "watchdog ends the pod: its end time has come" in log
    assert platform.calls[0][2] == "terminate"


def test_a_pod_that_nobody_uses_ends_itself_and_page_loads_do_not_count(
    pod: Pod, platform: Platform
) -> None:
    pod.env["PODKIT_IDLE_MINUTES"] = "0.07"
    pod.start().ready()
    begin = time.monotonic()
    while not platform.calls and time.monotonic() - begin < LONG:
        get(pod, "/v1/models", KEY)
        get(pod, "/health")
        time.sleep(0.2)
    assert "watchdog ends the pod: no inference" in pod.log.read_text()
    assert platform.times[0] - (pod.local / "ready").stat().st_mtime > 4


def test_a_pod_that_is_not_ready_in_time_ends_itself(pod: Pod) -> None:
    pod.env["PODKIT_BOOT_MINUTES"] = "0.05"
    pod.program("uv", "#!/bin/bash\nsleep 60\n")
    assert "watchdog ends the pod: it was not ready in time" in pod.start().ended()
