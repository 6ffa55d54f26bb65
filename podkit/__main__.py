"""`python -m podkit`, which is what lib/bootstrap.sh runs.

Signals are taken over before anything of weight is imported: a Ctrl-C in the first moments ends in
one line, too.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from podkit.errors import Interrupted
from podkit.interrupts import Interrupts, write_last


def main() -> NoReturn:
    """Run one command and exit with its code."""
    interrupts = Interrupts()
    interrupts.install()
    interrupts.watch()
    try:
        with interrupts.importing():
            from podkit.commands import cli
        cli.main(interrupts)
    except Interrupted as error:
        write_last("podkit: interrupted\n", None)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
