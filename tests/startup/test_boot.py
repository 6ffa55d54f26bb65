"""The steps of boot.py one by one: what each failure is called, what goes where, and what is never passed on."""

import os
import re
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import boot
import pytest
from boot import SETTINGS, Fatal, Service
from chats import Chats

STARTUP = Path(boot.__file__).parent
MODELS = sorted(STARTUP.glob("startup_*.sh"))

WHOLE = {
    "PODKIT_API_KEY": "key",
    "WEBUI_ADMIN_EMAIL": "admin@podkit.local",
    "WEBUI_ADMIN_PASSWORD": "p" * 72,
    "WEBUI_SECRET_KEY": "0f" * 32,
    "RUNPOD_API_KEY": "rp_secret",
    "HF_TOKEN": "hf_secret",
    "MODEL_REPO": "allenai/olmOCR-2-7B-1025-FP8",
    "MODEL_REVISION": "0" * 40,
    "MODEL_SERVED_NAMES": "olmocr allenai/olmOCR",
    "MODEL_MAX_LEN": "16384",
    "MODEL_GPU_UTILIZATION": "0.90",
    "MODEL_WEIGHTS_GIB": "9.37",
    "MODEL_KV_BYTES_PER_TOKEN": "57344",
    "MODEL_PROBE": "image",
    "MODEL_VLLM_FLAGS": '--mm-processor-kwargs {"max_pixels":1}',
    "PODKIT_MODEL": "olmocr",
}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WHOLE.items():
        monkeypatch.setitem(SETTINGS, name, value)
        monkeypatch.setenv(name, value)


def died(name: str, output: str, status: int = 1) -> Fatal:
    """What the death of a program with this output is called."""
    service = Service.__new__(Service)
    service.name, service.tail = name, deque(output.splitlines(keepends=True))
    service.process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"])
    service.process.wait()
    service.pump = boot.threading.Thread()
    service.pump.start()
    return service.failure()


# Texts of huggingface_hub 2.4.0, uv 0.13.8, vLLM 0.32.0 and torch 2.13.
TEXTS = [
    ("hf", "Error: Access denied. Model 'a/b' requires approval.", "gated"),
    ("hf", "Client error '401 Unauthorized' for url 'https://huggingface.co/api/models/a/b'\n\n"
     "Invalid credentials in Authorization header", "refuses HF_TOKEN"),
    ("hf", "\n\n403 Forbidden: None.\nCannot access content at: https://huggingface.co/a.", "refuses HF_TOKEN"),
    ("hf", "Error: Model 'a/b' not found.\nIf the repo is private, make sure you are authenticated and your token has "
     "the required permissions.", "the checkpoint is unknown"),
    ("hf", "Error: Revision not found in model 'a/b'.", "revision is unknown"),
    ("hf", "Error: Local entry not found. [Errno -2] Name or service not known", "Hugging Face cannot be reached"),
    ("hf", "OSError: [Errno 28] No space left on device", "the disk or the volume is full"),
    ("hf", "OSError: [Errno 122] Disk quota exceeded: '/workspace/hf_cache/x'", "quota is used up"),
    ("uv", "error: Request failed after 3 retries in 7.7s\n  cause: Failed to fetch: https://index/simple/six/\n"
     "  cause: tcp connect error", "the package index cannot be reached"),
    ("uv", "error: No solution found when resolving dependencies\n  cause: Because there is no version of six==99",
     "cannot be had any more"),
    ("uv", "error: No interpreter found for Python 3.11 in managed installations or search path", "neither Python"),
    ("uv", "error: Failed to write to the client cache\n  cause: failed to write to file `/x`: "
     "No space left on device (os error 28)", "the disk or the volume is full"),
    ("vllm", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\nRuntimeError: Engine core "
     "initialization failed.", "out of GPU memory"),
    ("vllm", "ValueError: Free memory on device cuda:0 (3.1/44.4 GiB) on startup is less than desired GPU memory "
     "utilization (0.9, 39.9 GiB).", "out of GPU memory"),
    ("vllm", "ValueError: To serve at least one request with the model's max seq len (32768), (4.5 GiB KV cache is "
     "needed, which is larger than the available KV cache memory (2.1 GiB).", "too little GPU memory for the context"),
    ("vllm", "ValueError: No available memory for the cache blocks. Try increasing", "too little GPU memory"),
    ("vllm", "RuntimeError: The NVIDIA driver on your system is too old (found version 12040).", "CUDA is too old"),
    ("vllm", "OSError: [Errno 98] Address already in use", "the port is taken"),
    ("webui", "ERROR: [Errno 98] error while attempting to bind on address: address already in use", "port is taken"),
    ("vllm", "INFO 401 Unauthorized\nINFO 404 Client Error\nSegmentation fault", "vllm died with status 1: Seg"),
    ("webui", "", "webui died with status 1:"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "output", "reason"), TEXTS)
