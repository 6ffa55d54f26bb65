"""From an empty pod to a served model: check, install, fetch, serve, prove, supervise; side by side where that can be.

It must never leave a failure without one line that says what to do. It exits with 70 then, and start.sh ends the pod.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from string import Template
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any, ClassVar

from chats import Chats
from watchdog import request, say

DEFAULTS = {
    "PODKIT_LOCAL": "/opt/podkit",
    "PODKIT_VOLUME": "/workspace",
    "HF_TOKEN": "",
    "PODKIT_MIN_FREE_GIB": "14",
}
DEFAULTS |= {"PODKIT_API_PORT": "8000", "PODKIT_WEBUI_PORT": "3000", "RUNPOD_POD_ID": "unknown"}
SETTINGS = DEFAULTS | dict(os.environ)
STARTUP = Path(__file__).resolve().parent
LOCAL, VOLUME, POD = (
    Path(SETTINGS["PODKIT_LOCAL"]),
    Path(SETTINGS["PODKIT_VOLUME"]),
    SETTINGS["RUNPOD_POD_ID"],
)
HIDDEN = re.compile(
    r"WEBUI_|(RUNPOD_API_KEY|PODKIT_API_KEY|HF_TOKEN|HF_HUB_ENABLE_HF_TRANSFER|VIRTUAL_ENV)$"
)
REQUIRED = ("PODKIT_API_KEY", "WEBUI_ADMIN_EMAIL", "WEBUI_ADMIN_PASSWORD", "WEBUI_SECRET_KEY")
START, GIB, SNAPSHOT_SECONDS = time.monotonic(), 2**30, 120
SECONDS: dict[str, float] = {}
POOL = ThreadPoolExecutor(16)
ENDS: SimpleQueue[BaseException | None] = (
    SimpleQueue()
)  # why the boot ends, the first one counts; None: SIGTERM
CLOSING, STARTING = threading.Event(), threading.Lock()


def elapsed() -> float:
    return round(time.monotonic() - START, 1)


def strand(function: Callable[..., Any], *args: Any) -> "Future[Any]":
    """Runs it beside the rest; its failure ends the boot."""
    future = POOL.submit(function, *args)
    future.add_done_callback(lambda done: ENDS.put(done.exception()) if done.exception() else None)
    return future


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Logs a phase and its seconds; whatever fails inside it becomes a Fatal with its name."""
    begin = elapsed()
    say(f"phase={name} event=start t={begin}")
    try:
        yield
    except Exception as error:
        fatal = (
            error
            if isinstance(error, Fatal)
            else Fatal(repr(error), "read the lines above; deploy again")
        )
        fatal.step = fatal.step or name
        say(f"phase={name} event=failed t={elapsed()}")
        raise fatal from error
    SECONDS[name] = round(elapsed() - begin, 1)
    say(f"phase={name} event=done t={elapsed()}")


class Fatal(Exception):
    """A failure that ends the pod: what happened and what to do, each on one line."""

    def __init__(self, reason: str, fix: str, step: str = "") -> None:
        self.reason, self.fix, self.step = " ".join(reason.split()), fix, step


def expand(file: str) -> str:
    """A text file of this folder with its $NAMEs replaced by the pod's settings."""
    more = {
        "PODKIT_STARTUP": str(STARTUP),
        "MODEL_CLIENT_NAME": SETTINGS["MODEL_SERVED_NAMES"].split()[0],
    }
    return Template((STARTUP / file).read_text()).substitute(SETTINGS, **more)


def environment(name: str) -> dict[str, str]:
    """The environment for a child: ours without any secret, and the lines of `name`.env."""
    lines = (
        line.split("=", 1) for line in expand(f"{name}.env").splitlines() if line and line[0] != "#"
    )
    return {name: value for name, value in os.environ.items() if not HIDDEN.match(name)} | dict(
        lines
    )


