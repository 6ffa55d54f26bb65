"""What the design promises about the code itself: sizes, who imports whom, and bash that a Mac understands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted([*ROOT.glob("*.sh"), *(ROOT / "lib").glob("*.sh")])
LAYERS = (
    {"__main__"},
    {"cli"},
    {"cli_account", "cli_use"},
    {"app"},
    {"launcher", "doctor", "progress", "chat", "spend"},
    {"output"},
    {"readiness", "pods"},
    {"placement", "startup", "runpod", "watch"},
    {"interrupts", "models"},
    {"capacity"},
    {"settings"},
    {"errors"},
    {"__init__"},
)
"""The modules of podkit, from the outside in. Each imports only from layers below its own."""
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}

BASH_4 = {
    r"""(?<!\+)"\$\{\w+\[@\]\}\"""": 'run "${words[@]}"',
    r"\b(declare|local|typeset) -\w*[An]": "local -A seen",
    r"\b(mapfile|readarray|coproc)\b": "mapfile -t lines",
    r"\bwait -n\b": "wait -n",
    r"\$\{\w+(,|\^)": "${name,,}",
    r"\$\{\w+@\w\}": "${name@Q}",
    r"\$\{\w+\[-": "${words[-1]}",
    r"&>>": "run &>>log",
    r"\|&": "run |& cat",
    r"(\[\[|\btest|\[) -v ": "[[ -v name ]]",
    r"\bEPOCH(SECONDS|REALTIME)\b": "$EPOCHSECONDS",
    r"printf .*%\([^)]*\)T": "printf '%(%F)T'",
    r"\bread\b.* -t ?\d*\.\d": "read -t 0.5 line",
    r"(\bsource|\B\.) <\(": "source <(cmd)",
    r"\$\([^)]*\bcase\b": "x=$(case $1 in a) ;; esac)",
    r"\b(local|export|readonly) \w+=\"?(\$\(|`)": 'local x="$(cmd)"',
    r"\breadlink -\w": "readlink -f file",
    r"\bbase64 -w": "base64 -w0",
    r"\bsed -\w*i": "sed -i s/a/b/ file",
    r"\bdate -d": "date -d tomorrow",
    r"\bstat -c": "stat -c %a file",
    r"\b(timeout|flock|nproc|realpath|tac|seq) ": "timeout 5 cmd",
    r"\bgrep -\w*P": "grep -oP x",
    r"\becho -\w": "echo -e text",
    r"\bcd (?!-- )": 'cd "$folder"',
    r"\bcp -\w*[tT]|\bmktemp --|\bxargs -\w*[dr]\b": "cp -t folder file",
    r"\{\d+\.\.\d+\.\.|\*\*/": "{1..9..2}",
    r";;&|;&": ";;&",
}
"""Forms that bash 3.2 or BSD tools lack, or take to mean something else; each with an example."""
NOT_FOR_THE_PUBLIC = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|crates\.io|proxy\.golang|rubygems\.org"
    r"|\b(rpa|hf|ghp|gho)_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9]{20,}|\bAKIA[A-Z0-9]{16}\b|BEGIN [A-Z ]*PRIVATE KEY"
)
"""Hosts of package registries, which a mirror may replace, and texts of the shape of a secret."""


