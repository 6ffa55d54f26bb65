"""How the checkpoint gets onto the volume: whole or not at all, whatever else happens meanwhile."""

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from boot.configuration import Configuration
from boot.failures import Fatal
from boot.phases import Phases
from boot.sources import fetch, set_aside

from tests.startup.configurations import configured

Fetch = Callable[[Path], object]


class Downloading:
    """Stands for the boot's services: `hf download` is a function of this test, and `hf cache
    verify` says in turn what it is told to.
    """

    def __init__(self, download: Fetch, verdicts: Iterable[str] = ()) -> None:
        self.closing: Any = NoWait()
        self._download = download
        self._verdicts = iter(verdicts)
        self.downloads: list[list[str]] = []
        self.verified: list[list[str]] = []

    def run(self, name: str, argv: list[str], each: Callable[[], None] | None = None) -> None:
        if name == "hf" and "verify" in argv:
            self.verified.append(argv)
            output = next(self._verdicts, "")
            if output:
                raise Fatal("not the pinned files", "fix", output=output)
        elif name == "hf":
            self.downloads.append(argv)
            self._download(Path(argv[-1]))
            assert each
            each()


class NoWait:
    """An event that is not set and that nobody waits for."""

    def wait(self, _: float) -> bool:
        return False


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fetched(
    configuration: Configuration,
    services: Downloading | Fetch,
    clock: Callable[[], float] = lambda: 0.0,
) -> Path:
    if not isinstance(services, Downloading):
        services = Downloading(services)
    stand_in: Any = services
    return fetch(stand_in, configuration, Phases(clock))


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return configured(tmp_path)


@pytest.fixture
def target(configuration: Configuration) -> Path:
    return configuration.volume / "hf_cache" / f"allenai--olmOCR-2-7B-1025-FP8@{'0' * 40}"


def write_checkpoint(folder: Path) -> None:
    (folder / ".cache").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")


def test_a_download_is_renamed_into_place_when_complete(
    configuration: Configuration, target: Path
) -> None:
    assert fetched(configuration, write_checkpoint) == target
    assert (target / "config.json").is_file()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_complete_checkpoint_is_neither_fetched_nor_touched(
    configuration: Configuration, target: Path
) -> None:
    write_checkpoint(target)
    before = target.stat()
    assert fetched(configuration, lambda _: pytest.fail("downloaded")) == target
    assert target.stat() == before


def test_a_checkpoint_without_a_manifest_has_the_weights_that_its_index_names(
    configuration: Configuration, target: Path
) -> None:
    write_checkpoint(target)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    (target / "model-1.safetensors").touch()

    def download(folder: Path) -> None:
        (folder / "model-2.safetensors").touch()

    services = Downloading(download)
    fetched(configuration, services)
    assert len(services.downloads) == 1
    fetched(configuration, lambda _: pytest.fail("downloaded"))


def test_a_download_that_cannot_get_its_name_ends_the_boot(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("stale file handle")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(Fatal, match="cannot be put into its place"):
        fetched(configuration, write_checkpoint)


def test_of_two_pods_that_download_at_once_the_first_wins(
    configuration: Configuration, target: Path
) -> None:
    def download_twice(incoming: Path) -> None:
        write_checkpoint(incoming)
        write_checkpoint(target)
        (target / "config.json").write_text("the other's")

    fetched(configuration, download_twice)
    assert (target / "config.json").read_text() == "the other's"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_leftovers_of_dead_downloads_go_but_not_those_of_a_living_pod(
    configuration: Configuration, target: Path
) -> None:
    for name, age in (("other-1", 60), ("other-2", 90_000)):
        folder = target.parent / f".incoming-{name}"
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)
    fetched(configuration, write_checkpoint)
    assert sorted(path.name for path in target.parent.glob(".incoming-*")) == [".incoming-other-1"]


def test_a_container_that_is_started_again_goes_on_with_its_download(
    configuration: Configuration, target: Path
) -> None:
    def die(incoming: Path) -> None:
        incoming.mkdir(exist_ok=True)
        (incoming / "first.safetensors").write_text("whole")
        raise Fatal("killed", "fix")

    with pytest.raises(Fatal):
        fetched(configuration, die)
    fetched(configuration, write_checkpoint)
    assert (target / "first.safetensors").read_text() == "whole"


