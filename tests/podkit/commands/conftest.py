"""What tests of the commands run in: a checkout with one small model, and a clock and a terminal
that the test moves.
"""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podkit.commands import app as application
from podkit.commands import cli, list_pods, logs
from podkit.interrupts import Interrupts
from tests.podkit.commands.desk import ENV, SCRIPT, Ended, Run
from tests.podkit.samples import SECRETS, Clock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one small model and a filled .env."""
    root = tmp_path / "check out"
    (root / "startup").mkdir(parents=True)
    (root / "startup/startup_mine.sh").write_text(SCRIPT)
    (root / "startup/start.sh").write_text("echo start\n")
    (root / ".env").write_text(ENV)
    (root / ".env").chmod(0o600)
    return root


Real = application.App


@pytest.fixture
def run(
    root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command in this process, with a clock that only sleeps move; no command but env may
    show a secret.
    """
    time = SimpleNamespace(time=clock, sleep=clock.sleep)
    monkeypatch.setattr(application, "time", time)
    for module in (list_pods, logs):
        monkeypatch.setattr(module, "time", time)
    monkeypatch.setattr(cli, "App", lambda **parts: Real(root, **parts))
    monkeypatch.setattr(Interrupts, "install", lambda _: None)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["podkit", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main(Interrupts())
        printed = capfd.readouterr()
        assert "Traceback" not in printed.out + printed.err
        if arguments[:1] != ("env",):
            assert not [secret for secret in SECRETS if secret in printed.out + printed.err]
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a terminal of stdin and stderr, on which a person types this line."""

    def typed(line: str) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(f"{line}\n".encode()))
        monkeypatch.setattr(stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return typed


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
