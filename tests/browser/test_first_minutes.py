"""A deploy with the real Open WebUI, on a volume that the sandbox's light page has used before,
with a model that takes its time, while a stranger tries passwords.
"""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.browser.real_page import (
    DEPLOY_SECONDS,
    Served,
    deploy,
    install_open_webui_once,
    secret,
    served_by,
)
from tests.clones import ROOT, Clone, new_clone

pytestmark = pytest.mark.slow
ALLOWED_SIGN_INS = 15
WRONG_PASSWORDS = 20
SLOW_MODEL = """\
#!/bin/bash
until [[ -e {begin} ]]; do sleep 0.2; done
exec {itself} "$@"
"""
"""A model server that starts when the file `begin` is there."""


@dataclass
class Stranger:
    """Who finds the page and tries passwords for the admin's address as soon as it answers; only
    then may the model `begin`.
    """

    clone: Clone
    begin: Path
    answers: list[int]

    def try_passwords(self) -> None:
        url = self._wait_for_page()
        email = secret(self.clone, "WEBUI_ADMIN_EMAIL") or "admin@podkit.local"
        for number in range(WRONG_PASSWORDS):
            body = {"email": email, "password": f"guess {number}"}
            signin = f"{url}/api/v1/auths/signin"
            self.answers.append(requests.post(signin, json=body, timeout=30).status_code)
        self.begin.touch()

    def _wait_for_page(self) -> str:
        until = time.monotonic() + DEPLOY_SECONDS
        while time.monotonic() < until:
            time.sleep(1)
            url = self._page()
            if url and requests.get(f"{url}/api/config", timeout=10).status_code == 200:
                return url
        raise AssertionError("the page never answered")

    def _page(self) -> str:
        """The chat page's public URL; empty until the sandbox's API knows it."""
        state = json.loads((self.clone.root / ".podkit/sandbox/state.json").read_text())
        headers = {"Authorization": f"Bearer {state['api_key']}"}
        listed = requests.get(f"{state['api_url']}/pods", headers=headers, timeout=10).json()
        for pod in listed["pods"]:
            for port in (pod.get("runtime") or {}).get("ports", []):
                if port["private"] == 3000:
                    return f"http://127.0.0.1:{port['public']}"
        return ""


@dataclass(frozen=True)
class SlowDeploy:
    """What came of it."""

    served: Served
    told: str
    strangers_answers: list[int]


def have_the_model_wait_for(begin: Path, clone: Clone) -> None:
    server = clone.root / ".podkit/sandbox/shims/venv/vllm"
    itself = server.with_name("vllm-itself")
    server.rename(itself)
    names = {"begin": shlex.quote(str(begin)), "itself": shlex.quote(str(itself))}
    server.write_text(SLOW_MODEL.format(**names))
    server.chmod(0o755)


@pytest.fixture(scope="module")
def slow_deploy(
    tmp_path_factory: pytest.TempPathFactory, kept_open_webui: Path
) -> Iterator[SlowDeploy]:
    folder = tmp_path_factory.mktemp("slow")
    clone = new_clone(folder, ROOT / ".venv/bin/uv")
    deploy(clone)
    for ending in (
        ["stop_pod.sh", "--all", "--yes", "--sandbox"],
        ["podkit.sh", "sandbox", "stop"],
    ):
        ended = clone.run(*ending)
        assert ended.returncode == 0, ended.stderr
    started = clone.run("podkit.sh", "sandbox", "start", "--real-webui")
    assert started.returncode == 0, started.stderr
    install_open_webui_once(clone, kept_open_webui, folder / "calls")
    begin = folder / "begin"
    have_the_model_wait_for(begin, clone)
    stranger = Stranger(clone, begin, [])
    trying = threading.Thread(target=stranger.try_passwords, daemon=True)
    trying.start()
    done = clone.run("deploy_olmocr.sh", "--sandbox", "--json", seconds=DEPLOY_SECONDS)
    trying.join(30)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    yield SlowDeploy(served_by(clone, told), done.stderr, stranger.answers)
    clone.run("podkit.sh", "sandbox", "stop")


def test_a_slow_model_and_a_strangers_wrong_passwords_do_not_end_a_deploy(
    slow_deploy: SlowDeploy,
) -> None:
    """Nobody else had signed in before the model served: neither the boot's proof nor the deploy
    used up what the page allows.
    """
    allowed = [400] * ALLOWED_SIGN_INS
    refused = [429] * (WRONG_PASSWORDS - ALLOWED_SIGN_INS)
    assert slow_deploy.strangers_answers == allowed + refused
    assert "the chat page takes no sign-in at the moment" in slow_deploy.told


def test_chats_of_the_light_page_are_kept_aside_for_the_real_one(slow_deploy: SlowDeploy) -> None:
    log = slow_deploy.served.log.read_text()
    assert "is of another chat page or a newer one: kept as " in log
    assert "phase=webui event=done" in log