class Service:
    """A child in a session of its own. Its lines go to the log; the last ones are kept to explain its death."""

    all: ClassVar[set["Service"]] = set()  # what a shutdown must end

    def __init__(self, name: str, argv: list[str]) -> None:
        self.name, self.argv = name, argv
        self.start()

    def start(self) -> None:
        options: dict[str, Any] = {
            "env": environment(self.name),
            "stdin": DEVNULL,
            "start_new_session": True,
        }
        with STARTING:  # the shutdown takes it for good: nothing starts any more
            self.process = subprocess.Popen(self.argv, stdout=PIPE, stderr=STDOUT, **options)
            Service.all.add(self)
        self.tail: deque[str] = deque(maxlen=400)
        self.pump = threading.Thread(target=self._log, daemon=True)
        self.pump.start()

    def _log(self) -> None:
        for line in self.process.stdout or ():
            self.tail.append(line.decode(errors="replace"))
            print(f"[{self.name}] {self.tail[-1].rstrip()}\n", end="", flush=True)

    def healthy(self, port: str) -> "Service":
        """Itself, once /health answers 200. Raises Fatal when it dies before."""
        while request(f"http://127.0.0.1:{port}/health")[0] != 200:
            if self.process.poll() is not None:
                raise self.failure()
            time.sleep(0.5)
        return self

    def failure(self, step: str = "") -> Fatal:
        """What its death means: the first known failure of failures.json in its last lines, else the last line."""
        self.pump.join(2)
        output, table = "".join(self.tail), json.loads((STARTUP / "failures.json").read_text())
        for known in table.get(self.name, []) + table["any"]:
            if re.search(known["pattern"], output):
                return Fatal(known["reason"], known["fix"], step)
        last = output.strip().rpartition("\n")[2][:300]
        return Fatal(
            f"{self.name} died with status {self.process.poll()}: {last}",
            "read the lines above",
            step,
        )

    def stop(self, seconds: float) -> None:
        """Ends all of its process group: SIGTERM, `seconds`, SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(OSError, subprocess.TimeoutExpired):
                os.killpg(self.process.pid, number)
                self.process.wait(seconds)


def run(name: str, argv: list[str], each: Callable[[], None] = lambda: None) -> None:
    """Runs a program, calling `each` every 5 seconds. Raises Fatal if it fails."""
    service = Service(name, argv)
    while service.process.poll() is None:
        each()
        with suppress(subprocess.TimeoutExpired):
            service.process.wait(5)
    if service.process.returncode:
        raise service.failure("install" if name == "uv" else "")


@phase("check")
def check() -> str:
    """The GPU's name and driver, once the pod has all that a boot needs."""
    if missing := [name for name in REQUIRED if not SETTINGS.get(name)]:
        raise Fatal(f"{', '.join(missing)} not set", "deploy with podkit, which sets them")
    if len(SETTINGS["WEBUI_ADMIN_PASSWORD"].encode()) > 72:
        raise Fatal(
            "WEBUI_ADMIN_PASSWORD is longer than bcrypt's 72 bytes", "choose a shorter one in .env"
        )
    if not shutil.which("cc") or not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise Fatal(
            "cc or Python.h is missing, with which vLLM compiles", "use the image that podkit names"
        )
    free, needed = shutil.disk_usage(LOCAL).free / GIB, float(SETTINGS["PODKIT_MIN_FREE_GIB"])
    if free < needed:
        raise Fatal(
            f"{free:.1f} GiB free on the local disk, {needed:g} needed", "deploy with a larger disk"
        )
    try:
        POOL.submit(check_volume).result(60)
    except OSError as error:
        why = error.strerror or "no answer"
        raise Fatal(
            f"the network volume cannot be written: {why}", "enlarge it if full; deploy again"
        ) from error
    return check_gpu()


