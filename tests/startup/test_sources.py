"""How the checkpoint gets onto the volume: whole or not at all, whatever else happens meanwhile."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boot.configuration import Configuration
from boot.phases import Phases
from boot.sources import fetch

from tests.startup.configurations import configured


class Downloading:
    """Stands for the boot's services: `hf` is a function of this test, everything else does
    nothing.
    """

    def __init__(self, download: Callable[[Path], object]) -> None:
        self._download = download

    def run(self, name: str, argv: list[str], each: Callable[[], None] | None = None) -> None:
        if name == "hf":
            self._download(Path(argv[-1]))
            assert each
            each()


def fetched(configuration: Configuration, download: Callable[[Path], object]) -> Path:
    services: Any = Downloading(download)
    moments = iter([0.0, 6.0])
    return fetch(services, configuration, Phases(lambda: next(moments)))


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return configured(tmp_path)


@pytest.fixture
def target(configuration: Configuration) -> Path:
    return configuration.volume / "hf_cache" / f"allenai--olmOCR-2-7B-1025-FP8@{'0' * 40}"


def write_checkpoint(folder: Path) -> None:
    (folder / ".cache").mkdir(parents=True)
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
    for name, age in (("other-1", 60), ("other-2", 90_000), ("pod1-3", 60)):
        folder = target.parent / f".incoming-{name}"
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)
    fetched(configuration, write_checkpoint)
    assert sorted(path.name for path in target.parent.glob(".incoming-*")) == [".incoming-other-1"]


def test_progress_is_told_while_it_downloads(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched(configuration, write_checkpoint)
    told = "podkit: phase=fetch event=progress t=6.0 bytes=2 total=10060960890\n"
    assert capsys.readouterr().out == told
