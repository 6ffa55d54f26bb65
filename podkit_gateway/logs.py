"""Logs as JSON lines on stderr: ids, names of ours, numbers. Never content, a key, or a client's
address unless asked for.
"""

from __future__ import annotations

import json
import logging
from typing import Any, TextIO

import structlog


def open_log(file: TextIO) -> Any:
    """The log; one line for each request and each event of the gateway. Put together once: each
    request waits for its line.
    """
    encode = json.JSONEncoder(default=repr).encode

    def render(event: dict[str, Any], **_options: Any) -> str:
        return encode(event)

    log = structlog.wrap_logger(
        structlog.WriteLogger(file),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(render),
        ],
    )
    return log.bind()


class OneLine(logging.Handler):
    """Passes what a library says as the name of its error alone: its text might hold what a client
    sent.
    """

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        self._log.warning("library", source=record.name, error=error)


def quiet_libraries(log: Any) -> None:
    """Has everything that libraries of this process say go through `OneLine`."""
    root = logging.getLogger()
    root.handlers = [OneLine(log)]
    root.setLevel(logging.ERROR)
