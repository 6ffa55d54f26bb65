"""Whole runs of start.sh as a process: what is survived, what is fatal, and that the pod is ended
each time.
"""

import base64
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress

import psutil
import pytest

from tests.pod_processes import command_lines
from tests.startup.configurations import STARTUP
from tests.startup.local_pod import KEY, Platform, Pod, get
from tests.waiting import LONG, eventually

pytestmark = pytest.mark.slow
MODELS = sorted(path.stem.removeprefix("startup_") for path in STARTUP.glob("startup_*.sh"))
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc")


def unshare_works() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def zombies_below(process: psutil.Process) -> list[psutil.Process]:
    """Children of it that have ended and are not yet reaped."""
    zombies = []
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE:
                zombies.append(child)
    return zombies


@pytest.mark.parametrize("model", MODELS)
def test_each_model_boots_to_ready(pod: Pod, model: str) -> None:
    pod.env["PODKIT_MODEL"] = model
    log = pod.start().ready().log.read_text()
    done = re.findall(r"podkit: phase=(\S+) event=done t=\d+\.\d", log)
    assert done[0] == "check"
    assert set(done) == {"check", "install", "fetch", "webui", "load", "warm-up", "ready"}
    assert "podkit: watchdog armed idle=30 ends=off boot=5" in log
    assert [get(pod, "/v1/models"), get(pod, "/v1/models", KEY), get(pod, "/health")] == [
        401,
        200,
        200,
    ]
    line = json.loads((pod.volume / "podkit" / "boots.jsonl").read_text())
    assert line["model"] == model
    assert set(line["seconds"]) == set(done) - {"ready"}
    secrets = [
        pod.env[name]
        for name in ("PODKIT_API_KEY", "HF_TOKEN", "RUNPOD_API_KEY", "WEBUI_ADMIN_PASSWORD")
    ]
    assert not [secret for secret in secrets if secret in log]
    lines = command_lines(pod.find())
    assert not [secret for secret in secrets if secret in lines]
    webui = pod.find("page_server.py")[0].environ()
    assert not {"HF_TOKEN", "RUNPOD_API_KEY", "STARTUP_B64", "WEBUI_ADMIN_PASSWORD"} & set(webui)
    vllm = pod.find("shims.vllm")[0].environ()
    assert not {
        "HF_TOKEN",
        "RUNPOD_API_KEY",
        "STARTUP_B64",
        "WEBUI_ADMIN_PASSWORD",
        "WEBUI_SECRET_KEY",
    } & set(vllm)


def test_sigterm_ends_everything_within_10_seconds_and_saves_the_chats_first(
    pod: Pod, platform: Platform
) -> None:
    pod.start().ready()
    begin = time.monotonic()
    assert pod.stop() == 143
    assert time.monotonic() - begin < 10
    assert list((pod.volume / "podkit/open-webui/qwen3vl").glob("20*/webui.db"))
    assert not pod.find("shims")
    assert not platform.calls  # the platform is stopping it already


def test_sigterm_during_a_boot_is_acted_on_at_once(pod: Pod) -> None:
    pod.program("uv", "#!/bin/bash\nsleep 60\n")
    pod.start().wait_for("phase=install event=start")
    begin = time.monotonic()
    assert pod.stop() == 143
    assert time.monotonic() - begin < 10  # start.sh kills a boot only after 10 seconds


@pytest.mark.skipif(not unshare_works(), reason="unshare is not allowed here")
def test_as_a_real_process_1_it_reaps_orphans_and_acts_on_sigterm(pod: Pod) -> None:
    pod.start(*UNSHARE).ready()
    assert pod.process
    first = psutil.Process(pod.process.pid).children()[0]
    orphans = "import os\nfor _ in range(5):\n    if os.fork() == 0:\n"
    orphans += "        os.setsid(); os.fork() or os._exit(0)\n        os._exit(0)\n"
    enter = ["nsenter", "-t", str(first.pid), "-p", "-m", "python3", "-c", orphans]
    subprocess.run(enter, check=True)
    pod.find("shims.vllm")[0].kill()
    pod.wait_for("vllm died, start 1 of 3")
    eventually(lambda: not zombies_below(first))
    first.send_signal(signal.SIGTERM)
    assert pod.process.wait(LONG) == 143
    assert not pod.find()


