"""What the boot waits for, whichever thread hears of it first."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.startup.local_pod import STARTUP
from tests.waiting import LONG

HEARS_IN_ANOTHER_THREAD = """
import signal, sys, threading, time
from boot.tasks import Tasks

tasks = Tasks()
signal.signal(signal.SIGTERM, lambda *_: tasks.end())

def hear():
    main = threading.main_thread().ident
    while sys._current_frames()[main].f_code is not Tasks.wait_for_end.__code__:
        time.sleep(0.01)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=hear, daemon=True).start()
assert tasks.wait_for_end() is None
"""


def test_a_sigterm_that_comes_to_another_thread_ends_the_boot() -> None:
    environment = {**os.environ, "PYTHONPATH": str(STARTUP)}
    words = [sys.executable, "-c", HEARS_IN_ANOTHER_THREAD]
    subprocess.run(words, env=environment, check=True, timeout=LONG)
