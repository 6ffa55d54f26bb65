"""Several pods on one volume: one of them fetches, the rest waits, nobody waits for the dead."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boot import turns
from boot.configuration import Configuration
from boot.phases import Phases
from boot.sources import fetch
from boot.turns import BEGAN, SETTLE_SECONDS, SILENT_SECONDS, begin, earlier_download

from tests.startup.configurations import configured


class Waits:
    """The boot's services while it waits: each look of 5 seconds does what this test says."""

    def __init__(self, looks: list[Callable[[], None]], write: Callable[[Path], None]) -> None:
        self.closing: Any = self
        self.downloads = 0
        self.waited = 0
        self._looks = looks
        self._write = write

    def wait(self, seconds: float) -> bool:
        if seconds == SETTLE_SECONDS:
            return False
        self.waited += 1
        if self._looks:
            self._looks.pop(0)()
        return False

    def run(self, name: str, argv: list[str], each: Callable[[], None] | None = None) -> None:
        if name == "hf" and "download" in argv:
            self.downloads += 1
            self._write(Path(argv[-1]))


def write_checkpoint(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return configured(tmp_path)


@pytest.fixture
def target(configuration: Configuration) -> Path:
    return configuration.volume / "hf_cache" / configuration.model.folder_name


def began(folder: Path, seconds_ago: float, silent: float = 0.0) -> Path:
    """Another pod's download, begun and last touched so long ago."""
    begin(folder)
    now = time.time()
    os.utime(folder / BEGAN, (now - seconds_ago,) * 2)
    os.utime(folder, (now - silent,) * 2)
    return folder


def fetched(configuration: Configuration, services: Waits, seconds: float = 0.0) -> Path:
    clock = iter(range(10_000))
    stand_in: Any = services
    return fetch(stand_in, configuration, Phases(lambda: next(clock) * seconds))


def test_the_second_pod_waits_for_the_first_and_fetches_nothing(
    configuration: Configuration, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = began(target.parent / f".incoming-other-hf-{target.name}", 30)

    def finish() -> None:
        write_checkpoint(other)
        other.rename(target)

    services = Waits([lambda: None, finish], write_checkpoint)
    assert fetched(configuration, services) == target
    assert (services.downloads, services.waited) == (0, 2)
    assert not list(target.parent.glob(".incoming-*"))
    told = capsys.readouterr().out
    assert told.count("waiting for it") == 1
    assert "phase=fetch event=progress" in told


def test_what_came_just_before_the_look_for_others_is_not_fetched_again(
    configuration: Configuration, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = began(target.parent / f".incoming-other-hf-{target.name}", 30)

    def look_too_late(pod: str, ours: Path, wanted: Path) -> Path | None:
        if other.exists():
            write_checkpoint(other)
            other.rename(target)
        return earlier_download(pod, ours, wanted)

    monkeypatch.setattr(turns, "earlier_download", look_too_late)
    services = Waits([], write_checkpoint)
    assert fetched(configuration, services) == target
    assert services.downloads == 0


def test_a_pod_that_is_gone_is_not_waited_for(configuration: Configuration, target: Path) -> None:
    other = target.parent / f".incoming-other-hf-{target.name}"
    began(other, 300, silent=SILENT_SECONDS + 1)
    services = Waits([], write_checkpoint)
    fetched(configuration, services)
    assert (services.downloads, services.waited) == (1, 0)


def test_a_download_that_falls_silent_while_it_is_waited_for_is_given_up(
    configuration: Configuration, target: Path
) -> None:
    other = began(target.parent / f".incoming-other-hf-{target.name}", 30)
    silent = time.time() - SILENT_SECONDS - 1
    services = Waits([lambda: os.utime(other, (silent, silent))], write_checkpoint)
    fetched(configuration, services)
    assert (services.downloads, services.waited) == (1, 1)


def test_a_download_that_stands_still_is_given_up(
    configuration: Configuration, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began(target.parent / f".incoming-other-hf-{target.name}", 30)
    services = Waits([], write_checkpoint)
    fetched(configuration, services, seconds=50.0)
    assert services.downloads == 1
    assert "its download stands still" in capsys.readouterr().out


def test_of_two_that_begin_exactly_one_waits(target: Path) -> None:
    one = began(target.parent / f".incoming-a-hf-{target.name}", 5)
    two = began(target.parent / f".incoming-b-s3-{target.name}", 5)
    for folder in (one, two):
        os.utime(folder / BEGAN, (1_000_000, 1_000_000))  # at the very same moment
    assert earlier_download("a", one, target) is None
    assert earlier_download("b", two, target) == one


def test_four_pods_at_once_download_once(tmp_path: Path) -> None:
    """With real threads: the volume has room for one checkpoint."""
    (tmp_path / "volume").mkdir()
    written = []

    def write(folder: Path) -> None:
        written.append(folder)
        threading.Event().wait(0.2)
        write_checkpoint(folder)

    class Real(Waits):
        def wait(self, seconds: float) -> bool:
            threading.Event().wait(0.02)
            return False

    def boot(number: int) -> None:
        pod = configured(tmp_path, RUNPOD_POD_ID=f"pod{number}")
        fetched(pod, Real([], write))

    pods = [threading.Thread(target=boot, args=(number,)) for number in range(4)]
    for pod in pods:
        pod.start()
    for pod in pods:
        pod.join(20)
    assert len(written) == 1
