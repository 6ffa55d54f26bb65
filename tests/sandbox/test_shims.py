"""The stand-ins as a pod meets them: real processes, talked to over loopback."""

import base64
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
import requests
from pages import page, share

from podkit_sandbox.shims.ocr import Line, reading_order

PNG, WORDS = page()
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}}
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


def shim(name: str, *args: object) -> list[str]:
    return [sys.executable, "-m", f"podkit_sandbox.shims.{name}", *map(str, args)]


def run(name: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(shim(name, *args), check=False, env=os.environ | env, capture_output=True, text=True)


@contextmanager
def serving(name: str, *args: object, **env: str) -> Iterator[str]:
    """Runs a server on a free port; yields its URL once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = shim(name, "serve", *args, "--host", "127.0.0.1", "--port", port)
    with subprocess.Popen(command, env=os.environ | env) as process:
        try:
            while process.poll() is None:
                try:
                    requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "a model"
    run("hf", "download", "some/model", "--revision", "abc", "--local-dir", folder).check_returncode()
    return folder


@pytest.fixture(scope="module")
def url(checkpoint: Path) -> Iterator[str]:
    (checkpoint.parent / "guarding.py").write_text(GUARD)
    flags = ["--served-model-name", "olmocr", "allenai/olmOCR", "--middleware", "guarding.Guard"]
    flags += ["--limit-mm-per-prompt", '{"image":1,"video":0}', "--max-model-len", "16384"]
    with serving("vllm", checkpoint, *flags, PYTHONPATH=str(checkpoint.parent)) as url:
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
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"vllm:{name}{{"))


def test_a_pages_words_come_back_in_the_form_that_the_olmocr_toolkit_parses(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="olmocr", messages=ASK)
    empty, front, text = (answer.choices[0].message.content or "").split("---\n", 2)
    keys = [line.split(": ")[0] for line in front.splitlines()]
    assert keys == ["primary_language", "is_rotation_valid", "rotation_correction", "is_table", "is_diagram"]
    assert empty == ""
    assert share(WORDS, text) >= 0.95
    assert text.splitlines()[-1] == "Total 298,6 1,7 %"
    assert answer.system_fingerprint == "podkit-sandbox"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 1000


def test_a_stream_brings_the_same_words_in_many_events_and_then_the_usage(client: openai.OpenAI) -> None:
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="olmocr", messages=ASK, stream=True, stream_options=options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert share(WORDS, text) >= 0.95
    assert len(chunks) > 50
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens > 50


def test_the_counters_move_with_a_completion_and_the_server_answers_meanwhile(client: openai.OpenAI, url: str) -> None:
    names = ("request_success_total", "prompt_tokens_total", "generation_tokens_total")
    before = [metric(url, name) for name in names]
    seen = []
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(client.chat.completions.create, model="olmocr", messages=ASK) for _ in range(2)]
        while not all(each.done() for each in asked):
            seen.append((metric(url, "num_requests_running"), metric(url, "num_requests_waiting")))
    assert (1, 1) in seen
    assert [metric(url, name) for name in names] > before
    assert metric(url, "num_requests_running") == metric(url, "num_requests_waiting") == 0


def test_a_question_without_an_image_is_answered_by_one_who_says_what_it_is(client: openai.OpenAI) -> None:
    asked = [{"role": "user", "content": "Who are you?"}]
    text = client.chat.completions.create(model="olmocr", messages=asked).choices[0].message.content
    assert "stand-in" in text
    assert "Who are you?" in text
    short = client.chat.completions.create(model="olmocr", messages=asked, max_tokens=3).choices[0]
    assert (short.finish_reason, short.message.content) == ("length", "This is the")


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
        ({"model": "gpt-4", "messages": []}, 404, "NotFoundError", "The model `gpt-4` does not exist."),
        ({"messages": ASK, "tools": [{}]}, 400, "BadRequestError", '"auto" tool choice requires --enable-auto'),
        ({"messages": ASK * 2}, 400, "BadRequestError", "At most 1 image(s) may be provided in one prompt."),
        ({"model": "olmocr"}, 400, "BadRequestError", "messages"),
        ([], 400, "BadRequestError", "valid dictionary"),
        (
            {"messages": [{"role": "user", "content": [IMAGE | {"image_url": {"url": "data:image/png;base64,AAAA"}}]}]},
            400,
            "BadRequestError",
            "Failed to load image: cannot identify image file",
        ),
    ],
)
def test_what_vllm_refuses_is_refused_in_its_words(
    url: str, body: object, status: int, kind: str, message: str
) -> None:
    answer = post(f"{url}/v1/chat/completions", body, "key")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"], error["param"]) == (status, status, kind, None)
    assert message in error["message"]


def test_vllm_does_not_start_with_an_unknown_flag_a_broken_json_an_empty_folder_or_a_taken_port(
    checkpoint: Path, tmp_path: Path
) -> None:
    assert run("vllm", "serve", checkpoint, "--no-such-flag").returncode == 2
    assert run("vllm", "serve", checkpoint, "--limit-mm-per-prompt", "{image:1}").returncode == 2
    empty = run("vllm", "serve", tmp_path, "--port", 0)
    assert empty.returncode == 1
    assert "Invalid repository ID or local directory" in empty.stderr
    with socket.create_server(("", 0)) as taken:
        refused = run("vllm", "serve", checkpoint, "--port", taken.getsockname()[1])
    assert refused.returncode == 1
    assert "Address already in use" in refused.stderr


def test_two_columns_are_read_one_after_the_other_and_a_table_row_by_row() -> None:
    def line(text: str, x: float, y: float, width: float) -> Line:
        return Line(y, 20, x, x + width, text)

    columns = [line(f"{side}{n}", x, 100 + 30 * n, 380) for n in range(4) for side, x in (("l", 50), ("r", 530))]
    title, foot = line("title", 100, 50, 700), line("foot", 300, 400, 400)
    assert " ".join(reading_order([*columns, foot, title], 1000)) == "title l0 l1 l2 l3 r0 r1 r2 r3 foot"
    table = [line(f"{n}{x}", 100 + 500 * x, 100 + 30 * n + x, 80) for n in range(5) for x in range(2)]
    assert reading_order(table, 1000) == ["00 01", "10 11", "20 21", "30 31", "40 41"]


def test_a_download_writes_a_checkpoint_that_says_what_it_is(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    assert config == {"model_type": "podkit-sandbox", "stand_in_for": "some/model", "revision": "abc"}
    raw = (checkpoint / "model.safetensors").read_bytes()
    header = int.from_bytes(raw[:8], "little")
    assert len(raw) == 8 + header + json.loads(raw[8 : 8 + header])["stand_in"]["data_offsets"][1]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("gated", "Access denied. Model 'some/model' requires approval."),
        ("token", "401 Unauthorized"),
        ("missing", "Model 'some/model' not found."),
        ("disk", "OSError: [Errno 28] No space left on device"),
    ],
)
def test_a_download_fails_on_request_in_the_words_of_the_real_command(tmp_path: Path, error: str, text: str) -> None:
    done = run("hf", "download", "some/model", "--local-dir", tmp_path / "m", PODKIT_SANDBOX_HF_ERROR=error)
    assert done.returncode == 1
    assert text in done.stderr
    assert not (tmp_path / "m").exists()


def test_uv_makes_folders_of_wrappers_with_the_commands_of_what_is_installed(tmp_path: Path) -> None:
    wrappers = tmp_path / "shims/venv"
    wrappers.mkdir(parents=True)
    for name in ("vllm", "hf", "open-webui"):
        (wrappers / name).write_text("#!/bin/sh\n")
    venv = tmp_path / "it's a venv"
    python = venv / "bin/python"
    run("uv", "venv", "--no-python-downloads", "--python", "3.12", venv).check_returncode()
    packages = ["huggingface_hub==1.2.3", "open-webui==0.12.4", "six==1.17.0"]
    install = ["pip", "install", "--python", python, "--compile-bytecode"]
    run("uv", *install, *packages, PODKIT_SHIMS=str(tmp_path / "shims")).check_returncode()
    assert sorted(path.name for path in python.parent.iterdir()) == ["hf", "open-webui", "python"]
    assert run("uv", "sync").returncode == 2


def test_uv_leaves_the_web_uis_venv_to_the_real_uv_when_told_so(tmp_path: Path) -> None:
    real = tmp_path / "real uv"
    real.write_text('#!/bin/sh\necho real "$@"\n')
    real.chmod(0o755)
    env = {"PODKIT_REAL_WEBUI": "1", "PODKIT_REAL_UV": str(real)}
    assert run("uv", "venv", tmp_path / "venv-webui", **env).stdout == f"real venv {tmp_path}/venv-webui\n"
    install = ["pip", "install", "--python", f"{tmp_path}/venv-webui/bin/python", "open-webui==0.12.4"]
    assert run("uv", *install, **env).stdout.startswith("real pip install")
    run("uv", "venv", tmp_path / "venv-vllm", **env)
    assert (tmp_path / "venv-vllm/bin/python").exists()


def test_the_gpu_is_the_one_that_the_environment_names() -> None:
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    assert run("nvidia_smi", *query).stdout == "NVIDIA L40S, 46068, 580.95.05\n"
    assert "CUDA Version: 12.8 " in run("nvidia_smi", PODKIT_SANDBOX_CUDA="12.8").stdout
    a100 = {"PODKIT_SANDBOX_GPU": "NVIDIA A100 80GB PCIe", "PODKIT_SANDBOX_GPU_MIB": "81920"}
    assert run("nvidia_smi", *query, **a100).stdout.startswith("NVIDIA A100 80GB PCIe, 81920,")
    assert [run("cc", *args).returncode for args in (["--version"], ["-fsyntax-only", "-"], ["a.c"])] == [0, 0, 1]


def admin(folder: Path, password: str) -> dict[str, str]:
    return {"DATA_DIR": str(folder), "WEBUI_ADMIN_EMAIL": "a@b.c", "WEBUI_ADMIN_PASSWORD": password}


def signin(url: str, password: str) -> requests.Response:
    return post(f"{url}/api/v1/auths/signin", {"email": "A@b.c", "password": password})


def test_the_chat_page_wants_the_login_and_lists_the_model(url: str, tmp_path: Path) -> None:
    upstream = {"OPENAI_API_BASE_URLS": f"{url}/v1", "OPENAI_API_KEYS": "key"}
    with serving("open_webui", **admin(tmp_path, "right"), **upstream) as webui:
        assert "stand-in" in get(webui).text
        assert get(f"{webui}/health").json() == {"status": True}
        assert "onboarding" not in get(f"{webui}/api/config").json()
        assert post(f"{webui}/api/v1/auths/signup", {}).status_code == 403
        assert get(f"{webui}/api/models").status_code == 401
        refused = signin(webui, "wrong")
        assert refused.status_code == 400
        assert "incorrect" in refused.json()["detail"]
        models = get(f"{webui}/api/models", signin(webui, "right").json()["token"]).json()["data"]
        assert [model["id"] for model in models] == ["olmocr", "allenai/olmOCR"]


def test_the_chat_pages_users_are_in_a_wal_database_that_ignores_a_changed_password(tmp_path: Path) -> None:
    with serving("open_webui", **admin(tmp_path, "right")):
        assert (tmp_path / "webui.db-wal").exists()
        with sqlite3.connect(tmp_path / "webui.db") as db:
            assert db.execute("SELECT email FROM user JOIN auth USING (id, email)").fetchall() == [("a@b.c",)]
    with serving("open_webui", **admin(tmp_path, "other")) as webui:
        assert signin(webui, "other").status_code == 400
        assert signin(webui, "right").status_code == 200


CHANGE = """
import asyncio, open_webui.models.auths, open_webui.models.users, open_webui.utils.auth
auths, users = open_webui.models.auths.Auths, open_webui.models.users.Users
async def change():
    user = await users.get_user_by_email("new@b.c") or await users.get_super_admin_user()
    await auths.update_user_password_by_id(user.id, await open_webui.utils.auth.get_password_hash("new"))
    await auths.update_email_by_id(user.id, "a@b.c")
    await users.update_user_role_by_id(user.id, "admin")
asyncio.run(change())
"""


def test_a_changed_login_is_written_with_the_venvs_own_python_while_the_page_serves(tmp_path: Path) -> None:
    venv, wrapper = tmp_path / "venv-webui", tmp_path / "venv/open-webui"
    wrapper.parent.mkdir()
    wrapper.touch()
    run("uv", "venv", venv).check_returncode()
    install = ["pip", "install", "--python", venv / "bin/python", "open-webui==0.12.4"]
    run("uv", *install, PODKIT_SHIMS=str(tmp_path)).check_returncode()
    env = admin(tmp_path / "data", "old")
    with serving("open_webui", **env) as webui:
        subprocess.run([venv / "bin/python", "-c", CHANGE], check=True, env=os.environ | env)
        assert [signin(webui, password).status_code for password in ("old", "new")] == [400, 200]


def test_a_password_that_bcrypt_cannot_take_leaves_the_chat_page_in_onboarding(tmp_path: Path) -> None:
    with serving("open_webui", **admin(tmp_path, "x" * 73)) as webui:
        assert get(f"{webui}/api/config").json()["onboarding"] is True
