"""Programs that are started, watched, started again and ended, as real processes."""

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from boot.failures import Fatal
from boot.services import Service, Services

from tests.startup.configurations import configured
from tests.waiting import LONG, eventually


class Pauses(threading.Event):
    """The boot's `closing`, which never comes and never waits."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return False


def test_a_service_is_started_again_three_times_and_its_fourth_death_is_fatal(
    tmp_path: Path,
) -> None:
    services = Services(configured(tmp_path))
    pauses = Pauses()
    services.closing = pauses
    starts = tmp_path / "starts"
    service = services.start("vllm", ["/bin/sh", "-c", f"echo started >> '{starts}'; exit 3"])
    with pytest.raises(Fatal, match="vllm died with status 3") as caught:
        services.supervise(service)
    assert pauses.seconds == [2, 10, 30]
    assert starts.read_text().count("started") == 4
    assert caught.value.step == "serve"


def test_a_service_that_dies_while_the_boot_ends_is_not_started_again(tmp_path: Path) -> None:
    services = Services(configured(tmp_path))
    starts = tmp_path / "starts"
    service = services.start("vllm", ["/bin/sh", "-c", f"echo started >> '{starts}'"])
    services.closing.set()
    services.supervise(service)
    assert starts.read_text().count("started") == 1


def test_stop_ends_the_whole_process_group(tmp_path: Path) -> None:
    script = "sleep 60 & echo $!; exec sleep 60"
    service = Service("uv", ["bash", "-c", script], configured(tmp_path))
    eventually(lambda: service.last_lines)
    child = int(service.last_lines[0])
    service.stop(LONG)
    assert service.process.returncode == -signal.SIGTERM
    eventually(lambda: not runs(child))


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_program_that_fails_is_explained(tmp_path: Path) -> None:
    services = Services(configured(tmp_path))
    with pytest.raises(Fatal, match="uv died with status 2: no such package"):
        services.run("uv", ["/bin/sh", "-c", "echo no such package; exit 2"])


def test_what_a_look_at_a_program_raises_ends_the_program(tmp_path: Path) -> None:
    services = Services(configured(tmp_path))

    def look() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        services.run("hf", ["/bin/sh", "-c", f"echo $$ > '{tmp_path}/pid'; exec sleep 60"], look)
    pid = tmp_path / "pid"
    assert not pid.exists() or not runs(int(pid.read_text() or 0))


def test_after_the_end_began_nothing_starts(tmp_path: Path) -> None:
    services = Services(configured(tmp_path))
    services.close()
    argv: Any = ["/bin/touch", str(tmp_path / "started")]
    late = threading.Thread(target=services.start, args=("uv", argv), daemon=True)
    late.start()
    late.join(0.2)
    services.stop_all(1)
    assert not (tmp_path / "started").exists()