def test_each_failure_has_a_reason_and_a_fix_of_its_own(
    program: str, output: str, reason: str
) -> None:
    fatal = died(program, output)
    assert reason in fatal.reason
    assert fatal.fix
    assert "\n" not in fatal.reason + fatal.fix


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("PODKIT_API_KEY", "", "PODKIT_API_KEY not set"),
        ("WEBUI_ADMIN_PASSWORD", "é" * 37, "72 bytes"),
    ],
)
def test_settings_that_would_fail_later_fail_at_once(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETTINGS, name, value)
    with pytest.raises(Fatal, match=reason):
        boot.check()


def nvidia_smi(monkeypatch: pytest.MonkeyPatch, header: str, mib: int = 46068) -> None:
    row = f"NVIDIA L40S, {mib}, 580.95.05\n"
    monkeypatch.setattr(
        boot.subprocess, "check_output", lambda argv, **_: row if argv[1:] else header
    )


@pytest.mark.parametrize(
    ("version", "reason"),
    [("CUDA Version: 12.8", "12.8, 13.0 is needed"), ("CUDA Version: N/A", "0, 13.0 is needed")],
)
def test_an_old_driver_is_refused(
    version: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(monkeypatch, version)
    with pytest.raises(Fatal, match=reason):
        boot.check_gpu()


@pytest.mark.parametrize(
    "header", ["CUDA Version: 13.0", "CUDA Version: 13.10", "CUDA UMD Version: 13.1"]
)
def test_a_new_driver_is_taken(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(monkeypatch, header)
    assert boot.check_gpu() == "NVIDIA L40S 580.95.05"


def test_a_pod_that_was_forced_goes_on_with_too_little_memory_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nvidia_smi(monkeypatch, "CUDA Version: 13.0", 8192)
    with pytest.raises(Fatal, match="8192 MiB of GPU memory are too few"):
        boot.check_gpu()
    monkeypatch.setitem(SETTINGS, "PODKIT_FORCE", "1")
    assert boot.check_gpu() == "NVIDIA L40S 580.95.05"
    assert (
        "8192 MiB of GPU memory are too few for this model; going on because of --force"
        in capsys.readouterr().out
    )


def exported(script: Path) -> dict[str, str]:
    printer = ["bash", "-c", 'exec() { env -0; }; . "$0"', str(script)]
    output = subprocess.run(printer, capture_output=True, text=True, check=True).stdout
    return dict(pair.split("=", 1) for pair in output.split("\0") if pair.startswith("MODEL_"))


@pytest.mark.parametrize("script", MODELS, ids=lambda path: path.stem)
def test_every_model_fits_every_gpu_of_the_default_list(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = exported(script)
    for name, value in values.items():
        monkeypatch.setitem(SETTINGS, name, value)
    for mib in (24564, 46068, 81920):
        nvidia_smi(monkeypatch, "CUDA Version: 13.0", mib)
        assert boot.check_gpu()
    nvidia_smi(monkeypatch, "CUDA Version: 13.0", 12 * 1024)
    with pytest.raises(Fatal, match="too few"):
        boot.check_gpu()


@pytest.mark.parametrize("script", MODELS, ids=lambda path: path.stem)
def test_a_model_script_holds_values_only(script: Path) -> None:
    values = exported(script)
    assert set(values) == {name for name in WHOLE if name.startswith("MODEL_")}
    assert re.fullmatch("[0-9a-f]{40}", values["MODEL_REVISION"])
    text = re.sub(
        r"^export MODEL_\w+=('[^']*'|\"[^\"$`]*\")$", "", script.read_text(), flags=re.MULTILINE
    )
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines == ["set -eu", 'exec python3 "$(dirname "$0")/boot.py"']


def test_the_command_line_has_no_secret() -> None:
    command = boot.vllm_command(Path("/workspace/a folder"))
    assert command[1:3] == ["serve", "/workspace/a folder"]
    assert command[-2:] == ["--mm-processor-kwargs", '{"max_pixels":1}']
    assert "key" not in command


def test_each_program_gets_only_the_secrets_it_needs() -> None:
    secrets = {"rp_secret", "hf_secret", "key", "p" * 72, "0f" * 32}
    got = {
        name: secrets & set(boot.environment(name).values())
        for name in ("uv", "hf", "vllm", "webui")
    }
    assert got == {
        "uv": set(),
        "hf": {"hf_secret"},
        "vllm": {"key"},
        "webui": {"key", "p" * 72, "0f" * 32},
    }
    assert "HF_TOKEN" not in boot.environment("webui")
    assert boot.environment("vllm")["PATH"].endswith(os.environ["PATH"])


def test_a_password_is_handed_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "WEBUI_ADMIN_PASSWORD", "#a=$HOME ${x} $$ é")
    assert boot.environment("webui")["WEBUI_ADMIN_PASSWORD"] == "#a=$HOME ${x} $$ é"


def downloading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, download: Any) -> Path:
    monkeypatch.setattr(boot, "VOLUME", tmp_path)
    monkeypatch.setattr(boot, "install", lambda *_: Path("/venv/bin"))
    monkeypatch.setattr(boot, "run", lambda name, argv, each: download(Path(argv[-1])))
    return tmp_path / "hf_cache" / f"allenai--olmOCR-2-7B-1025-FP8@{'0' * 40}"


def checkpoint(folder: Path) -> None:
    (folder / ".cache").mkdir(parents=True)
    (folder / "config.json").write_text("{}")


def test_a_download_is_renamed_into_place_when_complete(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = downloading(monkeypatch, tmp_path, checkpoint)
    assert boot.fetch() == target
    assert (target / "config.json").is_file()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_complete_checkpoint_is_neither_fetched_nor_touched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = downloading(monkeypatch, tmp_path, lambda _: pytest.fail("downloaded"))
    checkpoint(target)
    before = target.stat()
    assert boot.fetch() == target
    assert target.stat() == before


def test_of_two_pods_that_download_at_once_the_first_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def both(incoming: Path) -> None:
        checkpoint(incoming)
        checkpoint(target)
        (target / "config.json").write_text("the other's")

    target = downloading(monkeypatch, tmp_path, both)
    assert (boot.fetch() / "config.json").read_text() == "the other's"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_leftovers_of_dead_downloads_go_but_not_those_of_a_living_pod(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = downloading(monkeypatch, tmp_path, checkpoint)
    for name, age in (("other-1", 60), ("other-2", 90_000), (f"{boot.POD}-3", 60)):
        folder = target.parent / f".incoming-{name}"
        folder.mkdir(parents=True)
        os.utime(folder, (boot.time.time() - age,) * 2)
    boot.fetch()
    assert sorted(path.name for path in target.parent.glob(".incoming-*")) == [".incoming-other-1"]


def test_progress_is_told_while_it_downloads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = downloading(monkeypatch, tmp_path, checkpoint)
    monkeypatch.setattr(boot, "elapsed", lambda: 6.0)
    monkeypatch.setattr(boot, "run", lambda name, argv, each: checkpoint(Path(argv[-1])) or each())
    boot.download(target)
    assert (
        capsys.readouterr().out
        == "podkit: phase=fetch event=progress t=6.0 bytes=2 total=10060960890\n"
    )


def test_what_podkit_holds_on_the_volume_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boot, "VOLUME", tmp_path)
    monkeypatch.setitem(SETTINGS, "RUNPOD_VOLUME_ID", "vol1")
    for folder, gib in (("hf_cache/model", 1.5), ("podkit/cache", 0.25), ("someone else's", 3)):
        (tmp_path / folder).mkdir(parents=True)
        with open(tmp_path / folder / "file", "wb") as file:
            file.truncate(int(gib * 2**30))  # sparse
    (tmp_path / "hf_cache" / "gone").symlink_to("nowhere")
    boot.check_volume()
    assert capsys.readouterr().out == "podkit: volume used_gib=1.8\n"


def test_a_cache_is_published_whole_and_never_over_another(tmp_path: Path) -> None:
    local, shared = tmp_path / "local", tmp_path / "shared"
    boot.copy_cache(local, shared)
    assert not shared.exists()
    local.mkdir()
    (local / "compiled").write_text("first")
    boot.copy_cache(local, shared)
    (local / "compiled").write_text("second")
    boot.copy_cache(local, shared)
    assert (shared / "compiled").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["local", "shared"]


class Mortal:
    """A service that dies again and again."""

    name, starts = "vllm", 0
    process = subprocess.Popen(["true"])

    def failure(self, step: str) -> Fatal:
        return Fatal("vllm died", "fix", step)

    def stop(self, _: float) -> None: ...

    def start(self) -> None:
        self.starts += 1


def test_a_service_is_started_again_three_times_and_its_fourth_death_is_fatal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(boot.CLOSING, "wait", pauses.append)
    service: Any = Mortal()
    with pytest.raises(Fatal) as caught:
        boot.supervise(service)
    assert (pauses, service.starts, caught.value.step) == ([2, 10, 30], 3, "serve")


def test_stop_ends_the_whole_process_group() -> None:
    script = "sleep 60 & echo $!; exec sleep 60"
    service = Service("uv", ["bash", "-c", script])
    while not service.tail:
        boot.time.sleep(0.01)
    service.stop(1)
    service.pump.join(5)
    assert not service.pump.is_alive()  # the pipe is closed: nobody is left
    assert service.process.returncode == -signal.SIGTERM


class Restored(Chats):
    """Chats that are there already."""

    def __init__(self, data: Path) -> None:
        self.data, self.live = data, False

    def restore(self, now: float) -> None: ...


def webui_answers(
    monkeypatch: pytest.MonkeyPatch,
    signin: int = 200,
    config: str = '{"status":true}',
    signup: int = 403,
) -> list[str]:
    """What is done with an Open WebUI that answers so."""
    done: list[str] = []

    class Served:
        def __init__(self, name: str, argv: list[str]) -> None:
            done.append(" ".join(argv[2:]))

        def healthy(self, port: str) -> "Served":
            return self

        def stop(self, _: float) -> None:
            done.append("stop")

    def request(url: str, body: Any = None) -> tuple[int, str]:
        assert f":{SETTINGS['PODKIT_WEBUI_PORT']}/" not in url
        return {"signin": (signin, ""), "config": (200, config), "signup": (signup, "")}[
            url.rpartition("/")[2]
        ]

    monkeypatch.setattr(boot, "Service", Served)
    monkeypatch.setattr(boot, "request", request)
    monkeypatch.setattr(boot, "install", lambda *_: Path("/venv/bin"))
    monkeypatch.setattr(boot, "run", lambda name, argv: done.append(Path(argv[-1]).name))
    return done


def test_the_login_is_proven_on_a_port_of_its_own_before_the_public_one_opens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = webui_answers(monkeypatch)
    boot.serve_page(Restored(tmp_path))
    loopback, stop, public = done
    assert loopback.startswith("--host 127.0.0.1 --port ")
    assert loopback.split()[-1] != SETTINGS["PODKIT_WEBUI_PORT"]
    assert (stop, public) == ("stop", f"--host 0.0.0.0 --port {SETTINGS['PODKIT_WEBUI_PORT']}")


def test_the_login_is_written_into_a_restored_database_before_anything_serves_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = webui_answers(monkeypatch)
    (tmp_path / "webui.db").touch()
    boot.serve_page(Restored(tmp_path))
    assert done[0] == "chats.py"
    assert done[1].startswith("--host 127.0.0.1")


@pytest.mark.parametrize(
    ("signin", "config", "signup", "reason"),
    [
        (400, '{"status":true}', 403, "the admin cannot sign in"),
        (200, '{"status":true,"onboarding":true}', 403, "the first visitor could become admin"),
        (200, "", 403, "the first visitor could become admin"),
        (200, '{"status":true}', 200, "a stranger can sign up"),
        (200, '{"status":true}', 0, "a stranger can sign up"),
    ],
)
def test_open_webui_that_is_not_safe_is_ended_on_loopback(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    signin: int,
    config: str,
    signup: int,
    reason: str,
) -> None:
    done = webui_answers(monkeypatch, signin, config, signup)
    with pytest.raises(Fatal, match=reason):
        boot.serve_page(Restored(tmp_path))
    assert done[-1] == "stop"
    assert "0.0.0.0" not in "".join(done)


@pytest.mark.parametrize("name", ["vllm", "webui", "hf"])
def test_every_version_is_pinned(name: str) -> None:
    lines = (STARTUP / f"constraints-{name}.txt").read_text().splitlines()
    assert all(re.match(r"#|[a-z0-9-]+==\S+( ;.*)?$", line) for line in lines)


def test_only_the_standard_library_is_imported() -> None:
    ours = {path.stem for path in STARTUP.glob("*.py")}
    for path in STARTUP.glob("*.py"):
        found = set(re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
        assert found <= set(sys.stdlib_module_names) | ours