@pytest.mark.parametrize(("words", "name"), [("shims.vllm", "vllm"), ("page_server.py", "webui")])
def test_a_killed_service_is_started_again(pod: Pod, words: str, name: str) -> None:
    pod.start().ready()
    old = pod.find(words)[0]
    old.kill()
    pod.wait_for(f"podkit: {name} died, start 1 of 3 again in 2 s: {name} died with status -9")
    eventually(lambda: pod.find(words, "serve"))
    assert pod.find(words)[0].pid != old.pid


def test_a_killed_watchdog_is_reported_and_ends_the_pod(pod: Pod) -> None:
    pod.start().ready()
    pod.find("watchdog.py")[0].kill()
    assert "podkit: fatal step=start reason=the watchdog died fix=" in pod.ended()
    assert not pod.find("shims")


def test_a_killed_boot_is_reported_and_ends_the_pod(pod: Pod) -> None:
    pod.start().ready()
    pod.find("-m boot")[0].kill()
    assert (
        "podkit: fatal step=start reason=the script of model 'qwen3vl' ended with status 137 fix="
        in pod.ended()
    )


def test_a_watchdog_that_refuses_its_limits_ends_the_pod(pod: Pod) -> None:
    pod.env["PODKIT_IDLE_MINUTES"] = "soon"
    log = pod.start().ended()
    assert "podkit: fatal step=start reason=the watchdog died" in log
    assert not pod.find("shims")


REAL = {
    "index": "error: Request failed after 3 retries in 7.7s\\n  cause: Failed to fetch: https://index/simple/",
    "vllm": "ValueError: Free memory on device is less than desired GPU memory utilization",
}


@pytest.mark.parametrize(
    ("env", "step", "reason"),
    [
        ({"PODKIT_SANDBOX_HF_ERROR": "token"}, "fetch", "Hugging Face refuses HF_TOKEN"),
        ({"PODKIT_SANDBOX_HF_ERROR": "gated"}, "fetch", "the model is gated"),
        ({"PODKIT_SANDBOX_HF_ERROR": "missing"}, "fetch", "the checkpoint is unknown"),
        ({"PODKIT_SANDBOX_HF_ERROR": "disk"}, "fetch", "the disk or the volume is full"),
        ({"PODKIT_SANDBOX_CUDA": "12.8"}, "check", "the driver's CUDA is too old: 12.8"),
        (
            {"PODKIT_SANDBOX_GPU_MIB": "12000"},
            "check",
            "NVIDIA L40S: 12000 MiB of GPU memory are too few",
        ),
        ({"PODKIT_MIN_FREE_GIB": "1000000"}, "check", "GiB free on the local disk, 1e+06 needed"),
        ({"RUNPOD_VOLUME_ID": ""}, "check", "no network volume at"),
        (
            {"WEBUI_ADMIN_PASSWORD": "x" * 73},
            "check",
            "WEBUI_ADMIN_PASSWORD is longer than bcrypt's 72 bytes",
        ),
        ({"PODKIT_MODEL": "gpt5"}, "start", "the script of model 'gpt5' ended with status 127"),
        ({"STARTUP_B64": "not base64!"}, "start", "STARTUP_B64 cannot be unpacked"),
        (
            {"STARTUP_B64": base64.b64encode(b"no archive").decode()},
            "start",
            "STARTUP_B64 cannot be unpacked",
        ),
    ],
)
def test_each_failure_has_one_line_and_ends_the_pod(
    pod: Pod, platform: Platform, env: dict[str, str], step: str, reason: str
) -> None:
    pod.env.update(env)
    log = pod.start().ended()
    assert re.findall(r"podkit: fatal step=(\w+) reason=(.*) fix=.+", log)[0][0] == step
    assert f"podkit: fatal step={step} reason={reason}" in log or reason in log
    assert log.count("podkit: fatal") == 1
    assert platform.calls[0] == ("POST", "/v2/pods/pod1/action", "terminate")
    assert platform.headers[0]["User-Agent"] == "podkit-pod/1"
    assert platform.headers[0]["Authorization"] == "Bearer rp_secret"


