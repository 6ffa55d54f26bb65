"""The stand-ins as a pod meets them: real processes, talked to over loopback."""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import openai
import psutil
import pytest
import requests

from podkit_sandbox.shims.ocr import Line, rows
from tests.pages import page, share

PNG, WORDS = page()
IMAGE = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"},
}
ASK = [{"role": "user", "content": [{"type": "text", "text": "What does it say?"}, IMAGE]}]
GUARD = """
class Guard:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and dict(scope["headers"]).get(b"authorization") != b"Bearer key":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            return await send({"type": "http.response.body"})
        await self.app(scope, receive, send)
"""


ROOT = Path(__file__).resolve().parents[2]
FAILURES = json.loads((ROOT / "startup/failures.json").read_text())
SERVE = ["serve", "model", "--served-model-name", "olmocr"]
INSTALL = ["pip", "install", "--python", "p", "vllm==1"]
DOWNLOAD = ["download", "some/model", "--revision", "abc", "--local-dir", "folder"]


def shim(name: str, *args: object) -> list[str]:
    return [sys.executable, "-m", f"podkit_sandbox.shims.{name}", *map(str, args)]


def run(name: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shim(name, *args), check=False, env=os.environ | env, capture_output=True, text=True
    )


@contextmanager
def serving(name: str, *args: object, **env: str) -> Iterator[tuple[str, int]]:
    """Runs a server on a free port; yields its URL, once it answers, and its process id."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = shim(name, "serve", *args, "--host", "0.0.0.0", "--port", port)
    with subprocess.Popen(command, env=os.environ | env) as process:
        try:
            while process.poll() is None:
                try:
                    requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "a model"
    run(
        "hf", "download", "some/model", "--revision", "abc", "--local-dir", folder
    ).check_returncode()
    return folder


@pytest.fixture(scope="module")
def url(checkpoint: Path) -> Iterator[str]:
    (checkpoint.parent / "guarding.py").write_text(GUARD)
    flags = ["--served-model-name", "olmocr", "allenai/olmOCR", "--middleware", "guarding.Guard"]
    flags += ["--limit-mm-per-prompt", '{"image":1,"video":0}', "--max-model-len", "16384"]
    with serving("vllm", checkpoint, *flags, PYTHONPATH=str(checkpoint.parent)) as (url, _):
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0)


def get(url: str, token: str = "") -> requests.Response:
    return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=20)


def post(url: str, body: object, token: str = "") -> requests.Response:
    return requests.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=20)


def metric(url: str, name: str) -> float:
    text = get(f"{url}/metrics", "key").text
    return sum(
        float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"vllm:{name}{{")
    )


def test_a_pages_words_come_back_in_the_form_that_the_olmocr_toolkit_parses(
    client: openai.OpenAI,
) -> None:
    answer = client.chat.completions.create(model="olmocr", messages=ASK)
    empty, front, text = (answer.choices[0].message.content or "").split("---\n", 2)
    keys = [line.split(": ")[0] for line in front.splitlines()]
    assert keys == [
        "primary_language",
        "is_rotation_valid",
        "rotation_correction",
        "is_table",
        "is_diagram",
    ]
    assert empty == ""
    assert share(WORDS, text) >= 0.95
    assert text.splitlines()[-1] == "Total 298,6 1,7 %"
    assert answer.system_fingerprint == "podkit-sandbox"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_brings_the_same_words_in_many_events_and_then_the_usage(
    client: openai.OpenAI,
) -> None:
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model="olmocr", messages=ASK, stream=True, stream_options=options
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert share(WORDS, text) >= 0.95
    assert len(chunks) > 50
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens > 50


def test_the_counters_move_with_a_completion_and_the_server_answers_meanwhile(
    client: openai.OpenAI, url: str
) -> None:
    names = ("request_success_total", "prompt_tokens_total", "generation_tokens_total")
    before = [metric(url, name) for name in names]
    seen = []
    with ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(client.chat.completions.create, model="olmocr", messages=ASK)
            for _ in range(2)
        ]
        while not all(each.done() for each in asked):
            seen.append(metric(url, "num_requests_running"))
    assert 2 in seen
    assert [metric(url, name) for name in names] > before
    assert metric(url, "num_requests_running") == metric(url, "num_requests_waiting") == 0


def test_a_question_without_an_image_is_answered_by_one_who_says_what_it_is(
    client: openai.OpenAI,
) -> None:
    asked = [{"role": "user", "content": "Who are you?"}]
    text = client.chat.completions.create(model="olmocr", messages=asked).choices[0].message.content
    assert "stand-in" in text
    assert "Who are you?" in text


def test_every_served_name_is_listed_and_the_middleware_of_the_command_line_guards(
    client: openai.OpenAI, url: str
) -> None:
    assert [model.id for model in client.models.list()] == ["olmocr", "allenai/olmOCR"]
    assert get(f"{url}/version").status_code == 401
    assert get(f"{url}/version", "key").json() == {"version": "0.32.0"}
    counted = post(f"{url}/tokenize", {"prompt": "two words"}, "key").json()
    assert (counted["count"], len(counted["tokens"]), counted["max_model_len"]) == (2, 2, 16384)


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        (
            {"model": "gpt-4", "messages": []},
            404,
            "NotFoundError",
            "The model `gpt-4` does not exist.",
        ),
        (
            {"messages": ASK, "tools": [{}]},
            400,
            "BadRequestError",
            '"auto" tool choice requires --enable-auto',
        ),
        (
            {"messages": ASK * 2},
            400,
            "BadRequestError",
            "At most 1 image(s) may be provided in one prompt.",
        ),
        ({"model": "olmocr"}, 400, "BadRequestError", "messages"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [IMAGE | {"image_url": {"url": "data:image/png;base64,AAAA"}}],
                    }
                ]
            },
            400,
            "BadRequestError",
            "Failed to load image",
        ),
    ],
)
def test_what_vllm_refuses_is_refused_in_its_words(
    url: str, body: object, status: int, kind: str, message: str
) -> None:
    answer = post(f"{url}/v1/chat/completions", body, "key")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"], error["param"]) == (
        status,
        status,
        kind,
        None,
    )
    assert message in error["message"]


def test_vllm_does_not_start_with_an_unknown_flag_or_a_broken_json_or_on_a_taken_port() -> None:
    assert run("vllm", *SERVE, "--no-such-flag").returncode == 2
    assert run("vllm", *SERVE, "--limit-mm-per-prompt", "{image:1}").returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = run("vllm", *SERVE, "--port", taken.getsockname()[1])
    assert refused.returncode != 0
    assert "address already in use" in refused.stderr


@pytest.mark.parametrize(
    ("name", "command", "error", "reason"),
    [
        ("vllm", SERVE, "oom", "out of GPU memory"),
        ("vllm", SERVE, "port", "the port is taken"),
        ("uv", INSTALL, "index", "the package index cannot be reached"),
        ("uv", INSTALL, "disk", "the disk or the volume is full"),
        ("hf", DOWNLOAD, "disk", "the disk or the volume is full"),
        ("hf", DOWNLOAD, "quota", "the network volume's quota is used up"),
        ("hf", DOWNLOAD, "gated", "the model is gated and HF_TOKEN has no access to it"),
        ("hf", DOWNLOAD, "token", "Hugging Face refuses HF_TOKEN"),
        (
            "hf",
            DOWNLOAD,
            "missing",
            "the checkpoint is unknown, or private and HF_TOKEN cannot see it",
        ),
    ],
)
def test_a_failure_on_request_has_a_text_that_a_pod_knows(
    name: str, command: list[str], error: str, reason: str
) -> None:
    done = run(name, *command, **{f"PODKIT_SANDBOX_{name.upper()}_ERROR": error})
    assert done.returncode == 1
    table = [*FAILURES[name], *FAILURES["any"]]
    known = [each["reason"] for each in table if re.search(each["pattern"], done.stderr)]
    assert known[0] == reason


def test_vllm_dies_on_request_once_it_has_answered() -> None:
    asked = {"messages": [{"role": "user", "content": "Hello"}]}
    with serving("vllm", *SERVE[1:], PODKIT_SANDBOX_VLLM_ERROR="died") as (url, pid):
        process = psutil.Process(pid)
        assert post(f"{url}/v1/chat/completions", asked).status_code == 200
        assert process.wait(10) == 1


def test_two_columns_are_read_one_after_the_other_and_a_table_row_by_row() -> None:
    def line(text: str, x: float, y: float, width: float) -> Line:
        return Line(x, x + width, y, 20, text)

    columns = [
        line(f"{side}{n}", x, 100 + 30 * n, 380)
        for n in range(4)
        for side, x in (("l", 50), ("r", 530))
    ]
    title, foot = line("title", 100, 50, 700), line("foot", 300, 400, 400)
    assert " ".join(rows([*columns, foot, title], 500)) == "title l0 l1 l2 l3 r0 r1 r2 r3 foot"
    table = [
        line(f"{n}{x}", 100 + 500 * x, 100 + 30 * n + x, 80) for n in range(5) for x in range(2)
    ]
    assert rows(table, 500) == ["00 01", "10 11", "20 21", "30 31", "40 41"]


def test_a_download_writes_a_checkpoint_that_says_what_it_is(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    assert config == {
        "model_type": "podkit-sandbox",
        "stand_in_for": "some/model",
        "revision": "abc",
    }


def test_uv_makes_folders_of_wrappers_with_the_commands_of_what_is_installed(
    tmp_path: Path,
) -> None:
    wrappers = tmp_path / "shims/venv"
    wrappers.mkdir(parents=True)
    for name in ("vllm", "hf", "open-webui"):
        (wrappers / name).write_text("#!/bin/sh\n")
    venv = tmp_path / "it's a venv"
    python = venv / "bin/python"
    run("uv", "venv", "--no-python-downloads", "--python", "3.12", venv).check_returncode()
    for package in ("huggingface-hub==2.4.0", "open-webui==0.12.4", "vllm==0.32.0"):
        install = ["pip", "install", "--python", python, "--compile-bytecode", package]
        run("uv", *install, PODKIT_SHIMS=str(tmp_path / "shims")).check_returncode()
    assert sorted(path.name for path in python.parent.iterdir()) == [
        "hf",
        "open-webui",
        "python",
        "vllm",
    ]
    assert run("uv", "sync").returncode == 2


def test_uv_leaves_the_web_uis_venv_to_the_real_uv_when_told_so(tmp_path: Path) -> None:
    real = tmp_path / "real uv"
    real.write_text('#!/bin/sh\necho real "$@"\n')
    real.chmod(0o755)
    env = {"PODKIT_REAL_WEBUI": "1", "PODKIT_REAL_UV": str(real)}
    assert (
        run("uv", "venv", tmp_path / "venv-webui", **env).stdout
        == f"real venv {tmp_path}/venv-webui\n"
    )
    install = [
        "pip",
        "install",
        "--python",
        f"{tmp_path}/venv-webui/bin/python",
        "open-webui==0.12.4",
    ]
    assert run("uv", *install, **env).stdout.startswith("real pip install")
    run("uv", "venv", tmp_path / "venv-vllm", **env)
    assert (tmp_path / "venv-vllm/bin/python").exists()


def test_the_gpu_is_the_one_that_the_environment_names() -> None:
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    assert run("nvidia_smi", *query).stdout == "NVIDIA L40S, 46068, 580.95.05\n"
    assert "CUDA Version: 12.8 " in run("nvidia_smi", PODKIT_SANDBOX_CUDA="12.8").stdout
    a100 = {"PODKIT_SANDBOX_GPU": "NVIDIA A100 80GB PCIe", "PODKIT_SANDBOX_GPU_MIB": "81920"}
    assert run("nvidia_smi", *query, **a100).stdout.startswith("NVIDIA A100 80GB PCIe, 81920,")
    assert [run("cc", *args).returncode for args in (["--version"], ["a.c"])] == [0, 1]


def admin(folder: Path, password: str) -> dict[str, str]:
    login = {"WEBUI_ADMIN_EMAIL": "a@b.c", "WEBUI_ADMIN_PASSWORD": password}
    (folder / "webui-data").mkdir(exist_ok=True)
    return {"PODKIT_LOCAL": str(folder), "DATA_DIR": str(folder / "webui-data"), **login}


def signs_in(url: str, password: str) -> bool:
    answer = post(f"{url}/api/v1/auths/signin", {"email": "A@b.c", "password": password})
    assert (answer.status_code, "token" in answer.json()) in [(200, True), (400, False)]
    return answer.status_code == 200


def test_the_chat_page_lists_the_model_and_only_its_admin_signs_in(
    url: str, tmp_path: Path
) -> None:
    upstream = {"OPENAI_API_BASE_URLS": f"{url}/v1", "OPENAI_API_KEYS": "key"}
    with serving("open_webui", **admin(tmp_path, "right"), **upstream) as (webui, _):
        assert "stand-in" in get(webui).text
        assert "olmocr, allenai/olmOCR" in get(webui).text
        assert get(f"{webui}/api/config").json().get("onboarding") is not True
        assert post(f"{webui}/api/v1/auths/signup", {}).status_code == 403
        assert [signs_in(webui, password) for password in ("wrong", "right")] == [False, True]


def test_a_changed_password_is_ignored_until_it_is_written_as_a_pod_does(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/open-webui").touch()
    python = tmp_path / "venv-webui/bin/python"
    run("uv", "venv", tmp_path / "venv-webui").check_returncode()
    install = ["pip", "install", "--python", python, "open-webui==0.12.4"]
    run("uv", *install, PODKIT_SHIMS=str(tmp_path)).check_returncode()
    with serving("open_webui", **admin(tmp_path, "old")):
        pass
    with serving("open_webui", **admin(tmp_path, "new")) as (webui, _):
        assert (tmp_path / "webui-data/webui.db-wal").exists()
        assert [signs_in(webui, password) for password in ("old", "new")] == [True, False]
        change = [python, ROOT / "startup/page_login.py"]
        subprocess.run(change, check=True, env=os.environ | admin(tmp_path, "new"))
        assert [signs_in(webui, password) for password in ("old", "new")] == [False, True]


@pytest.mark.parametrize("name", ["vllm", "open_webui"])
def test_a_server_listens_on_loopback_only_though_it_is_asked_for_every_address(
    name: str, tmp_path: Path
) -> None:
    with serving(name, *(SERVE[1:] if name == "vllm" else []), **admin(tmp_path, "p")) as (_, pid):
        assert {each.laddr.ip for each in psutil.Process(pid).net_connections("tcp")} == {
            "127.0.0.1"
        }
