"""The olmOCR pipeline, run in its own environment, with its arguments as a line of JSON on standard
input.

So no key is in argv. When standard input closes, podkit is gone, and the toolkit is ended with all
it started: it would go on for hours without a server. This must never import podkit, which is not
there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading


def end_with_podkit() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.argv = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=end_with_podkit, daemon=True).start()
    from olmocr.pipeline import cli_main  # type: ignore[import-not-found]

    cli_main()
