"""What a pod must have before anything is installed: each check raises Fatal with what to do."""

import os
import re
import shutil
import socket
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from process import LOCAL, POD, SETTINGS, VOLUME, Fatal

GIB = 2**30
REQUIRED = ("PODKIT_API_KEY", "WEBUI_ADMIN_EMAIL", "WEBUI_ADMIN_PASSWORD", "WEBUI_SECRET_KEY", "MODEL_REPO")


def settings() -> None:
    if missing := [name for name in REQUIRED if not SETTINGS.get(name)]:
        raise Fatal(f"{', '.join(missing)} not set", "deploy with podkit, which sets them")
    if len(SETTINGS["WEBUI_ADMIN_PASSWORD"].encode()) > 72:
        raise Fatal("WEBUI_ADMIN_PASSWORD is longer than bcrypt's 72 bytes", "choose a shorter one in .env")
    if not re.fullmatch("[0-9a-fA-F]{64}", SETTINGS["WEBUI_SECRET_KEY"]):
        raise Fatal("WEBUI_SECRET_KEY is not 64 hex digits", "remove it from .env: podkit makes a new one")
    if SETTINGS["HF_TOKEN"].startswith("{{"):
        raise Fatal("HF_TOKEN names a secret that the account does not have", "make it in the console")
    for port in (SETTINGS["PODKIT_API_PORT"], SETTINGS["PODKIT_WEBUI_PORT"]):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                raise Fatal(f"port {port} is taken", "use an image that leaves ports 8000 and 3000 free")


def tool(*argv: str) -> str:
    """What a program prints. Raises OSError or subprocess.SubprocessError."""
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def gpu() -> str:
    """The GPU's name and the driver's version. The memory must hold one request of full length."""
    try:
        header = tool("nvidia-smi")
        rows = tool("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
    except (OSError, subprocess.SubprocessError) as error:
        raise Fatal(f"no GPU here: {error}", "a bad host: deploy again") from error
    cuda = re.search(r"CUDA (?:\w+ )?Version:\s*(\d+\.\d+)", header)
    if not cuda or float(cuda[1]) < 13:
        found = cuda[1] if cuda else "unknown"
        raise Fatal(f"the driver's CUDA is too old: {found}, 13.0 is needed", "deploy with gpu.minCudaVersion 13.0")
    name, memory, driver = (part.strip() for part in rows.splitlines()[0].split(","))
    if kv_tokens(float(memory)) < float(SETTINGS["MODEL_MAX_LEN"]):
        raise Fatal(f"{name}: {memory} MiB of GPU memory are too few for this model", "use a larger GPU (--gpus)")
    return f"{name} {driver}"


def kv_tokens(memory_mib: float) -> float:
    """Tokens that fit beside the weights, with an overhead of 2.0 GiB up to 24 GB and 2.5 above (assumed)."""
    taken = float(SETTINGS["MODEL_WEIGHTS_GIB"]) + (2.0 if memory_mib <= 24 * 1024 else 2.5)
    free = memory_mib / 1024 * float(SETTINGS["MODEL_GPU_UTILIZATION"]) - taken
    return free * GIB / float(SETTINGS["MODEL_KV_BYTES_PER_TOKEN"])


def compiler() -> None:
    """vLLM compiles small extensions as it starts."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    try:
        tool("cc", "--version")
    except (OSError, subprocess.SubprocessError) as error:
        raise Fatal("there is no C compiler (cc)", "use the image that podkit names") from error
    if not header.is_file():
        raise Fatal(f"{header} is missing", "use the image that podkit names")


def disks() -> None:
    """The volume's own free space is unknown: df shows the whole cluster, not the quota."""
    free, needed = shutil.disk_usage(LOCAL).free / GIB, float(SETTINGS.get("PODKIT_MIN_FREE_GIB", "14"))
    if free < needed:
        raise Fatal(f"{free:.1f} GiB free on the local disk, {needed:g} needed", "deploy with a larger disk")
    if not VOLUME.is_dir() or not (VOLUME.is_mount() or SETTINGS.get("RUNPOD_VOLUME_ID")):
        raise Fatal(f"no network volume at {VOLUME}", "attach one: ./podkit.sh volume create --size 100")
    try:
        ThreadPoolExecutor(1).submit(write_probe).result(30)
    except TimeoutError:
        raise Fatal("the network volume does not answer", "a bad host: deploy again") from None
    except OSError as error:
        raise Fatal(f"the network volume cannot be written: {error.strerror}", "is it full? enlarge it") from error


def write_probe() -> None:
    (VOLUME / "podkit" / "cache").mkdir(parents=True, exist_ok=True)
    probe = VOLUME / "podkit" / f".probe-{POD}"
    with open(probe, "wb") as file:
        file.write(bytes(2**20))
        os.fsync(file.fileno())
    probe.unlink()
