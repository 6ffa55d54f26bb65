"""What the design promises about the code itself: sizes, who imports whom,
and bash that a Mac understands.
"""

from __future__ import annotations

import ast
import gc
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import style

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted([*ROOT.glob("*.sh"), *(ROOT / "lib").glob("*.sh")])
FLOORS = ("ground", "runpod", "models", "pods", "ocr", "commands")
"""The folders of podkit, from the ground up; each imports only from its own and those before it."""
FLOOR = {"serverless": "pods", "export": "ocr"}
"""Folders that stand beside one of FLOORS."""
STANDALONE = {"jobs"}
"""Folders of podkit that import nothing else of it but errors: libraries in their own right."""
CARRIED = ROOT / "podkit/export/files"
"""Programs that an export carries into a cluster: podkit itself never runs them."""
PARTS = ("podkit", "podkit_gateway", "podkit_sandbox", "startup", "services", "bench", "tests")
"""The folders whose Python follows the rules of style."""

DOORS = {
    "podkit.runpod.answers",
    "podkit.runpod.http",
    "podkit.runpod.logs",
    "podkit.runpod.session",
    "podkit.jobs.client",
    "podkit.s3",
    "podkit.pods.pod_http",
    "podkit.pods.probes",
    "podkit.pods.chat",
    "podkit.ocr.evaluation",
    "podkit.ocr.page_reader",
    "podkit.ocr.relay",
    "podkit.commands.app",
}
"""The modules that speak to a network."""
NETWORK = re.compile(
    r"(requests|urllib3|urllib\.request|http\.client|http\.server|socket|boto3|botocore)(\.|$)"
)
"""What speaks to one."""

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
    r"|\b(rpa|hf|ghp|gho)_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9]{20,}|\bAKIA[A-Z0-9]{16}\b"
    r"|BEGIN [A-Z ]*PRIVATE KEY"
)
"""Hosts of package registries, which a mirror may replace, and texts of the shape of a secret."""


@pytest.fixture(scope="module", autouse=True)
def keep_the_trees() -> Iterator[None]:
    """No garbage is looked for among millions of nodes, which took longer than all the tests; they
    are given up in the end.
    """
    gc.disable()
    yield
    for kept in (style.parsed, style.nodes_of):
        kept.cache_clear()
    gc.enable()


