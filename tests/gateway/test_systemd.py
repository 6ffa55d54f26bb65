"""The systemd unit: known to systemd, shut off from the rest of the machine, and in step with the
settings.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from podkit_gateway.settings import load_settings

from .process import ROOT
from .services import need

pytestmark = pytest.mark.slow
UNIT = (ROOT / "podkit_gateway/podkit-gateway.service").read_text()
INSTALLED = "/opt/podkit-gateway/bin/podkit-gateway"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with the program where it is on this machine."""
    path = tmp_path / "podkit-gateway.service"
    path.write_text(UNIT.replace(INSTALLED, str(Path(sys.prefix) / "bin/podkit-gateway")))
    return path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    program = need("systemd-analyze", "systemd")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def test_systemd_has_nothing_to_say_of_the_unit(unit: Path) -> None:
    checked = analyze("verify", str(unit))
    assert (checked.stdout + checked.stderr, checked.returncode) == ("", 0)


def test_little_of_the_machine_is_open_to_it(unit: Path) -> None:
    """Systemd's own grade, from 0 to 10, in tenths; a service without any limit has 9.6."""
    checked = analyze("security", "--offline=true", "--threshold=40", str(unit))
    assert checked.returncode == 0, checked.stdout


def test_its_settings_are_settings_and_running_answers_may_end(tmp_path: Path) -> None:
    (tmp_path / "token-keys").write_text("one:" + "s" * 40)
    pairs = re.findall(r"^Environment=(\w+)=(.+)$", UNIT, re.MULTILINE)
    environment = {name: value.replace("%d", str(tmp_path)) for name, value in pairs}
    settings = load_settings({**environment, "STATE_DIRECTORY": str(tmp_path)})
    assert settings.token_keys is not None
    seconds = int(re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[0])
    assert seconds > settings.drain_seconds + 10  # the writing of usage
