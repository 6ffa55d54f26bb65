"""The gateway as processes of an operator: stopped, killed, and what others on the machine see of
them.
"""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.waiting import eventually

from .conftest import config_for
from .process import GatewayProcess
from .stub import Stub, all_seen

pytestmark = pytest.mark.slow
SECRETS = {
    "FIRST_KEY": "planted-key-of-a-backend",
    "GATEWAY_TOKEN_KEYS": "one:planted-signing-key-of-tokens-" + "s" * 40,
}


@pytest.fixture
def own(tmp_path: Path, stubs: list[Stub]) -> Iterator[GatewayProcess]:
    """A gateway that a test may ruin; each of its secrets is in a file of its own."""
    for stub in stubs:
        stub.reset()
    files = {}
    for name, secret in SECRETS.items():
        path = tmp_path / name
        path.write_text(secret)
        files[f"{name}_FILE"] = str(path)
    gateway = GatewayProcess(tmp_path / "own", config_for(stubs), **files)
    gateway.prepare()
    yield gateway
    gateway.stop()


def test_sigterm_lets_running_streams_end(own: GatewayProcess, stubs: list[Stub]) -> None:
    own.start()
    key = own.make_key()
    for stub in stubs:
        stub.pause = 0.5
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(own.ask, key, json={"stream": True}) for _ in range(20)]
        eventually(lambda: len(all_seen(stubs)) == 20)
        own.stop(signal.SIGTERM)
    texts = [answer.result().text for answer in answers]
    assert [text.endswith("data: [DONE]\n\n") for text in texts] == [True] * 20
    assert count_usage(own) == (20, 20)


def count_usage(gateway: GatewayProcess) -> tuple[int, int]:
    """Single rows of usage, and the requests in the hourly sums."""
    with sqlite3.connect(gateway.database) as database:
        rows = database.execute("SELECT count(*) FROM usage").fetchone()[0]
        summed = database.execute("SELECT sum(requests) FROM usage_hours").fetchone()[0]
    return rows, summed


def test_kill_9_under_load_loses_the_usage_of_the_last_moment_alone(
    own: GatewayProcess, stubs: list[Stub]
) -> None:
    own.start()
    key = own.make_key()
    answered: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                own.ask(key).raise_for_status()
            except requests.RequestException:
                return
            answered.append(time.monotonic())

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(ask)
        eventually(lambda: answered and answered[-1] - answered[0] > 5)
        own.stop(signal.SIGKILL)
        over.set()
    rows, summed = count_usage(own)
    kept_for_sure = [moment for moment in answered if moment < answered[-1] - 3]
    assert len(kept_for_sure) <= rows <= len(answered) + 4
    assert rows == summed
    own.start()
    assert own.ask(key).status_code == 200
    own.stop()
    assert count_usage(own) == (rows + 1, summed + 1)


def test_who_looks_at_the_process_sees_no_secret(own: GatewayProcess) -> None:
    own.start()
    assert own.ask(own.make_key()).status_code == 200
    assert own.process is not None
    folder = Path(f"/proc/{own.process.pid}")
    shown = (folder / "environ").read_text() + (folder / "cmdline").read_text()
    assert "GATEWAY_TOKEN_KEYS_FILE" in shown
    assert [name for name, secret in SECRETS.items() if secret in shown] == []
    assert (folder / f"task/{own.process.pid}/children").read_text() == ""


def test_a_wrong_setting_ends_a_command_with_code_2_and_one_line(own: GatewayProcess) -> None:
    own.environment["GATEWAY_PROT"] = "1"
    text = own.run("backends", code=2)
    assert text == "podkit-gateway: unknown setting GATEWAY_PROT"
