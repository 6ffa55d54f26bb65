"""`podkit.sh gateway`: the file of backends follows the pods, and the demo is one command."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from dotenv import dotenv_values
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from podkit.commands.gateway import Served, plan_file, write_toml
from podkit.pods.access import Access
from podkit.secret import Secret
from podkit_gateway.config import load_config
from tests.clones import Clone
from tests.ports import free_port
from tests.waiting import eventually

from .process import ROOT, answers

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)

pytestmark = pytest.mark.slow


def served(name: str, model: str = "olmocr") -> Served:
    url = "https://abc-8000.proxy.runpod.net/v1"
    return Served(name, Access(url, "", model, Secret("k"), "", Secret("")))


def test_pods_come_and_go_and_what_people_wrote_stays(tmp_path: Path) -> None:
    known: dict[str, Any] = {
        "models": {
            "olmocr": {"backends": ["podkit-olmocr-old", "mine"], "price": {"prompt": 0.5}},
            "gone": {"backends": ["podkit-gone-1"]},
        },
        "backends": {
            "podkit-olmocr-old": {"url": "https://old/v1"},
            "podkit-gone-1": {"url": "https://old/v1"},
            "mine": {"url": "https://mine/v1", "external": True},
        },
    }
    document = plan_file(known, [served("podkit-olmocr-new"), served("podkit-q-1", "qwen")])
    path = tmp_path / "gateway.toml"
    path.write_text(write_toml(document), encoding="utf-8")
    (tmp_path / "keys").mkdir()
    for name in ("podkit-olmocr-new", "podkit-q-1"):
        (tmp_path / "keys" / name).write_text("secret\n")
    config = load_config(path, {})
    assert config.models["olmocr"].backends == ("mine", "podkit-olmocr-new")
    assert config.models["olmocr"].price.prompt == 0.5
    assert set(config.models) == {"olmocr", "qwen"}
    assert config.backends["mine"].external
    assert config.backends["podkit-q-1"].fold
    assert "secret" not in path.read_text()


def test_the_demo_is_one_command_and_what_it_prints_works(clone: Clone) -> None:
    port = free_port()
    words = ["gateway", "demo", "--sandbox", "--port", str(port)]
    narrated = clone.home.parent / "narration"
    with narrated.open("w") as narration:
        running = subprocess.Popen(
            [str(clone.root / "podkit.sh"), *words],
            env=clone.environment(),
            cwd=clone.root,
            stdout=subprocess.PIPE,
            stderr=narration,
            text=True,
        )
    try:
        shown = {}
        assert running.stdout is not None
        while "model" not in shown:
            name, _, value = running.stdout.readline().strip().partition(" ")
            assert name, narrated.read_text()
            shown[name] = value
        eventually(lambda: answers(f"http://127.0.0.1:{port}/health"), 60)
        ask_all_ways(shown)
        asked = type_in_bash(clone, printed_curl(), base_url=shown["base_url"], key=shown["key"])
        assert json.loads(asked)["choices"]
        sign_in_as_shown(shown["page"])
        usage = narrated.read_text().split("in another terminal: ")[1].splitlines()[0]
        eventually(lambda: "4" in type_in_bash(clone, usage).split())  # requests of the one model
        (gateway,) = psutil.Process(running.pid).children()
        settings = dotenv_values(clone.root / ".podkit/sandbox/secrets.env")
        planted = [value for name, value in settings.items() if "KEY" in name and value]
        visible = " ".join([*gateway.cmdline(), *gateway.environ().values()])
        assert planted
        assert [value for value in planted if value in visible] == []
        follow_pods(clone, shown)
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)


def follow_pods(clone: Clone, shown: dict[str, str]) -> None:
    """A pod that ends is gone from the running gateway after `sync`, and a new one is asked."""
    sync = ("podkit.sh", "gateway", "sync", "--sandbox", "--folder", ".podkit/gateway-demo")

    def ask() -> requests.Response:
        headers = {"Authorization": f"Bearer {shown['key']}"}
        body = {"model": shown["model"], "messages": [{"role": "user", "content": "Bonjour"}]}
        url = f"{shown['base_url']}/chat/completions"
        return requests.post(url, json=body, headers=headers, timeout=60)

    first = ask().headers["x-podkit-backend"]
    assert clone.run("stop_pod.sh", "--all", "--yes", "--sandbox").returncode == 0
    assert clone.run(*sync, cwd=clone.root).returncode == 0
    eventually(lambda: ask().status_code == 404)
    assert clone.run("deploy_olmocr.sh", "--sandbox").returncode == 0
    assert clone.run(*sync, cwd=clone.root).returncode == 0
    answer = eventually(lambda: ask() if ask().ok else None)
    assert answer.headers["x-podkit-backend"] != first


def ask_all_ways(shown: dict[str, str]) -> None:
    """The model list, a question, a stream and an image, by OpenAI's own client."""
    client = OpenAI(base_url=shown["base_url"], api_key=shown["key"])
    model = shown["model"]
    assert model in {listed.id for listed in client.models.list()}
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Bonjour"}]
    answer = client.chat.completions.create(model=model, messages=question)
    assert answer.choices[0].message.content
    stream = client.chat.completions.create(model=model, messages=question, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    picture: list[ChatCompletionMessageParam] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": PIXEL}},
            ],
        }
    ]
    seen = client.chat.completions.create(model=model, messages=picture)
    assert seen.choices[0].message.content


def printed_curl() -> str:
    """The command that docs/gateway.md has after the demo."""
    text = (ROOT / "docs/gateway.md").read_text(encoding="utf-8")
    return "curl" + text.split("\n```\ncurl", 1)[1].split("```", 1)[0]


def type_in_bash(clone: Clone, command: str, **variables: str) -> str:
    typed = subprocess.run(
        ["bash", "-c", command],
        env=clone.environment(**variables),
        cwd=clone.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert typed.returncode == 0, typed.stderr
    return typed.stdout


def sign_in_as_shown(page: str) -> None:
    """`URL  (E-MAIL, password in FILE)`, as the demo prints it."""
    url, email, path = re.fullmatch(r"(\S+)  \((\S+), password in (.+)\)", page).groups()  # type: ignore[union-attr]
    body = {"email": email, "password": Path(path).read_text().strip()}
    assert requests.post(f"{url}/auth/sign-in", json=body, timeout=30).status_code == 200