def test_progress_is_told_while_it_downloads(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched(configuration, write_checkpoint)
    told = "podkit: phase=fetch event=progress t=0.0 bytes=2 total=10060960890\n"
    assert told in capsys.readouterr().out


class Sleepy(Downloading):
    """A download that goes on for so many looks, 5 seconds apart, with a byte more at some."""

    def __init__(self, clock: Clock, looks: int, grows: Callable[[int], bool]) -> None:
        super().__init__(write_checkpoint)
        self._clock = clock
        self._looks = looks
        self._grows = grows

    def run(self, name: str, argv: list[str], each: Callable[[], None] | None = None) -> None:
        super().run(name, argv, each)
        if each and "download" in argv:
            for look in range(self._looks):
                self._clock.now += 5
                if self._grows(look):
                    with open(Path(argv[-1], "weights"), "ab") as file:
                        file.write(b"x")
                each()


def test_a_download_that_stands_still_for_two_minutes_goes_on_without_xet(
    configuration: Configuration, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    services = Sleepy(clock, looks=24, grows=lambda _: len(services.downloads) > 1)
    assert fetched(configuration, services, clock) == target
    first, second = services.downloads
    assert first[-1] == second[-1]  # the same folder: what is there is kept
    assert "HF_HUB_DISABLE_XET=1" not in first
    assert second[:2] == ["/usr/bin/env", "HF_HUB_DISABLE_XET=1"]
    assert second[2:] == first
    assert "the download stood still for 120 s, attempt 1" in capsys.readouterr().out


def test_a_slow_download_is_let_be(configuration: Configuration) -> None:
    clock = Clock()
    services = Sleepy(clock, looks=100, grows=lambda look: look % 23 == 22)
    fetched(configuration, services, clock)
    assert len(services.downloads) == 1


def test_a_download_that_never_moves_is_fatal_after_three_attempts(
    configuration: Configuration,
) -> None:
    clock = Clock()
    services = Sleepy(clock, looks=24, grows=lambda _: False)
    with pytest.raises(Fatal, match="did not arrive whole in 3 attempts"):
        fetched(configuration, services, clock)
    assert len(services.downloads) == 3


WRONG = """Checksum verification failed for the following file(s):
  - model-1.safetensors: expected aa11 (sha256), got bb22
  - ../outside: expected aa11 (git-sha1), got bb22"""


def test_only_a_file_that_is_not_the_pinned_one_is_fetched_again(
    configuration: Configuration, target: Path
) -> None:
    seen = []

    def download(incoming: Path) -> None:
        seen.append(sorted(path.name for path in incoming.glob("*.safetensors")))
        write_checkpoint(incoming)
        (incoming / "model-1.safetensors").touch()
        (incoming / "model-2.safetensors").touch()
        (incoming.parent / "outside").touch()

    services = Downloading(download, verdicts=[WRONG])
    fetched(configuration, services)
    assert seen == [[], ["model-2.safetensors"]]
    assert len(services.verified) == 2
    assert services.verified[0][-6:] == [
        "allenai/olmOCR-2-7B-1025-FP8",
        "--revision",
        "0" * 40,
        "--local-dir",
        services.downloads[0][-1],
        "--fail-on-missing-files",
    ]
    assert (target.parent / "outside").exists()


def test_nothing_gets_its_name_before_it_is_verified(
    configuration: Configuration, target: Path
) -> None:
    with pytest.raises(Fatal, match="did not arrive whole"):
        fetched(configuration, Downloading(write_checkpoint, verdicts=[WRONG] * 3))
    assert not target.exists()


def test_a_reason_that_a_second_attempt_does_not_change_ends_the_first(
    configuration: Configuration,
) -> None:
    services = Downloading(write_checkpoint, verdicts=["Error: Access denied."])
    with pytest.raises(Fatal, match="not the pinned files"):
        fetched(configuration, services)
    assert len(services.downloads) == 1


def test_a_damaged_checkpoint_is_set_aside_and_only_the_last_such_is_kept(
    target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("first", "second"):
        write_checkpoint(target)
        (target / "config.json").write_text(text)
        set_aside(target)
    assert [path.name for path in target.parent.iterdir()] == [f"damaged-{target.name}"]
    assert (target.parent / f"damaged-{target.name}" / "config.json").read_text() == "second"
    assert "vLLM cannot read" in capsys.readouterr().out
