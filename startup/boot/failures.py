"""What a failure means and what to do about it. No failure of a program may end a pod without such
a line.
"""

import json
import re
from pathlib import Path


class Fatal(Exception):
    """A failure that ends the pod: what happened and what to do, each on one line.

    `step` is the phase that it belongs to; empty until a phase that it leaves fills it in.
    `output` holds the last lines of the program that failed, if one did.
    """

    def __init__(self, reason: str, fix: str, step: str = "", output: str = "") -> None:
        self.reason = " ".join(reason.split())
        self.fix = fix
        self.step = step
        self.output = output


def explain_death(table: Path, program: str, status: int | None, output: str) -> Fatal:
    """What the death of a program means: the first known failure in its output, else its last line.

    `table` is failures.json: patterns for each program, then for any.
    """
    known_failures = json.loads(table.read_text())
    for known in known_failures.get(program, []) + known_failures["any"]:
        if re.search(known["pattern"], output):
            return Fatal(known["reason"], known["fix"], output=output)
    last_line = output.strip().rpartition("\n")[2][:300]
    reason = f"{program} died with status {status}: {last_line}"
    return Fatal(reason, "read the lines above", output=output)
