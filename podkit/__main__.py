"""`python -m podkit`, which is what lib/bootstrap.sh runs.

Signals are taken over before anything of weight is imported: a Ctrl-C in the first moments ends in
one line, too. So nothing is imported at the top but what the interpreter has loaded by then.
"""

from __future__ import annotations

import os
import signal
import sys


def leave(number: int, _frame: object) -> None:
    """End at once: nothing has been done yet."""
    os.write(2, b"podkit: interrupted\n")
    os._exit(128 + number)


def main() -> None:
    """Run one command and exit with its code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stands
            signal.signal(number, leave)
    from podkit.errors import Interrupted
    from podkit.interrupts import Interrupts, write_last

    interrupts = Interrupts()
    try:
        with interrupts.importing():
            interrupts.install()
            interrupts.watch()
            from podkit.commands import cli
        cli.main(interrupts)
    except Interrupted as error:
        write_last("podkit: interrupted\n", None)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