def check_volume() -> None:
    """Its own free space is unknown: df shows the whole cluster, not the quota."""
    if not VOLUME.is_dir() or not (VOLUME.is_mount() or SETTINGS.get("RUNPOD_VOLUME_ID")):
        raise Fatal(
            f"no network volume at {VOLUME}", "attach one: ./podkit.sh volume create --size 100"
        )
    (VOLUME / "podkit" / "cache").mkdir(parents=True, exist_ok=True)
    (VOLUME / "podkit" / ".probe").write_bytes(bytes(2**20))
    say(f"volume used_gib={size(VOLUME / 'hf_cache', VOLUME / 'podkit') / GIB:.1f}")


def check_gpu() -> str:
    """Its name and driver. The memory must hold one request of full length beside weights and overhead (assumed)."""
    query = [
        "nvidia-smi",
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader,nounits",
    ]
    header, rows = (
        subprocess.check_output(argv, text=True, timeout=60) for argv in (["nvidia-smi"], query)
    )
    cuda = re.search(r"CUDA (?:\w+ )?Version:\s*(\d+\.\d+)", header)
    if float(found := cuda[1] if cuda else "0") < 13:
        raise Fatal(
            f"the driver's CUDA is too old: {found}, 13.0 is needed",
            "deploy with gpu.minCudaVersion 13.0",
        )
    name, memory, driver = (part.strip() for part in rows.splitlines()[0].split(","))
    numbers = ("GPU_UTILIZATION", "WEIGHTS_GIB", "MAX_LEN", "KV_BYTES_PER_TOKEN")
    gib, (share, weights, tokens, bytes_each) = (
        float(memory) / 1024,
        (float(SETTINGS[f"MODEL_{n}"]) for n in numbers),
    )
    if gib * share - weights - (2.0 if gib <= 24 else 2.5) < tokens * bytes_each / GIB:
        too_small = Fatal(
            f"{name}: {memory} MiB of GPU memory are too few for this model",
            "use a larger GPU: --gpu",
        )
        if SETTINGS.get("PODKIT_FORCE") != "1":
            raise too_small
        say(f"{too_small.reason}; going on because of --force")
    return f"{name} {driver}"


def size(*folders: Path) -> int:
    """Bytes in the folders' files; what cannot be read counts nothing."""
    total = 0
    for parent, _, names in (entry for folder in folders for entry in os.walk(folder)):
        for name in names:
            with suppress(OSError):
                total += os.lstat(f"{parent}/{name}").st_size
    return total


def install(package: str, name: str, *options: str) -> Path:
    """The bin folder of an environment of its own on local disk; constraints-<name>.txt pins every version."""
    folder, constraints = LOCAL / f"venv-{name}", STARTUP / f"constraints-{name}.txt"
    venv = ["uv", "venv", "--no-python-downloads", "--python"]
    try:
        run("uv", [*venv, "3.12", str(folder)])
    except Fatal:
        run("uv", [*venv, "3.11", str(folder)])
    command = [
        "uv",
        "pip",
        "install",
        "--python",
        str(folder / "bin" / "python"),
        "--compile-bytecode",
        "--quiet",
    ]
    run("uv", [*command, "--constraints", str(constraints), *options, package])
    return folder / "bin"


@phase("fetch")
def fetch() -> Path:
    """The pinned checkpoint's folder: untouched if it is there, else downloaded. Its weights are read into memory."""
    target = (
        VOLUME
        / "hf_cache"
        / f"{SETTINGS['MODEL_REPO'].replace('/', '--')}@{SETTINGS['MODEL_REVISION']}"
    )
    if not (target / "config.json").is_file():
        download(target)
    POOL.submit(
        lambda: subprocess.call(
            ["/bin/cat", "/dev/null", *target.glob("*.safetensors")], stdout=DEVNULL
        )
    )
    return target


