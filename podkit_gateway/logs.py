"""Logs as JSON lines on stderr: ids, names of ours, numbers. Never content, a key, or a client's
address unless asked for.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def open_log() -> Any:
    """The log; one line for each request and each event of the gateway."""
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    quiet_libraries()
    return structlog.get_logger()


class OneLine(logging.Handler):
    """Passes what a library says as the name of its error alone: its text might hold what a client
    sent.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        structlog.get_logger().warning("library", source=record.name, error=error)


def quiet_libraries() -> None:
    root = logging.getLogger()
    root.handlers = [OneLine()]
    root.setLevel(logging.ERROR)
