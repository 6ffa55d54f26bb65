"""Gives each command of standard input, a JSON list a line, to the Azure CLI's own parser; prints
those that it refuses. Runs in an environment with azure-cli, without an account: what is right ends
with "az login".
"""

from __future__ import annotations

import contextlib
import io
import json
import sys


def refusal(words: list[str]) -> str:
    """What the parser says of a command, empty if it takes it."""
    from azure.cli.core import get_default_cli  # type: ignore[import-not-found]

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            get_default_cli().invoke(words, out_file=io.StringIO())
        except SystemExit as ended:
            if ended.code == 2:
                return " ".join(said.getvalue().split()) or "refused"
    return ""


def main() -> None:
    for line in sys.stdin:
        words = json.loads(line)
        said = refusal(words)
        if said:
            print(f"az {' '.join(words)}: {said}")


if __name__ == "__main__":
    main()