def download(target: Path) -> None:
    """Into a folder of its own, renamed when complete: two pods may do this at once."""
    target.parent.mkdir(exist_ok=True)
    for old in target.parent.glob(".incoming-*"):
        if (
            f"-{POD}-" in old.name or time.time() - old.stat().st_mtime > 86_400
        ):  # no download takes a day
            shutil.rmtree(old, ignore_errors=True)
    incoming, hf = (
        target.with_name(f".incoming-{POD}-{os.urandom(4).hex()}"),
        install("huggingface-hub", "hf") / "hf",
    )
    what = [
        SETTINGS["MODEL_REPO"],
        "--revision",
        SETTINGS["MODEL_REVISION"],
        "--local-dir",
        str(incoming),
    ]
    told, total = "phase=fetch event=progress", int(float(SETTINGS["MODEL_WEIGHTS_GIB"]) * GIB)
    run(
        "hf",
        [str(hf), "download", *what],
        lambda: say(f"{told} t={elapsed()} bytes={size(incoming)} total={total}"),
    )
    with suppress(OSError):  # another pod may have been first
        incoming.rename(target)
    shutil.rmtree(incoming, ignore_errors=True)


def copy_cache(source: Path, target: Path) -> None:
    """What vLLM compiled, from or to the volume: whole, and never over another's."""
    draft = target.with_name(f".incoming-{POD}")
    if source.is_dir() and not target.exists():
        with suppress(OSError):
            shutil.copytree(source, draft, dirs_exist_ok=True)
            draft.rename(target)
        shutil.rmtree(draft, ignore_errors=True)


@phase("webui")
def serve_page(chats: Chats) -> Service:
    """Open WebUI, public. Raises Fatal, with it ended, unless the admin gets in and nobody else can."""
    binaries = install("open-webui", "webui", "--override", str(STARTUP / "webui-overrides.txt"))
    chats.restore(time.time())
    if (chats.data / "webui.db").exists():  # it knows the login that it was made with
        run("webui", [str(binaries / "python"), str(STARTUP / "chats.py")])
    with socket.create_server(("127.0.0.1", 0)) as probe:  # a port that nothing outside is led to
        port = str(probe.getsockname()[1])
    serve, base = [str(binaries / "open-webui"), "serve", "--host"], f"http://127.0.0.1:{port}/api"
    service = Service("webui", [*serve, "127.0.0.1", "--port", port]).healthy(port)
    admin = {"email": SETTINGS["WEBUI_ADMIN_EMAIL"], "password": SETTINGS["WEBUI_ADMIN_PASSWORD"]}
    stranger = {"name": "x", "email": "stranger@podkit.local", "password": os.urandom(8).hex()}
    config = request(f"{base}/config")[1]
    proofs = {
        "the admin cannot sign in": request(f"{base}/v1/auths/signin", admin)[0] == 200,
        "the first visitor could become admin": config
        and json.loads(config).get("onboarding") is not True,
        "a stranger can sign up": request(f"{base}/v1/auths/signup", stranger)[0] == 403,
    }
    service.stop(5)
    if failed := [reason for reason, proven in proofs.items() if not proven]:
        raise Fatal(
            f"Open WebUI is not safe to show: {', '.join(failed)}",
            "read its lines above; deploy again",
        )
    port = SETTINGS["PODKIT_WEBUI_PORT"]
    service = Service("webui", [*serve, "0.0.0.0", "--port", port]).healthy(port)  # noqa: S104 - through the proxy
    chats.live = True
    return service


def vllm_command(model: Path) -> list[str]:
    return [
        str(LOCAL / "venv-vllm" / "bin" / "vllm"),
        "serve",
        str(model),
        *expand("vllm.flags").split(),
    ]