def lines(paths: list[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def python_files(*folders: str) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        found += sorted((ROOT / folder).rglob("*.py"))
    return found


def run_time_statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every statement of a module but those below `if TYPE_CHECKING:`."""
    yield tree
    for node in style.children(tree):
        if isinstance(node, ast.expr):
            continue
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from run_time_statements(node)


@cache
def imports(path: Path) -> list[str]:
    """Every module that `path` imports when it runs, with the name that is taken from it."""
    found: list[str] = []
    for node in run_time_statements(style.parsed(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def floor_of(module: str) -> int:
    """How high a module of podkit stands, 0 for the ground floor."""
    folder = module.split(".")[1] if module.count(".") else ""
    folder = FLOOR.get(folder, folder)
    return FLOORS.index(folder) if folder in FLOORS else 0


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize(
    ("pattern", "limit"),
    [("deploy_*.sh", 30), ("list_pods.sh", 15), ("stop_pod.sh", 15), ("run_tests.sh", 15)],
)
def test_a_root_script_only_names_the_intent(pattern: str, limit: int) -> None:
    scripts = sorted(ROOT.glob(pattern))
    assert scripts, f"no script is named {pattern}: take it out of this test"
    for script in scripts:
        long = f"{script} has more than {limit} lines: move what decides into podkit/commands"
        assert lines([script]) <= limit, long


def test_what_a_new_reader_reads_first_is_short() -> None:
    guide = ROOT / "CLAUDE.md"
    assert lines([guide]) < 80, f"{guide}: move the reasons to docs/decisions.md"


def test_code_is_written_to_be_read() -> None:
    found: list[str] = []
    for path in python_files(*PARTS):
        found += style.findings(path)
    assert not found, "\n".join(["what to change, file by file:", *found])


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("a, b = 1, 2", "a tuple-to-tuple assignment"),
        ("x = 1 if a else 2 if b else 3", "a conditional expression in another"),
        ("x = [a for b in c for a in b]", "a comprehension with two `for`"),
        ("def f():\n" + "    x = 1\n" * 41, "f has 42 lines of code"),
        ("class A:\n" + "    x = 1\n" * 201, "A has 202 lines of code"),
        ("def f():\n" + "    if x: pass\n" * 10, "f has complexity 11"),
        ("x = 1\n" * 301, "301 lines of code"),
    ],
)
def test_a_broken_rule_of_style_is_found(tmp_path: Path, code: str, finding: str) -> None:
    file = tmp_path / "a.py"
    file.write_text(code)
    assert [line for line in style.findings(file) if finding in line]


def test_a_swap_and_a_docstring_break_no_rule(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    prose = '"""' + "words\n" * 400 + '"""\n'
    file.write_text(f"{prose}# a remark\n\na, b = b, a\nx, y = pair()\n")
    assert list(style.findings(file)) == []
    assert len(style.code_lines(file)) == 2


def test_no_line_escapes_the_formatter() -> None:
    escape = "fmt: " + "skip"
    escaping = [str(path) for path in python_files(*PARTS) if escape in path.read_text("utf-8")]
    assert not escaping, "\n".join([f"take out each `# {escape}`, in:", *escaping])


@pytest.mark.parametrize("script", sorted(ROOT.glob("*.sh")), ids=lambda path: path.name)
def test_no_root_script_speaks_to_the_api_or_reads_env_files(script: Path) -> None:
    code = [
        line for line in script.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    for line in code:
        wrong = re.search(r"curl|wget|jq|json|https?:|[{]|\.env", line.replace("${", ""))
        assert not wrong, f"{script}: {line}: let Python do this"
    last = '. "${script%/*}/lib/bootstrap.sh"'
    assert last in code, f"{script}: begin as the other scripts do, up to the line {last}"


def test_imports_of_podkit_run_downward() -> None:
    upward = []
    for path in python_files("podkit"):
        module = module_of(path)
        for name in imports(path):
            if name.startswith("podkit.") and floor_of(name) > floor_of(module):
                upward.append(f"{path}: imports {name}, which stands above it")
    entry = ROOT / "podkit/__main__.py"
    wrong = [line for line in upward if not line.startswith(str(entry))]
    assert not wrong, "\n".join(["move what is shared down, or the importer up:", *wrong])


def test_every_folder_of_podkit_has_its_place_and_every_place_a_folder() -> None:
    places = {*FLOORS, *FLOOR, *STANDALONE} - {"ground"}
    folders = {path.parent.name for path in ROOT.glob("podkit/*/__init__.py")}
    homeless = folders - places
    assert not homeless, f"enter it in FLOORS, FLOOR or STANDALONE of {__file__}: {homeless}"
    assert not places - folders, f"take out of {__file__}, it is no folder: {places - folders}"


def test_a_library_of_its_own_imports_nothing_of_podkit_but_errors() -> None:
    foreign = []
    for name in STANDALONE:
        own = f"podkit.{name}"
        for path in python_files(own.replace(".", "/")):
            for one in imports(path):
                if one.startswith("podkit") and not one.startswith((f"{own}.", "podkit.errors.")):
                    foreign.append(f"{path}: imports {one}")
    assert not foreign, "\n".join(
        ["take the import out, or the folder out of STANDALONE:", *foreign]
    )


def test_the_side_of_the_laptop_and_the_others_do_not_import_each_other() -> None:
    sides = {"podkit", "podkit_gateway", "podkit_sandbox", "startup", "services"}
    wrong = []
    for side in sides:
        for path in python_files(side):
            others = tops(path) & (sides - {side})
            if path.is_relative_to(ROOT / "podkit/commands"):
                others -= {"podkit_sandbox"}  # they start it
            for other in others:
                wrong.append(f"{path}: imports {other}")
    assert not wrong, "\n".join(["one side says it to the other over the network:", *wrong])


def test_what_runs_in_the_pod_needs_the_standard_library_alone() -> None:
    files = python_files("startup")
    own = {"boot", *(path.stem for path in files)}
    own |= {"obstore"}  # of fetch_s3.py, a program in an environment of its own
    own |= {"olmocr", "boto3"}  # and of read_workspace.py
    for path in files:
        foreign = tops(path) - own - set(sys.stdlib_module_names)
        assert not foreign, f"{path}: imports {foreign}, which the pod's Python does not have"


def test_there_is_one_door_to_the_environment_and_few_to_the_network() -> None:
    reading = set()
    doors = set()
    for path in python_files("podkit"):
        if CARRIED in path.parents:
            continue
        if re.search(r"os\.environ|getenv", path.read_text(encoding="utf-8")):
            reading.add(module_of(path))
        if any(NETWORK.match(name) for name in imports(path)):
            doors.add(module_of(path))
    readers = {"podkit.commands.app", "podkit.jobs.client"}
    assert reading == readers, "only these modules may read the environment"
    assert doors == DOORS, "only these modules may import what opens connections; see DOORS"


def test_no_command_asks_whether_its_answer_is_json() -> None:
    asking = set()
    for path in python_files("podkit"):
        if "as_json" in path.read_text(encoding="utf-8"):
            asking.add(module_of(path))
    wrong = asking - {"podkit.commands.app", "podkit.commands.options"}
    assert not wrong, f"{wrong}: return a Result, or use show_line() and show_event() of App"


def test_the_help_waits_for_no_package_that_it_does_not_need() -> None:
    heavy = "{'requests', 'rich', 'dotenv', 'jsonschema'}"
    show = f"import sys, podkit.commands.cli; print(*sorted({heavy} & set(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", show],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert ended.stdout.strip() == ""


@pytest.mark.parametrize(("form", "example"), BASH_4.items(), ids=list(BASH_4.values()))
def test_no_laptop_script_uses_what_bash_3_2_or_bsd_lacks(form: str, example: str) -> None:
    assert re.search(form, example)
    found = []
    for script in SCRIPTS:
        for number, line in enumerate(script.read_text(encoding="utf-8").splitlines(), 1):
            if not line.lstrip().startswith("#") and re.search(form, line):
                found.append(f"{script.name}:{number}: {line.strip()}")
    assert not found, "\n".join([f"bash 3.2 and BSD tools do not know {example}:", *found])


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
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert files
    for path in files:
        if path.is_file():
            found = NOT_FOR_THE_PUBLIC.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path}: take out {found[0]!r}"
