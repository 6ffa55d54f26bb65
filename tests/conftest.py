"""What all tests share: a checkout of their own to run scripts in, and the rule that CI skips nothing unseen."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.clones import ROOT, Clone, new_clone

for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    if (
        signal.getsignal(number) is signal.SIG_IGN
    ):  # begun in the background, or with nohup: tests send these
        signal.signal(number, signal.SIG_DFL)

os.environ["PODKIT_SANDBOX_OWNER"] = str(os.getpid())  # a suite that is killed leaves no sandbox

MAY_BE_SKIPPED = {
    "test_every_script_shows_its_help_under_bash_3_2",
    # Only root can start other users' programs.
    "test_an_image_builds_keeps_no_secret_and_answers_its_test_input",
    "test_each_service_has_a_user_a_group_and_a_home_of_its_own",
    "test_a_hole_in_the_page_reads_no_key_and_stops_nobody",
    "test_the_page_and_vllm_read_nothing_of_one_another",
    "test_the_watchdog_goes_on_as_its_own_user",
    "test_what_the_user_cannot_use_keeps_the_program_with_root_and_that_is_said",
}
"""Tests that need a machine CI does not have; every other skipped test fails a run with PODKIT_NO_SKIPS set."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = {report.nodeid for report in reporter.stats.get("skipped", [])} if reporter else set()
    forbidden = [
        name for name in skipped if name.rsplit("::")[-1].split("[")[0] not in MAY_BE_SKIPPED
    ]
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
    """A clone set up by its own scripts with uv, as the first sandbox deploy of a new user does it."""
    clone = new_clone(tmp_path_factory.mktemp("clone"), ROOT / ".venv/bin/uv")
    yield clone
    clone.run("podkit.sh", "sandbox", "stop")