@pytest.mark.parametrize(
    ("venv", "program", "text", "line"),
    [
        (
            "venv-vllm",
            "vllm",
            f"echo '{REAL['vllm']}'; exit 1",
            "step=load reason=out of GPU memory",
        ),
        (
            "venv-vllm",
            "vllm",
            "echo Killed; kill -9 $$",
            "step=load reason=vllm died with status -9: Killed",
        ),
        (
            "venv-webui",
            "python",
            "echo boom; exit 3",
            "step=webui reason=webui died with status 3: boom",
        ),
    ],
)
def test_a_program_that_dies_in_the_boot_ends_the_pod(
    pod: Pod, venv: str, program: str, text: str, line: str
) -> None:
    pod.instead_of(venv, program, text)
    log = pod.start().ended()
    assert f"podkit: fatal {line}" in log
    assert not pod.find("shims")


def test_weights_that_arrive_damaged_are_fetched_again(pod: Pod) -> None:
    pod.env["PODKIT_SANDBOX_HF_ERROR"] = "damaged"
    log = pod.start().ready().log.read_text()
    assert "podkit: the checkpoint's files are not those of the pinned revision, attempt 1" in log
    weights = list(pod.volume.glob("hf_cache/*/model.safetensors"))
    assert [path.read_bytes() for path in weights] == [bytes(8192)]


def test_weights_that_vllm_cannot_read_are_set_aside_and_fetched_again(pod: Pod) -> None:
    text = "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"
    vllm = shlex.quote(f"{pod.root}/shims/venv/vllm")
    script = f"[[ -e $2/model.safetensors ]] && exec {vllm} \"$@\"; echo '{text}'; exit 1"
    pod.instead_of("venv-vllm", "vllm", script)
    broken = (
        pod.volume
        / "hf_cache"
        / ("Qwen--Qwen3-VL-8B-Instruct-FP8@9cdc6310a8cb770ce18efaf4e9935334512aee45")
    )
    broken.mkdir(parents=True)
    (broken / "config.json").write_text("{}")
    log = pod.start().ready().log.read_text()
    assert f"vLLM cannot read {broken.name}: it is damaged-{broken.name} now" in log
    assert (broken / "model.safetensors").is_file()
    assert not (broken.with_name(f"damaged-{broken.name}") / "model.safetensors").exists()


def test_an_unreachable_package_index_ends_the_pod(pod: Pod) -> None:
    pod.program(
        "uv", f'#!/bin/bash\n[[ $1 == venv ]] || {{ printf "{REAL["index"]}\\n" >&2; exit 2; }}\n'
    )
    assert (
        "podkit: fatal step=install reason=the package index cannot be reached"
        in pod.start().ended()
    )


def test_a_taken_port_ends_the_pod(pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", int(pod.env["PODKIT_API_PORT"]))):
        assert "podkit: fatal step=load reason=the port is taken fix=" in pod.start().ended()


def test_a_read_only_volume_ends_the_pod(pod: Pod) -> None:
    (pod.volume / "podkit").write_text("in the way")
    assert (
        "podkit: fatal step=check reason=the network volume cannot be written"
        in pod.start().ended()
    )


def test_chats_outlive_the_pod_and_a_changed_login_takes_effect(pod: Pod) -> None:
    pod.start().ready()
    assert pod.stop() == 143
    pod.env.update(
        WEBUI_ADMIN_EMAIL="boss@podkit.local",
        WEBUI_ADMIN_PASSWORD="another one",
        RUNPOD_POD_ID="pod2",
    )
    shutil.rmtree(pod.local)
    pod.log.write_text("")
    log = pod.start().ready().log.read_text()
    assert "podkit: chats restored from 20" in log
    assert signs_in(pod, "boss@podkit.local", "another one") == 200
    assert signs_in(pod, "admin@podkit.local", "correct horse") == 400


def signs_in(pod: Pod, email: str, password: str) -> int:
    url = f"http://127.0.0.1:{pod.env['PODKIT_WEBUI_PORT']}/api/v1/auths/signin"
    body = json.dumps({"email": email, "password": password}).encode()
    try:
        return int(urllib.request.urlopen(urllib.request.Request(url, body), timeout=LONG).status)
    except urllib.error.HTTPError as error:
        return error.code
