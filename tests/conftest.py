"""What all tests share: a checkout of their own to run scripts in,
and the rule that CI skips nothing unseen.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.clones import ROOT, Clone, new_clone

for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    # Ignored where the run was begun in the background, or with nohup; tests send these.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as Python starts with

# A busy machine may stall in the middle of an example.
settings.register_profile("podkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("podkit")

# What one clone's installation has downloaded, the others have.
caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("UV_CACHE_DIR", str(caches / "uv"))
os.environ["PODKIT_SANDBOX_OWNER"] = str(os.getpid())  # a suite that is killed leaves no sandbox

MAY_BE_SKIPPED = {
    "test_every_script_shows_its_help_under_bash_3_2",
    # Debian 12's kubectl is too old to take a folder as a resource.
    "test_every_overlay_renders",
    # Only root can start other users' programs.
    "test_an_image_builds_keeps_no_secret_and_answers_its_test_input",
    "test_each_service_has_a_user_a_group_and_a_home_of_its_own",
    "test_a_hole_in_the_page_reads_no_key_and_stops_nobody",
    "test_the_page_and_vllm_read_nothing_of_one_another",
    "test_the_watchdog_goes_on_as_its_own_user",
    "test_what_the_user_cannot_use_keeps_the_program_with_root_and_that_is_said",
}
"""Tests that need a machine CI does not have; with PODKIT_NO_SKIPS,
every other skip fails a run.
"""
NO_REFERENCE = "PODKIT_K8S_REFERENCE names no folder"
"""The one other reason to skip: public schemas that .ci/run looks for, and misses aloud."""
INSTALLED = ("clone", "real_page")
"""Session fixtures that install what a new user installs: their tests are slow,
and share a worker.
"""


WHOLLY_SLOW = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.slow\b", re.MULTILINE)
"""The line that marks every test of a file as slow."""


BEYOND_THE_CORE = {
    "bench",
    "browser",
    "export",
    "gateway",
    "jobs",
    "ocr",
    "s3",
    "serverless",
    "services",
}
"""Folders that --core leaves out."""
WORDS_BEYOND_THE_CORE = {"fleet", "reader", "readme", "serverless", "workspace"}
"""Words in the names of files that it leaves out, too: the README's commands show everything."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--core",
        action="store_true",
        help="only the way of one pod: its deploy, its boot, its page, its end",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what --core does not ask for; and in a fast run each file whose tests are all slow,
    as importing it would cost each worker seconds.
    """
    is_file = collection_path.suffix == ".py"
    if config.option.core:
        words = set(re.split(r"[_.]", collection_path.name)) if is_file else set()
        if collection_path.name in BEYOND_THE_CORE or words & WORDS_BEYOND_THE_CORE:
            return True
    if is_file and config.option.markexpr == "not slow":
        return bool(WHOLLY_SLOW.search(collection_path.read_text(encoding="utf-8"))) or None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests are slow by what they use, and keep together what shares a costly fixture.

    In a parallel run (pytest -n 4) a file's tests run on one worker, in their order; files with
    slow ones come first, so that no worker is left alone with one at the end.
    """
    slow = set()
    for item in items:
        group = group_of(item)
        if group in INSTALLED:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow"):
            slow.add(group)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: group_of(item) not in slow)


def group_of(item: pytest.Item) -> str:
    """The costly fixture that a test uses, else its file."""
    for name in INSTALLED:
        if name in getattr(item, "fixturenames", ()):
            return name
    return item.nodeid.partition("::")[0]


def name_of(nodeid: str) -> str:
    """The name of a test function, from its id in a plain or a parallel run
    (FILE::NAME[CASE]@GROUP).
    """
    return re.split(r"[\[@]", nodeid.partition("::")[2])[0]


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    forbidden = set()
    for report in reporter.stats.get("skipped", []) if reporter else []:
        if name_of(report.nodeid) in MAY_BE_SKIPPED or NO_REFERENCE in str(report.longrepr):
            continue
        forbidden.add(report.nodeid)
    if os.environ.get("PODKIT_NO_SKIPS") and forbidden:
        print(
            "\nskipped, and nothing may be skipped here:",
            *sorted(forbidden),
            sep="\n  ",
            file=sys.stderr,
        )
        session.exitstatus = 1


@pytest.fixture(scope="session")
def poppler() -> None:
    """Skips where PDFs cannot be read."""
    if not (shutil.which("pdfinfo") and shutil.which("pdftoppm")):
        pytest.skip("poppler is not installed: apt install poppler-utils, or brew install poppler")


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone set up by its own scripts with uv, as the first sandbox deploy of a new user does it
    who has used uv before.
    """
    clone = new_clone(tmp_path_factory.mktemp("clone"), ROOT / ".venv/bin/uv")
    yield clone
    clone.run("podkit.sh", "sandbox", "stop")
