"""What the log says of a pod's memory and disk, and when it warns."""

from pathlib import Path

import pytest
from resources import GIB, lines, ram, read_use

from tests.startup.local_pod import Pod


def test_the_status_line_and_one_warning_until_it_is_less_again() -> None:
    warned: set[str] = set()
    calm = {"gpu": (43.5, 44.99), "ram": (40.0, 100.0), "disk": (20.0, 40.0)}
    scarce = {"gpu": (43.5, 44.99), "ram": (95.0, 100.0), "disk": (36.1, 40.0)}
    assert lines(calm, warned) == ["status gpu_gib=43.5/45.0 ram_gib=40.0/100.0 disk_gib=20.0/40.0"]
    assert lines(scarce, warned)[1:] == [
        "warning: 95% of the pod's ram are in use",
        "warning: 90% of the pod's disk are in use",
    ]
    assert len(lines(scarce, warned)) == 1
    lines(calm, warned)
    assert len(lines(scarce, warned)) == 3


def test_a_full_gpu_is_no_warning_for_vllm_takes_its_share_at_once() -> None:
    assert lines({"gpu": (44.9, 45.0)}, set()) == ["status gpu_gib=44.9/45.0"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  104857600 kB\nMemAvailable:  52428800 kB\nHugePages_Total: 0\n")
    return tmp_path, meminfo


def test_ram_is_the_containers_own_without_what_the_cache_would_give_back(
    files: tuple[Path, Path],
) -> None:
    folder, meminfo = files
    (folder / "memory.max").write_text(f"{64 * GIB}\n")
    (folder / "memory.current").write_text(f"{60 * GIB}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {40 * GIB}\n")
    assert ram(folder, meminfo) == (20, 64)
    (folder / "memory.max").write_text("max\n")
    assert ram(folder, meminfo) == (50, 100)


def test_what_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    found = read_use(tmp_path / "no such folder")
    assert "gpu" not in found
    assert "disk" not in found


@pytest.mark.slow
def test_a_pod_tells_it_from_its_first_minute_on(pod: Pod) -> None:
    told = pod.start().wait_for("podkit: status gpu_gib=40.5/45.0 ram_gib=")
    assert "disk_gib=" in told
