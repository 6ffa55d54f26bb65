"""The checkpoint from an S3 bucket: the real program against a real server that breaks, and a pod
that boots without the Hub.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boot.configuration import Configuration
from boot.failures import Fatal
from boot.manifest import NAME, read_manifest
from boot.phases import Phases
from boot.sources import fetch

from podkit.s3 import Bucket
from tests.pod_processes import command_lines
from tests.s3.servers import (
    Door,
    Fault,
    Server,
    access,
    manifest_of,
    start_moto,
    start_s3rver,
)
from tests.startup.configurations import STARTUP, configured
from tests.startup.local_pod import Pod

pytestmark = pytest.mark.slow

REPO = "allenai/olmOCR-2-7B-1025-FP8"
REVISION = "0" * 40
FOLDER = f"allenai--olmOCR-2-7B-1025-FP8@{REVISION}"
FILES = {
    "config.json": b"{}",
    "model-1.safetensors": bytes(range(256)) * 80_000,
    "model-2.safetensors": b"weights",
    "sub/tokenizer.json": b"[]",
}
SECRETS = ("user_abc", "rps_def", "sts_ghi")


@pytest.fixture(scope="module")
def moto() -> Iterator[Server]:
    server, url = start_moto()
    yield Server(url)
    server.stop()


@pytest.fixture
def door(moto: Server) -> Iterator[Door]:
    """A bucket `models` with the whole checkpoint, behind a door that breaks as it is told."""
    moto.make_bucket("models")
    for name, content in FILES.items():
        moto.put("models", f"podkit/{FOLDER}/{name}", content)
    moto.put("models", f"podkit/{FOLDER}/{NAME}", manifest_of(FILES, REPO, REVISION))
    server = Door(moto.url)
    yield server
    server.shutdown()
    server.server_close()


def environment(door: Door) -> dict[str, str]:
    return {
        "PODKIT_MODEL_BUCKET": "s3://models/podkit",
        "PODKIT_S3_URL": door.url,
        "PODKIT_S3_ACCESS_KEY": SECRETS[0],
        "PODKIT_S3_SECRET_KEY": SECRETS[1],
        "PODKIT_S3_SESSION_TOKEN": SECRETS[2],
    }


class NoWait:
    """An event that is not set and that nobody waits for."""

    def wait(self, _: float) -> bool:
        return False


class Programs:
    """Runs fetch_s3.py for real; `hf download` writes what this test says."""

    def __init__(self, door: Door, hub: Callable[[Path], None] | None = None) -> None:
        self.closing: Any = NoWait()
        self._environment = environment(door)
        self._hub = hub
        self.ran: list[list[str]] = []

    def run(self, name: str, argv: list[str], each: Callable[[], None] | None = None) -> None:
        self.ran.append(argv)
        if name == "s3":
            # The pauses between attempts are for real servers.
            quick = "import runpy, sys, time; time.sleep = lambda _: None; sys.argv.pop(0); "
            quick += "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
            quick += "runpy.run_path(sys.argv[0], run_name='__main__')"
            ended = subprocess.run(
                [sys.executable, "-c", quick, *argv[1:]],
                env=self._environment,
                capture_output=True,
                text=True,
                check=False,
            )
            output = ended.stdout + ended.stderr
            assert not [secret for secret in SECRETS if secret in output + " ".join(argv)]
            if ended.returncode:
                last = output.strip().rpartition("\n")[2]
                raise Fatal(f"s3 died: {last}", "fix", output=output)
        elif name == "hf" and "download" in argv:
            if self._hub is None:
                raise Fatal("Hugging Face cannot be reached", "fix")
            self._hub(Path(argv[-1]))
        if each:
            each()


def fetched(configuration: Configuration, programs: Programs) -> tuple[Path, Phases]:
    stand_in: Any = programs
    phases = Phases(lambda: 0.0)
    return fetch(stand_in, configuration, phases), phases


def sourced(folder: Path, door: Door, sources: str) -> Configuration:
    return configured(folder, MODEL_SOURCES=sources, **environment(door))


def write_from_hub(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != NAME:
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def test_a_published_checkpoint_comes_whole_with_its_manifest_and_no_request_to_the_hub(
    tmp_path: Path, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = Programs(door)
    target, phases = fetched(sourced(tmp_path, door, "volume s3 hf"), programs)
    assert contents(target) == FILES
    assert read_manifest((target / NAME).read_bytes()).repo == REPO
    assert phases.source["name"] == "s3"
    assert not [argv for argv in programs.ran if "download" in argv]
    told = capsys.readouterr().out
    assert "podkit: source volume does not have" in told
    assert "podkit: source s3: 0.02 GB in 0.0 s at " in told


def test_the_first_source_that_has_it_wins(tmp_path: Path, door: Door) -> None:
    configuration = sourced(tmp_path, door, "volume s3 hf")
    target, _ = fetched(configuration, Programs(door))
    asked = len(door.asked)
    again, phases = fetched(configuration, Programs(door))
    assert (again, phases.source["name"], len(door.asked)) == (target, "volume", asked)


BREAKS = {
    "no manifest": Fault("GET", NAME, "404", times=99),
    "an empty manifest": Fault("GET", NAME, "empty", times=99),
    "a file is missing": Fault("GET", "model-2", "404", times=99),
    "resets in the middle of a file": Fault("GET", "model-1", "reset", times=999),
    "a wrong byte": Fault("GET", "model-1", "flip", times=99),
}


@pytest.mark.parametrize("fault", BREAKS.values(), ids=list(BREAKS))
def test_a_bucket_that_fails_is_followed_by_the_next_source_and_leaves_nothing(
    tmp_path: Path, door: Door, fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    door.faults.append(Fault(**vars(fault)))
    configuration = sourced(tmp_path, door, "volume s3 hf")
    target, phases = fetched(configuration, Programs(door, write_from_hub))
    assert phases.source["name"] == "hf"
    assert contents(target) == FILES
    assert [path.name for path in target.parent.iterdir()] == [FOLDER]
    assert read_manifest((target / NAME).read_bytes()).revision == REVISION
    assert "podkit: source s3 " in capsys.readouterr().out


@pytest.mark.parametrize("fault", BREAKS.values(), ids=list(BREAKS))
def test_if_no_source_has_it_the_boot_fails_and_there_is_no_half_folder(
    tmp_path: Path, door: Door, fault: Fault
) -> None:
    door.faults.append(Fault(**vars(fault)))
    configuration = sourced(tmp_path, door, "volume s3")
    with pytest.raises(Fatal, match=r"no source gave|in the bucket|manifest|the bucket"):
        fetched(configuration, Programs(door))
    assert not (configuration.volume / "hf_cache" / FOLDER).exists()


def test_a_wrong_byte_is_refused_and_the_file_is_named(tmp_path: Path, door: Door) -> None:
    door.faults.append(Fault("GET", "model-1", "flip"))
    with pytest.raises(Fatal, match=r"model-1\.safetensors in the bucket is not the file"):
        fetched(sourced(tmp_path, door, "s3"), Programs(door))


def test_a_fetch_goes_on_with_what_is_there_and_right(tmp_path: Path, door: Door) -> None:
    configuration = sourced(tmp_path, door, "s3")
    door.faults.append(Fault("GET", "model-2", "404"))
    with pytest.raises(Fatal):
        fetched(configuration, Programs(door))
    before = len(door.asked)
    target, _ = fetched(configuration, Programs(door))
    assert contents(target) == FILES
    assert not [one for one in door.asked[before:] if "model-1" in one.path]


def test_a_folder_that_is_not_whole_is_mended_and_says_so(
    tmp_path: Path, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = sourced(tmp_path, door, "volume s3")
    target, _ = fetched(configuration, Programs(door))
    (target / "model-2.safetensors").write_bytes(b"half")
    _, phases = fetched(configuration, Programs(door))
    assert phases.source["name"] == "s3"
    assert contents(target) == FILES
    assert "is not whole: model-2.safetensors" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a/../../evil", ".hidden", "a\nb", "", NAME]
)
def test_a_manifest_that_leads_out_of_the_folder_is_none(path: str) -> None:
    files = {"config.json": b"{}", path: b"x"}
    with pytest.raises(ValueError, match="no path of a checkpoint"):
        read_manifest(manifest_of(files, REPO, REVISION))


def test_the_manifest_of_another_model_is_refused(tmp_path: Path, door: Door, moto: Server) -> None:
    other = manifest_of(FILES, "somebody/else", REVISION)
    moto.put("models", f"podkit/{FOLDER}/{NAME}", other)
    with pytest.raises(Fatal, match="the manifest is of somebody/else"):
        fetched(sourced(tmp_path, door, "s3"), Programs(door))


def test_an_unknown_source_fails_before_anything_is_installed(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="MODEL_SOURCES is 'volume ftp'"):
        configured(tmp_path, MODEL_SOURCES="volume ftp")


def published(script: str) -> dict[str, bytes]:
    """The files of the checkpoint that a model's script pins, by their keys in the bucket."""
    repo = "Qwen/Qwen3-VL-8B-Instruct-FP8"
    for line in script.splitlines():
        if line.startswith("export MODEL_REVISION="):
            revision = line.split('"')[1]
    folder = f"podkit/{repo.replace('/', '--')}@{revision}"
    files = {f"{folder}/{name}": content for name, content in FILES.items()}
    return {**files, f"{folder}/{NAME}": manifest_of(FILES, repo, revision)}


