"""The scripts as people meet them: on a bare clone, from any folder, with hardly a PATH,
under an old bash.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.clones import ROOT, Clone, new_clone

pytestmark = pytest.mark.slow
SCRIPTS = sorted(path.name for path in ROOT.glob("*.sh") if path.name != "run_tests.sh")


def bash_3() -> str | None:
    """A bash 3.2 of this machine, if it has one (macOS does)."""
    for path in filter(None, [shutil.which("bash3.2"), "/bin/bash", shutil.which("bash")]):
        shown = subprocess.run(
            [path, "-c", "echo $BASH_VERSION"], capture_output=True, text=True, check=False
        )
        if shown.stdout.startswith("3.2"):
            return path
    return None


def test_a_bare_clone_is_set_up_by_its_first_command_and_the_second_one_installs_nothing(
    clone: Clone,
) -> None:
    first = clone.run("podkit.sh", "--version")
    assert first.returncode == 0, first.stderr
    assert "podkit, version" in first.stdout
    second = clone.run("podkit.sh", "--version")
    assert (second.returncode, second.stderr) == (0, "")


def test_python_alone_is_enough_to_set_up_a_clone(tmp_path: Path) -> None:
    interpreter = Path(sys.executable).resolve()
    clone = new_clone(tmp_path)
    (clone.programs / "python3").symlink_to(interpreter)
    done = clone.run("podkit.sh", "--version")
    assert done.returncode == 0, done.stderr
    assert "only once" in done.stderr


def test_a_clone_that_was_moved_makes_its_environment_again(tmp_path: Path) -> None:
    clone = new_clone(tmp_path, ROOT / ".venv/bin/uv")
    assert clone.run("podkit.sh", "--version").returncode == 0
    moved = Clone(tmp_path / "moved", clone.home, clone.programs)
    clone.root.rename(moved.root)
    done = moved.run("podkit.sh", "--version")
    assert done.returncode == 0, done.stderr
    assert "only once" in done.stderr
    where = subprocess.run(
        [moved.root / ".venv/bin/python", "-P", "-c", "import podkit; print(podkit.ROOT)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.strip() == str(moved.root)


def test_without_uv_and_python_one_line_says_what_to_install(tmp_path: Path) -> None:
    clone = new_clone(tmp_path)
    script = clone.root / "list_pods.sh"
    without = "works_as_uv() { false; }; works_as_python() { false; }\npodkit list"
    script.write_text(script.read_text().replace("podkit list", without))
    done = clone.run("list_pods.sh")
    assert done.returncode == 2
    *progress, message = done.stderr.strip().splitlines()
    assert "only once" in progress[0]
    assert "install uv" in message
    assert "python3-venv" in message
    assert not (clone.root / ".venv-setup").is_symlink()


def test_two_first_commands_at_once_set_up_one_environment(tmp_path: Path) -> None:
    clone = new_clone(tmp_path, ROOT / ".venv/bin/uv")
    both = [
        subprocess.Popen(
            [clone.root / "podkit.sh", "--version"],
            env=clone.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("only once" in text for text in said) == 1


def test_a_set_up_that_was_killed_does_not_stop_the_next_one(unfilled: Clone) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (unfilled.root / ".venv-setup").symlink_to(str(gone.pid))
    done = unfilled.run("podkit.sh", "--version")
    assert done.returncode == 0, done.stderr
    assert not (unfilled.root / ".venv-setup").is_symlink()


def test_ctrl_c_during_a_set_up_leaves_one_line_and_the_next_command_goes_on(
    tmp_path: Path,
) -> None:
    slow = FAKE_UV.replace("rm -rf", "sleep 60 & wait; rm -rf")
    (tmp_path / "uv").write_text(slow)
    (tmp_path / "uv").chmod(0o755)
    clone = new_clone(tmp_path, tmp_path / "uv")
    process = subprocess.Popen(
        [clone.root / "podkit.sh", "--version"],
        env=clone.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert "only once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=30) == 130
    assert rest == "podkit: setting up was interrupted; the same command goes on\n"
    assert not (clone.root / ".venv-setup").is_symlink()


FAKE_UV = """\
#!/bin/bash
last=${!#}
case $1 in
  venv)
    rm -rf "$last"
    mkdir -p "$last/bin"
    printf '#!/bin/bash\\n' >"$last/bin/python"
    chmod +x "$last/bin/python"
    ;;
  pip) printf '%s\\n' ".${last##*/podkit}" >>"$HOME/installed" ;;