@phase("warm-up")
def warm_up(vllm: Service) -> None:
    """One real completion."""
    url = f"http://127.0.0.1:{SETTINGS['PODKIT_API_PORT']}/v1/chat/completions"
    content: list[Any] = [{"type": "text", "text": "What is on this page?"}]
    if SETTINGS["MODEL_PROBE"] == "image":
        content.append(
            {"type": "image_url", "image_url": {"url": expand("white-page.txt").strip()}}
        )
    body: dict[str, Any] = {"model": SETTINGS["MODEL_SERVED_NAMES"].split()[0], "max_tokens": 16}
    body["messages"] = [{"role": "user", "content": content}]
    status, _ = request(url, body, SETTINGS["PODKIT_API_KEY"], timeout=300)
    if status != 200:
        failed = Fatal(f"the first completion failed: HTTP {status}", "read vLLM's lines above")
        raise failed if vllm.process.poll() is None else vllm.failure()


@phase("ready")
def announce(gpu: str) -> None:
    """READY: a table, a line in boots.jsonl, and the file that the watchdog waits for."""
    (LOCAL / "ready").touch()
    at, model = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), SETTINGS["PODKIT_MODEL"]
    line = {
        "at": at,
        "pod": POD,
        "model": model,
        "gpu": gpu,
        "data_center": SETTINGS.get("RUNPOD_DC_ID"),
    }
    with suppress(OSError), open(VOLUME / "podkit" / "boots.jsonl", "a") as file:
        file.write(json.dumps({**line, "seconds": SECONDS, "total": elapsed()}) + "\n")
    for name, seconds in {**SECONDS, "in all": elapsed()}.items():
        say(f"boot {name:<8} {seconds:7.1f} s")


def supervise(service: Service) -> None:
    """Starts it again when it has died, after a pause, up to 3 times. Its fourth death is Fatal."""
    for death, pause in enumerate((2, 10, 30, 0), 1):
        service.process.wait()
        failure = service.failure("serve")
        service.stop(0)  # the rest of its group: vLLM's engine would keep the GPU's memory
        if CLOSING.is_set():
            return
        if not pause:
            raise failure
        say(f"{service.name} died, start {death} of 3 again in {pause} s: {failure.reason}")
        if not CLOSING.wait(pause):
            service.start()


def sequence(chats: Chats) -> None:
    gpu = check()
    web, model = strand(serve_page, chats), strand(fetch)
    versions = hashlib.sha256((STARTUP / "constraints-vllm.txt").read_bytes()).hexdigest()[:12]
    key = re.sub("[^A-Za-z0-9.]+", "-", f"{gpu} {versions} {SETTINGS['PODKIT_MODEL']}")
    cached = strand(copy_cache, VOLUME / "podkit" / "cache" / key, LOCAL / "cache")
    with phase("install"):
        install("vllm", "vllm")
    cached.result()
    command = vllm_command(model.result())
    with phase("load"):
        vllm = Service("vllm", command).healthy(SETTINGS["PODKIT_API_PORT"])
    warm_up(vllm)
    for service in (vllm, web.result()):
        strand(supervise, service)
    announce(gpu)
    copy_cache(LOCAL / "cache", VOLUME / "podkit" / "cache" / key)
    while not CLOSING.wait(SNAPSHOT_SECONDS):
        chats.keep(time.time())


def main() -> int:
    """The exit code: 143 after SIGTERM, 70 after a failure. Ending takes 9 seconds: 4 for the chats, then 5."""
    signal.signal(signal.SIGTERM, lambda *_: ENDS.put(None))
    chats = Chats(
        VOLUME / "podkit" / "open-webui" / SETTINGS["PODKIT_MODEL"], LOCAL / "webui-data", POD
    )
    strand(sequence, chats)
    if end := ENDS.get():
        fatal = (
            end if isinstance(end, Fatal) else Fatal(repr(end), "report this with the log", "boot")
        )
        say(f"fatal step={fatal.step} reason={fatal.reason} fix={fatal.fix}")
    CLOSING.set()
    STARTING.acquire()
    wait([POOL.submit(chats.keep, time.time(), last=True)], 4)
    list(POOL.map(lambda service: service.stop(5), Service.all))
    return 70 if end else 143


if __name__ == "__main__":
    os._exit(main())  # not sys.exit, which would wait for the strands