def boot_from_bucket(pod: Pod, secrets: tuple[str, ...]) -> None:
    """Boots it; no request to the Hub; no secret in the log, in an argument, or in boots.jsonl."""
    script = (STARTUP / "startup_qwen3vl.sh").read_text()
    pod.uses_script(script.replace('MODEL_SOURCES="volume hf"', 'MODEL_SOURCES="s3"'))
    pod.start().ready()
    log = pod.log.read_text()
    boots = (pod.volume / "podkit/boots.jsonl").read_text()
    arguments = command_lines(pod.find())
    assert json.loads(boots)["source"]["name"] == "s3"
    assert not [secret for secret in secrets if secret in log + boots + arguments]
    assert "[hf]" not in log
    assert not list(pod.local.glob("venv-hf"))
    vllm = pod.find("shims.vllm")[0].environ()
    assert not [name for name in vllm if name.startswith("PODKIT_S3") and "KEY" in name]


def test_a_pod_boots_from_a_bucket_alone(pod: Pod, door: Door, moto: Server) -> None:
    for key, content in published((STARTUP / "startup_qwen3vl.sh").read_text()).items():
        moto.put("models", key, content)
    pod.env.update(environment(door))
    boot_from_bucket(pod, SECRETS)


def test_a_pod_boots_from_a_server_without_checksums(pod: Pod, tmp_path: Path) -> None:
    process, url = start_s3rver(tmp_path / "s3rver")
    try:
        bucket = Bucket(access(url, "S3RVER", "S3RVER"), "models")
        for key, content in published((STARTUP / "startup_qwen3vl.sh").read_text()).items():
            bucket.write(key, content)
        keys = {"PODKIT_S3_ACCESS_KEY": "S3RVER", "PODKIT_S3_SECRET_KEY": "S3RVER"}
        pod.env.update({"PODKIT_MODEL_BUCKET": "s3://models/podkit", "PODKIT_S3_URL": url, **keys})
        boot_from_bucket(pod, ("S3RVER",))
    finally:
        process.terminate()
        process.wait(10)
