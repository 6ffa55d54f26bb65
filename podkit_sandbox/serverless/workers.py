"""Serverless workers as real processes: the service's own code under the SDK's own loop.

Must never leave a process behind, nor show a worker the home of this machine's user: the SDK would
send the key that it finds there.
"""

import asyncio
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import IO
from urllib.parse import quote

from podkit_sandbox.containers import LOOK_SECONDS, PATH, resolve_secrets
from podkit_sandbox.processes import MARK, kill
from podkit_sandbox.serverless.environments import Environment, EnvironmentFailed, Environments
from podkit_sandbox.serverless.model import Worker
from podkit_sandbox.serverless.platform import PaperWorkers, Platform
from podkit_sandbox.serverless.services import Service, find_service

RESTART_SECONDS = 1.0  # between a container's end and its next start
PING_MS = 1000  # between two pings: the SDK's usual 10 s would make cancelled jobs look held


class ProcessWorkers(PaperWorkers):
    """Runs workers as processes under `root`; of one event loop."""

    def __init__(self, root: Path, api_url: str, extra: Mapping[str, str]) -> None:
        """`extra` is for every worker's environment."""
        self._root = root
        self._api_url = api_url
        self._extra = extra
        self._environments = Environments(root / "envs")
        self._lives: dict[str, tuple[Worker, asyncio.Task[None]]] = {}

    def open(self, platform: Platform, images: Mapping[str, Service]) -> None:
        """Says whose workers these are, and where their services lie."""
        self._platform = platform
        self._images = images

    def start(self, worker: Worker) -> None:
        """Begins the worker's life as a task, which ends by itself once the worker has ended."""
        life = asyncio.create_task(self._live(worker))
        self._lives[worker.id] = (worker, life)
        life.add_done_callback(lambda _: self._lives.pop(worker.id, None))

    async def close(self) -> None:
        """Ends every worker; returns when none of their processes is left."""
        lives = []
        for worker, life in self._lives.values():
            worker.ended = time.time()
            life.cancel()
            lives.append(life)
        await asyncio.gather(*lives, return_exceptions=True)

    async def _live(self, worker: Worker) -> None:
        """Runs the service, again whenever it ends, while the worker lives."""
        folder = self._root / "workers" / worker.id
        try:
            service = await self._find_service(worker)
            if service is None:
                return
            environment = await self._environments.prepare(
                service.folder,
                lambda text: self._log(worker, "system", text),
            )
            env = self._variables(worker, folder, environment)
            while worker.ended is None:
                code = await self._run(worker, service, env)
                self._platform.process_ended(worker, code)
                await asyncio.sleep(RESTART_SECONDS)
        except (EnvironmentFailed, OSError) as error:
            self._log(worker, "system", f"the worker cannot start: {error}")
            worker.failed_check = True
        finally:
            await asyncio.to_thread(kill, folder)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _find_service(self, worker: Worker) -> Service | None:
        """The service of the worker's image; waits for one while the worker lives."""
        image = worker.release.settings["image"]
        if find_service(self._images, image) is None:
            self._log(worker, "system", f"error pulling image: no folder is known for {image}")
            worker.failed_check = True
        while worker.ended is None:
            service = find_service(self._images, image)
            if service:
                worker.failed_check = False
                return service
            await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _run(self, worker: Worker, service: Service, env: Mapping[str, str]) -> int:
        """Runs the command once; its exit code. No process of it is left then."""
        folder = self._root / "workers" / worker.id
        for name in ("home", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._log(worker, "system", f"start container for {worker.release.settings['image']}")
        command = [*service.command]
        program = Path(env["PATH"].partition(":")[0], command[0])
        if program.exists():  # Popen looks in this process's PATH, not in the worker's
            command[0] = str(program)
        process = Popen(
            command,
            cwd=service.folder,
            env=env,
            start_new_session=True,
            stdout=PIPE,
            stderr=STDOUT,
        )
        (folder / "pid").write_text(str(process.pid))
        reading = threading.Thread(target=self._read, args=(worker, process.stdout), daemon=True)
        reading.start()
        while process.poll() is None and worker.ended is None:
            await asyncio.sleep(LOOK_SECONDS)
        code = process.poll()
        await asyncio.to_thread(kill, folder)
        process.wait()
        return 137 if code is None else code

    def _variables(
        self,
        worker: Worker,
        folder: Path,
        environment: Environment,
    ) -> dict[str, str]:
        """What the service sees: the endpoint's variables, then the eight that the SDK needs."""
        base = f"{self._api_url}/{worker.endpoint_id}"
        gpu = f"gpu={quote(worker.compute)}"
        ours = {
            "LANG": "C.UTF-8",
            "PATH": f"{environment.binaries}:{PATH}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPYCACHEPREFIX": str(self._root / "envs/pycache"),
        }
        if environment.model:
            ours["MODEL_DIR"] = str(environment.model)
        provided = {
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?{gpu}",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?{gpu}",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?{gpu}",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_AI_API_KEY": worker.key,
            "RUNPOD_POD_ID": worker.id,
            "RUNPOD_ENDPOINT_ID": worker.endpoint_id,
            "RUNPOD_PING_INTERVAL": str(PING_MS),
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "RUNPOD_DC_ID": worker.place,
            MARK: str(folder),
        }
        asked = resolve_secrets(worker.release.settings["env"])
        return {**ours, **self._extra, **asked, **provided}

    def _read(self, worker: Worker, stream: IO[bytes]) -> None:
        for line in stream:
            self._log(worker, "container", line.decode(errors="replace").rstrip("\r\n"))

    def _log(self, worker: Worker, source: str, text: str) -> None:
        worker.lines.append((time.time(), source, text))
        file = self._root / "logs" / f"{worker.id}.log"
        with file.open("a", encoding="utf-8") as out:
            out.write(f"{time.strftime('%H:%M:%S')} {source}: {text}\n")
