"""`podkit.sh gateway`: the file of backends follows the pods, and the demo is one command."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from dotenv import dotenv_values
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from podkit.commands.gateway import Served, plan_file, write_toml
from podkit.pods.access import Access
from podkit.secret import Secret
from podkit_gateway.config import load_config
from tests.clones import Clone

from .process import answers, free_port, until

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


def test_the_demo_is_one_command(clone: Clone) -> None:
    port = free_port()
    words = ["gateway", "demo", "--sandbox", "--port", str(port)]
    running = subprocess.Popen(
        [str(clone.root / "podkit.sh"), *words],
        env=clone.environment(),
        cwd=clone.root,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        shown = {}
        assert running.stdout is not None
        while "model" not in shown:
            name, _, value = running.stdout.readline().strip().partition(" ")
            assert name
            shown[name] = value
        until(lambda: answers(f"http://127.0.0.1:{port}/health"), 60)
        client = OpenAI(base_url=shown["base_url"], api_key=shown["key"])
        assert shown["model"] in {model.id for model in client.models.list()}
        question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Bonjour"}]
        answer = client.chat.completions.create(model=shown["model"], messages=question)
        assert answer.choices[0].message.content
        secrets_file = clone.root / ".podkit/sandbox/secrets.env"
        settings = dotenv_values(secrets_file)
        planted = [value for name, value in settings.items() if "KEY" in name and value]
        (gateway,) = psutil.Process(running.pid).children()
        visible = " ".join([*gateway.cmdline(), *gateway.environ().values()])
        assert planted
        assert [value for value in planted if value in visible] == []
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)
    with sqlite3.connect(clone.root / ".podkit/gateway-demo/gateway.db") as database:
        assert database.execute("SELECT count(*) FROM usage").fetchone() == (1,)