def lines(paths: list[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def code_lines(path: Path) -> int:
    """The lines of a Python or bash file that are neither blank, nor a comment, nor part of a docstring."""
    text = path.read_text(encoding="utf-8")
    told: set[int] = set()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                told |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(
        bool(line.strip()) and line.strip()[0] != "#" and number not in told
        for number, line in lines
    )


def imports(path: Path) -> Iterator[str]:
    """Every module that `path` imports, anywhere in it; names taken from podkit itself as podkit.NAME."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if node.module == "podkit":
                yield from (
                    f"podkit.{alias.name if alias.name in LEVEL else '__init__'}"
                    for alias in node.names
                )
            else:
                yield str(node.module)


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize(
    ("pattern", "limit"),
    [("deploy_*.sh", 30), ("list_pods.sh", 15), ("stop_pod.sh", 15), ("run_tests.sh", 15)],
)
def test_a_root_script_only_names_the_intent(pattern: str, limit: int) -> None:
    scripts = sorted(ROOT.glob(pattern))
    assert scripts
    assert {script.name: lines([script]) for script in scripts if lines([script]) > limit} == {}


@pytest.mark.parametrize(
    ("patterns", "limit"),
    [
        (("podkit/*.py",), 2500),
        (("podkit/extras/*.py",), 700),
        (("podkit_sandbox/**/*.py",), 1200),
        (("startup/*.py", "startup/*.sh"), 700),
    ],
)
def test_each_part_stays_small_enough_to_be_read(patterns: tuple[str, ...], limit: int) -> None:
    assert sum(code_lines(path) for pattern in patterns for path in ROOT.glob(pattern)) < limit


def test_what_counts_as_a_line_of_code(tmp_path: Path) -> None:
    python, bash = tmp_path / "a.py", tmp_path / "a.sh"
    python.write_text(
        '"""Says\n\nwhy."""\n\n# a remark\nX = 1  # one\n"""What X is."""\nY = """\ntext\n"""\n'
    )
    bash.write_text("#!/bin/bash\n# a remark\n\necho one\n")
    assert (code_lines(python), code_lines(bash)) == (4, 1)


@pytest.mark.parametrize("script", sorted(ROOT.glob("*.sh")), ids=lambda path: path.name)
def test_no_root_script_speaks_to_the_api_or_reads_env_files(script: Path) -> None:
    code = [
        line for line in script.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    assert [
        line
        for line in code
        if re.search(r"curl|wget|jq|json|https?:|[{]|\.env", line.replace("${", ""))
    ] == []
    assert '. "${script%/*}/lib/bootstrap.sh" "$script"' in code


def test_imports_of_podkit_run_downward() -> None:
    modules = {path.stem: path for path in (ROOT / "podkit").glob("*.py")}
    assert set(modules) == set(LEVEL), "LAYERS above gives each module its place"
    for path in (ROOT / "podkit/extras").glob("*.py"):
        assert not [name for name in imports(path) if name.startswith("podkit.cli")], path
    importing = {
        module
        for module, path in modules.items()
        if any("extras" in name for name in imports(path))
    }
    assert importing <= {"cli", "cli_use", "cli_account"}
    upward = [
        f"{module} imports {name}"
        for module, path in modules.items()
        for name in imports(path)
        if name.startswith("podkit.")
        and "extras" not in name
        and LEVEL[name.split(".")[1]] <= LEVEL[module]
    ]
    assert upward == []


def test_only_the_commands_know_the_sandbox_and_the_sandbox_knows_nobody() -> None:
    assert {
        path.stem for path in (ROOT / "podkit").glob("*.py") if "podkit_sandbox" in tops(path)
    } <= {"app", "cli"}
    others = {"podkit", "startup", "boot"} | {path.stem for path in (ROOT / "startup").glob("*.py")}
    found = {path.name: tops(path) & others for path in (ROOT / "podkit_sandbox").rglob("*.py")}
    assert {name: known for name, known in found.items() if known} == {}


def test_what_runs_in_the_pod_needs_the_standard_library_alone() -> None:
    files = sorted((ROOT / "startup").rglob("*.py"))
    own = {"boot"} | {path.stem for path in (ROOT / "startup").glob("*.py")}
    found = {path.name: tops(path) - own - set(sys.stdlib_module_names) for path in files}
    assert {name: foreign for name, foreign in found.items() if foreign} == {}


def test_there_is_one_door_to_the_environment_and_few_to_the_network() -> None:
    modules = {path.stem: path for path in (ROOT / "podkit").glob("*.py")}
    assert {
        name for name, path in modules.items() if re.search(r"os\.environ|getenv", path.read_text())
    } == {"app"}
    network = {"requests", "urllib3", "urllib.request", "http.client", "socket"}
    doors = {name for name, path in modules.items() if network & set(imports(path))}
    assert doors == {"runpod", "readiness", "app", "chat"}


def test_a_command_imports_only_what_it_needs() -> None:
    """The help must not wait for requests, tenacity or rich."""
    show = "import sys, podkit.cli; print(*sorted({'requests', 'tenacity', 'rich', 'dotenv'} & set(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ended.stdout.strip() == ""


@pytest.mark.parametrize(("form", "example"), BASH_4.items(), ids=list(BASH_4.values()))
def test_no_laptop_script_uses_what_bash_3_2_or_bsd_lacks(form: str, example: str) -> None:
    assert re.search(form, example)
    found = [
        f"{script.name}:{number}: {line.strip()}"
        for script in SCRIPTS
        for number, line in enumerate(script.read_text(encoding="utf-8").splitlines(), 1)
        if not line.lstrip().startswith("#") and re.search(form, line)
    ]
    assert found == []


def test_the_portable_forms_are_not_taken_for_banned_ones() -> None:
    for fine in (
        'run ${words[@]+"${words[@]}"}',
        "CDPATH='' cd -- x",
        'local x=""',
        "read -r line",
        "${name%,*}",
    ):
        assert not [form for form in BASH_4 if re.search(form, fine)], fine


def test_no_file_holds_a_secret_or_a_registrys_address() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert files
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path in files
        if path.is_file()
        and (match := NOT_FOR_THE_PUBLIC.search(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert found == {}