esac
"""


@pytest.fixture
def unfilled(tmp_path: Path) -> Clone:
    """A clone with a uv that makes an environment of nothing,
    and only notes what it should install.
    """
    (tmp_path / "uv").write_text(FAKE_UV)
    (tmp_path / "uv").chmod(0o755)
    return new_clone(tmp_path, tmp_path / "uv")


def installed_by(clone: Clone, script: str, *arguments: str, **env: str) -> str:
    """What a script has installed before it ran."""
    note = clone.home / "installed"
    note.write_text("")
    done = clone.run(script, *arguments, env=env)
    assert done.returncode == 0, done.stderr
    return note.read_text().strip()


def test_each_command_installs_what_it_needs_when_it_is_first_used(unfilled: Clone) -> None:
    assert installed_by(unfilled, "podkit.sh", "gpus") == "."
    assert installed_by(unfilled, "podkit.sh", "fit", "org/model") == ".[fit]"
    assert installed_by(unfilled, "podkit.sh", "eval", "--sandbox") == ".[sandbox,eval]"
    there = (
        ["list_pods.sh"],
        ["podkit.sh", "eval"],
        ["podkit.sh", "fit", "eval"],
        ["podkit.sh", "sandbox", "start"],
    )
    assert [installed_by(unfilled, *command) for command in there] == [""] * len(there)


@pytest.mark.parametrize("words", [("fit",), ("fit", "--help"), ("eval", "-h")])
def test_what_is_only_told_how_to_go_on_installs_nothing_for_that(
    unfilled: Clone, words: tuple[str, ...]
) -> None:
    assert installed_by(unfilled, "podkit.sh", *words) == "."


@pytest.mark.parametrize("script", SCRIPTS)
def test_tab_installs_nothing(unfilled: Clone, script: str) -> None:
    assert installed_by(unfilled, script, _PODKIT_COMPLETE="bash_complete") == ""
    assert not (unfilled.root / ".venv").exists()


def test_only_the_first_word_is_a_command_and_a_setting_asks_for_the_sandbox_too(
    unfilled: Clone,
) -> None:
    assert installed_by(unfilled, "chat.sh", "eval") == "."
    assert installed_by(unfilled, "podkit.sh", "eval", PODKIT_SANDBOX="1") == ".[sandbox,eval]"


def test_the_test_suite_brings_what_every_command_needs(unfilled: Clone) -> None:
    assert installed_by(unfilled, "run_tests.sh") == ".[sandbox,fit,eval,gateway,s3,dev]"
    assert [
        installed_by(unfilled, "podkit.sh", word, "--sandbox") for word in ("fit", "eval", "list")
    ] == [""] * 3


def test_what_another_pyproject_asked_for_is_installed_again(unfilled: Clone) -> None:
    installed_by(unfilled, "podkit.sh", "eval")
    later = time.time() + 5
    os.utime(unfilled.root / "pyproject.toml", (later, later))
    assert installed_by(unfilled, "podkit.sh", "eval") == ".[eval]"


def test_an_environment_made_again_holds_nothing_of_the_one_before(unfilled: Clone) -> None:
    installed_by(unfilled, "podkit.sh", "eval")
    (unfilled.root / ".venv/bin/python").unlink()
    assert installed_by(unfilled, "podkit.sh", "fit", "org/model") == ".[fit]"
    assert installed_by(unfilled, "podkit.sh", "eval") == ".[eval]"


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_scripts_header_and_podkits_options(clone: Clone, script: str) -> None:
    shown = clone.run(script, "--help")
    header = (ROOT / script).read_text().splitlines()[1].removeprefix("# ")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(header)
    assert "Usage: podkit" in shown.stdout


def test_a_script_works_through_symlinks_from_another_folder(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "far").symlink_to(clone.root / "list_pods.sh")
    (tmp_path / "near").symlink_to("far")
    elsewhere = Clone(tmp_path, clone.home, clone.programs)
    shown = elsewhere.run("near", "--help", cwd=Path("/"))
    assert "Usage: podkit list" in shown.stdout, shown.stderr


def test_a_script_works_when_bash_is_given_its_bare_name(clone: Clone) -> None:
    clone.run("podkit.sh", "--version")
    shown = subprocess.run(
        ["bash", "list_pods.sh", "--help"],
        cwd=clone.root,
        env=clone.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage: podkit list" in shown.stdout


def test_nothing_in_the_current_folder_is_imported(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('a stranger')")
    (tmp_path / ".env").write_text("PODKIT_GPUS=stranger\n")
    shown = clone.run("deploy_olmocr.sh", "--dry-run", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "stranger" not in shown.stdout + shown.stderr


def test_a_script_needs_no_program_but_bash_and_python_once_it_is_set_up(
    clone: Clone, tmp_path: Path
) -> None:
    clone.run("podkit.sh", "--version")
    shown = subprocess.run(
        [shutil.which("bash") or "bash", clone.root / "list_pods.sh", "--help"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_shows_its_help_under_bash_3_2(clone: Clone, script: str) -> None:
    bash = bash_3()
    if bash is None:
        pytest.skip("no bash 3.2 on this machine")
    clone.run("podkit.sh", "--version")
    shown = subprocess.run(
        [bash, clone.root / script, "--help"],
        env=clone.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Usage: podkit" in shown.stdout, shown.stderr


BASH_4_FORMS = {
    "associative array": r"declare -A|local -A",
    "mapfile": r"\b(mapfile|readarray)\b",
    "wait -n": r"\bwait -n\b",
    "nameref": r"\b(local|declare) -n\b",
    "case change": r"\$\{\w+(,,?|\^\^?)\}",
    "@ transformation": r"\$\{\w+@\w\}",
    "negative index": r"\$\{\w+\[-\d",
    "&>> or |&": r"&>>|\|&",
    "[[ -v": r"\[\[ -v ",
    "EPOCH variables": r"\$EPOCH",
    "printf time": r"printf '?%\(",
    "fractional read": r"read -t ?\d*\.",
    "source <()": r"(source|\.) <\(",
    "bare empty array": r'(?<!\+)"\$\{\w+\[@\]\}"(?!\})',
    "readlink -f": r"readlink -f",
    "base64 -w": r"base64 -w",
    "sed -i": r"sed -i",
    "GNU date": r"date -d",
    "GNU stat": r"stat -c",
    "missing on macOS": r"\b(timeout|flock|nproc|tac|setsid|realpath)\b",
    "grep -P": r"grep -\w*P",
}


@pytest.mark.parametrize("form", BASH_4_FORMS)
def test_laptop_scripts_hold_nothing_that_bash_3_2_or_bsd_lacks(form: str) -> None:
    for path in [*ROOT.glob("*.sh"), *ROOT.glob("lib/*.sh"), ROOT / "startup/startup_olmocr.sh"]:
        code = "\n".join(
            line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")
        )
        assert not re.search(BASH_4_FORMS[form], code), f"{path.name}: {form}"
