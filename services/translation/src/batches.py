"""Sentences of many jobs, translated together.

A batch of 12 short sentences takes a sixth of the time of the 12 alone (measured,
docs/services.md). A batch takes one sentence of each waiting job in turn, so that a book does not
keep a greeting waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from engine import TOKENS_AT_ONCE, Sentence, Translated

Translate = Callable[[Sequence[Sentence], int], list[Translated]]
Waiting = tuple[Sentence, "asyncio.Future[Translated]"]


@dataclass(eq=False)
class _Job:
    beam_size: int
    waiting: deque[Waiting]


class Batches:
    """Gathers sentences for `delay` seconds, then has `translate` do them in one thread of its
    own.
    """

    def __init__(self, translate: Translate, delay: float = 0.02) -> None:
        self._translate = translate
        self._delay = delay
        self._jobs: deque[_Job] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._flushing: asyncio.Task[None] | None = None

    async def translate(self, sentences: Sequence[Sentence], beam_size: int) -> list[Translated]:
        """One Translated for each of `sentences`. Raises what the engine raises; may be
        cancelled.
        """
        loop = asyncio.get_running_loop()
        waiting: deque[Waiting] = deque()
        for sentence in sentences:
            waiting.append((sentence, loop.create_future()))
        futures = [future for _, future in waiting]
        job = _Job(beam_size, waiting)
        self._jobs.append(job)
        if self._flushing is None or self._flushing.done():
            self._flushing = loop.create_task(self._flush())
        try:
            return list(await asyncio.gather(*futures))
        finally:
            job.waiting.clear()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._delay)
        while True:
            beam_size, batch = self._take()
            if not batch:
                return
            sentences = [sentence for sentence, _ in batch]
            try:
                done = await loop.run_in_executor(
                    self._thread, self._translate, sentences, beam_size
                )
            except Exception as error:
                _fail(batch, error)
            else:
                _finish(batch, done)

    def _take(self) -> tuple[int, list[Waiting]]:
        """The next batch: of the jobs with the beam of the one that waits at the head, sentence by
        sentence in turn.
        """
        while self._jobs and not self._jobs[0].waiting:
            self._jobs.popleft()
        if not self._jobs:
            return 0, []
        beam_size = self._jobs[0].beam_size
        batch: list[Waiting] = []
        tokens = 0
        sharing = deque(job for job in self._jobs if job.beam_size == beam_size and job.waiting)
        while sharing and tokens < TOKENS_AT_ONCE:
            job = sharing.popleft()
            batch.append(job.waiting.popleft())
            tokens += len(batch[-1][0].tokens)
            if job.waiting:
                sharing.append(job)
        self._jobs.rotate(-1)
        return beam_size, batch


def _finish(batch: Sequence[Waiting], done: Sequence[Translated]) -> None:
    for (_, future), translated in zip(batch, done, strict=True):
        if not future.done():
            future.set_result(translated)


def _fail(batch: Sequence[Waiting], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
