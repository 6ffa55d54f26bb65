"""Every command of the README, run as printed and in its order by a new user with an empty HOME,
in the sandbox.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.clones import ROOT, Clone
from tests.pages import page
from tests.podkit.ocr.documents import short_pages

pytestmark = pytest.mark.usefixtures("poppler")
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOT_HERE = {
    "./run_tests.sh": "this very suite",
    "./podkit.sh fit": "asks the Hugging Face Hub; test_fit.py has one of its own",
}
"""Beginnings of commands that are not run here, each with the reason."""
ENDLESS = re.compile(r"logs( \S+)* -f\b")
THE_POD = """ID=$(./list_pods.sh --json 2>/dev/null |
  .venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["pods"][0]["id"])')"""


def commands() -> list[str]:
    """The indented lines of the README, without their remarks;
    what a command prints is in fenced blocks.
    """
    indented = re.findall(
        r"^    (\S.*)$",
        re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL),
        re.MULTILINE,
    )
    return [re.sub(r"\s+# .*", "", line) for line in indented]


@pytest.fixture
def ready(clone: Clone) -> Iterator[Clone]:
    """A clone with nothing running, and the files that the README's commands are given."""
    clone.run("podkit.sh", "sandbox", "stop")
    image, _ = page()
    (clone.root / "invoice.png").write_bytes(image)
    (clone.root / "invoices").mkdir()
    Image.open(BytesIO(image)).save(clone.root / "invoices/march.pdf", resolution=110)
    (clone.root / "report.pdf").write_bytes(short_pages(4))
    yield clone
    clone.run("podkit.sh", "sandbox", "stop")
    (clone.root / ".env").unlink(missing_ok=True)


def test_the_readme_has_commands_and_each_exception_is_one_of_them() -> None:
    assert len(commands()) > 15
    assert [
        start for start in NOT_HERE if not any(command.startswith(start) for command in commands())
    ] == []


def test_every_command_of_the_readme_works_as_printed(ready: Clone, tmp_path: Path) -> None:
    script = ["set -eu", "export PODKIT_SANDBOX=1", f"cd {shlex.quote(str(ready.root))}"]
    for printed in commands():
        if printed.startswith(tuple(NOT_HERE)):
            continue
        script.append(f"printf '%s\\n' {shlex.quote('$ ' + printed)}")
        command = re.sub(r"\bID\b", '"$ID"', printed)
        if command != printed:
            script.append(THE_POD)
        script.append(
            f"timeout 3 {command} || [ $? = 124 ]" if ENDLESS.search(command) else command
        )
    (tmp_path / "readme.sh").write_text("\n".join(script) + "\n")
    done = ready.run("/bin/bash", str(tmp_path / "readme.sh"), seconds=900)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
