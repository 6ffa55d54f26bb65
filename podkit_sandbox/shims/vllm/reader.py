"""Hands the pages to the processes that read them, and takes work back when its client has gone."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process

from podkit_sandbox.shims.ocr import FRAME, LENGTH

COMMAND = (sys.executable, "-m", "podkit_sandbox.shims.ocr")
PROCESSES = min(2, os.cpu_count() or 1)
"""Two have 1.5 GB together at most: see podkit_sandbox/shims/ocr.py."""


class Unreadable(Exception):
    """The image could not be read; the text says why."""


class PageReader:
    """Reads a page in each of its processes at a time; belongs to one event loop. `waiting` counts
    the others.
    """

    def __init__(self, processes: int = PROCESSES) -> None:
        self.waiting = 0
        self._free = asyncio.Semaphore(processes)
        self._idle: list[Process] = []

    async def read(self, image: bytes) -> str:
        """The text of an image file. Raises Unreadable. Cancelled, it never starts, or ends its
        process.
        """
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        try:
            for process in (self._idle.pop() if self._idle else None, None):
                answer = await self._ask(process or await start(), image)
                if answer is None:
                    continue  # it had ended after the page before; a new one is asked next
                readable, text = answer
                if not readable:
                    raise Unreadable(text)
                return text
            raise Unreadable("Failed to load image: it takes too much memory")
        finally:
            self._free.release()

    async def _ask(self, process: Process, image: bytes) -> tuple[bool, str] | None:
        """What the process says to an image; None if it has ended."""
        try:
            answer = await exchange(process, image)
        except (EOFError, ConnectionError):
            await process.wait()
            return None
        except asyncio.CancelledError:
            process.kill()  # or it would go on for a client that has gone
            raise
        self._idle.append(process)
        return answer


async def start() -> Process:
    return await asyncio.create_subprocess_exec(*COMMAND, stdin=PIPE, stdout=PIPE)


async def exchange(process: Process, image: bytes) -> tuple[bool, str]:
    """Whether the process could read the image, and its text or the reason. Raises EOFError or
    ConnectionError.
    """
    if process.stdin is None or process.stdout is None:
        raise EOFError
    process.stdin.write(LENGTH.pack(len(image)) + image)
    await process.stdin.drain()
    readable, length = FRAME.unpack(await process.stdout.readexactly(FRAME.size))
    return readable, (await process.stdout.readexactly(length)).decode()
