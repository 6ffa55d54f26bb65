"""The programs that the boot runs: installers, the model server, the chat page. None may outlive
the boot.
"""

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pod_http import request
from pod_log import say
from users import prepare_home, run_as, user_for

from boot.configuration import Configuration
from boot.failures import Fatal, explain_death

KEPT_LINES = 400
"""How many of a program's last lines explain its death."""
HEALTH_SECONDS = 5.0
"""For an answer of a program on this machine, which may not come: another may have its port."""
RESTART_PAUSES = (2.0, 10.0, 30.0)
"""Seconds before a service that died is started again; there is no fourth time."""


class Service:
    """A program in a session of its own. Its lines go to the log."""

    def __init__(self, name: str, argv: list[str], configuration: Configuration) -> None:
        self.name = name
        self._argv = argv
        self._configuration = configuration
        self.start()

    def start(self) -> None:
        environment = self._configuration.program_environment(self.name)
        options = {}
        user = user_for(self.name, self._needs())
        if user:
            environment |= prepare_home(user, self.name, self._configuration.local)
            options = run_as(user)
        self.process = subprocess.Popen(
            self._argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_healthy(self, port: int, closing: threading.Event) -> None:
        """Returns once GET /health answers 200. Raises Fatal if the program dies before."""
        url = f"http://127.0.0.1:{port}/health"
        while request(url, timeout=HEALTH_SECONDS)[0] != 200:
            if self.process.poll() is not None:
                raise self.failure()
            closing.wait(0.5)

    def failure(self) -> Fatal:
        """What its death means."""
        self._reader.join(2)
        table = self._configuration.startup / "failures.json"
        return explain_death(table, self.name, self.process.poll(), "".join(self.last_lines))

    def stop(self, seconds: float) -> None:
        """Ends all of its process group: SIGTERM, `seconds`, SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(OSError, subprocess.TimeoutExpired):
                os.killpg(self.process.pid, number)
                self.process.wait(seconds)

    def _needs(self) -> list[Path]:
        """What the program uses: the local disk, startup/, and what its arguments name."""
        needs = [self._configuration.local, self._configuration.startup]
        for argument in self._argv:
            path = Path(argument)
            if path.is_absolute() and path.exists():
                needs.append(path)
        return needs

    def _read(self) -> None:
        for raw in self.process.stdout or ():
            line = raw.decode(errors="replace")
            self.last_lines.append(line)
            print(f"[{self.name}] {line.rstrip()}\n", end="", flush=True)


class Services:
    """Every program of this boot, so that none is left when it ends."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._all: set[Service] = set()
        self._starting = threading.Lock()
        self.closing = threading.Event()

    def start(self, name: str, argv: list[str]) -> Service:
        with self._starting:
            service = Service(name, argv, self._configuration)
            self._all.add(service)
        return service

    def run(self, name: str, argv: list[str], each: Callable[[], None] | None = None) -> None:
        """Runs a program to its end, calling `each` every 5 seconds. Raises Fatal if it fails.

        What `each` raises ends the program, and is raised again.
        """
        service = self.start(name, argv)
        try:
            while service.process.poll() is None:
                if each:
                    each()
                with suppress(subprocess.TimeoutExpired):
                    service.process.wait(5)
        except BaseException:
            service.stop(5)
            raise
        if service.process.returncode:
            raise service.failure()

    def supervise(self, service: Service) -> None:
        """Starts it again whenever it has died, after a pause. Raises Fatal at its fourth death."""
        for number, pause in enumerate(RESTART_PAUSES, 1):
            failure = self._wait_for_death(service)
            if self.closing.is_set():
                return
            again = f"start {number} of {len(RESTART_PAUSES)} again in {pause:g} s"
            say(f"{service.name} died, {again}: {failure.reason}")
            if self.closing.wait(pause):
                return
            with self._starting:
                service.start()
        failure = self._wait_for_death(service)
        if not self.closing.is_set():
            failure.step = "serve"
            raise failure

    def close(self) -> None:
        """From now on nothing starts: who tries to waits until the process ends."""
        self.closing.set()
        self._starting.acquire()

    def stop_all(self, seconds: float) -> None:
        """Ends every program at once; call `close` before."""
        with ThreadPoolExecutor(max(len(self._all), 1)) as pool:
            for service in self._all:
                pool.submit(service.stop, seconds)

    def _wait_for_death(self, service: Service) -> Fatal:
        service.process.wait()
        failure = service.failure()
        service.stop(0)  # the rest of its group: vLLM's engine would keep the GPU's memory
        return failure
