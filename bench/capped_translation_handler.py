"""The translation worker whose outputs end after MOST_TOKENS tokens of a sentence.

Random weights never end a sentence by themselves: without this the worker would take each of them
for a loop, and translate it twice. Nor do they say words, for which the worker looks at its start.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

SERVICE = Path(__file__).resolve().parents[1] / "services/translation"
sys.path[:0] = [str(SERVICE / "src"), str(SERVICE.parent)]

import engine  # noqa: E402
import translation_worker  # noqa: E402

engine.LONGEST_OUTPUT = int(os.environ["MOST_TOKENS"])
engine.is_stuck = lambda _tokens, _longest: False
translation_worker.prove = lambda _engine, _one, _other: None
runpy.run_path(str(SERVICE / "src/handler.py"), run_name="__main__")
