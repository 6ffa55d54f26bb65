"""What travels to a pod: startup/ packed into one line, its environment, and the values its model's script declares.

The archive has fixed times and owners, so that the same files give the same bytes. The archive of a running pod is
only ever read in memory, never unpacked to disk.
"""

from __future__ import annotations

import base64
import io
import lzma
import math
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from podkit.errors import UsageError
from podkit.models.fit import Needs
from podkit.runpod.types import PodSpec
from podkit.secret import Secret
from podkit.settings import Settings

KEPT_SECONDS = 1800
"""How long a pod that failed and is to be kept waits before it ends itself."""
SCRIPT_LIMIT = 65_536
"""Bytes read of a running pod's model script; a real one has under 2,000."""
ARCHIVE_LIMIT = 2**22
"""Bytes of a running pod's archive that are unpacked; a real one has 160 KiB."""
XZ_MEMORY = 2**25
"""Bytes that unpacking may take; what `pack` makes needs 9 MiB."""
EXPORT = re.compile(r"""^export (MODEL_[A-Z_]+)=(?:"([^"]*)"|'([^']*)'|(\S*))\s*$""", re.MULTILINE)
NEEDS = ("MODEL_WEIGHTS_GIB", "MODEL_KV_BYTES_PER_TOKEN", "MODEL_MAX_LEN", "MODEL_GPU_UTILIZATION")


@dataclass(frozen=True)
class Model:
    """What a model's startup script declares: checkpoint as `repo@revision`, the name clients ask for, and what it
    needs of a GPU, None if a running pod's script does not say.

    `startup_b64` and `command` are what makes a pod run it.
    """

    name: str
    checkpoint: str
    served_name: str
    startup_b64: str
    command: str = ""
    needs: Needs | None = None


def pack(folder: Path) -> str:
    """The files of `folder` and below as base64 of a tar.xz, one line; the same files give the same
    text.

    xz rather than gzip: the hashes of what a pod installs are 15 % of 60 KB smaller.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not any(part.startswith((".", "__pyc")) for part in name.parts):
                entry = tarfile.TarInfo(f"startup/{name.as_posix()}")
                entry.size = path.stat().st_size
                entry.mode = 0o755 if path.suffix == ".sh" else 0o644
                archive.addfile(entry, io.BytesIO(path.read_bytes()))
    packed = lzma.compress(buffer.getvalue(), preset=6 | lzma.PRESET_EXTREME)
    return base64.b64encode(packed).decode()


def unpack(packed: str) -> bytes:
    """The tar that `pack` made, at most its first ARCHIVE_LIMIT bytes; gzip is an older podkit's.

    Raises ValueError, zlib.error or lzma.LZMAError for anything else.
    """
    data = base64.b64decode(packed, validate=True)
    if data.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(wbits=31).decompress(data, ARCHIVE_LIMIT)
    return lzma.LZMADecompressor(memlimit=XZ_MEMORY).decompress(data, ARCHIVE_LIMIT)


def model_names(folder: Path) -> list[str]:
    """The models that have a startup script in `folder`."""
    return sorted(path.stem.removeprefix("startup_") for path in folder.glob("startup_*.sh"))


def read_model(folder: Path, name: str) -> Model:
    """The model `name` as its startup script in `folder` declares it.

    Raises UsageError naming the models there are, or what the script must export.
    """
    if name not in (known := model_names(folder)):
        raise UsageError(
            f"no model {name!r}", f"models: {', '.join(known)}; CLAUDE.md says how to add one"
        )
    script = (folder / f"startup_{name}.sh").read_text(encoding="utf-8")
    model = _model(name, script, pack(folder), (folder / "start.sh").read_text(encoding="utf-8"))
    if not (model and model.needs):
        texts = "MODEL_REPO, MODEL_REVISION, MODEL_SERVED_NAMES"
        what = (
            f"startup_{name}.sh must export {'the numbers ' + ', '.join(NEEDS) if model else texts}"
        )
        raise UsageError(what, "startup_olmocr.sh shows how")
    return model


def model_of_pod(env: Mapping[str, str]) -> Model | None:
    """The model that a pod with this environment runs, from the scripts it was given; None if they cannot be read."""
    name, packed = env.get("PODKIT_MODEL", ""), env.get("STARTUP_B64", "")
    try:
        with tarfile.open(fileobj=io.BytesIO(unpack(packed)), mode="r:") as archive:
            script = archive.extractfile(f"startup/startup_{name}.sh")
            return _model(name, script.read(SCRIPT_LIMIT).decode(), packed) if script else None
    except (ValueError, KeyError, OSError, EOFError, RecursionError):
        return None
    except (zlib.error, lzma.LZMAError, tarfile.TarError):
        return None


def _model(name: str, script: str, startup_b64: str, command: str = "") -> Model | None:
    values = {match[1]: match[2] or match[3] or match[4] or "" for match in EXPORT.finditer(script)}
    repo, revision = values.get("MODEL_REPO"), values.get("MODEL_REVISION")
    served = values.get("MODEL_SERVED_NAMES", "").split()
    if not (repo and revision and served):
        return None
    return Model(name, f"{repo}@{revision}", served[0], startup_b64, command, _needs(values))


def _needs(values: Mapping[str, str]) -> Needs | None:
    try:
        weights, per_token, length, share = (values[name] for name in NEEDS)
        return Needs(float(weights), int(per_token), int(length), float(share))
    except (KeyError, ValueError):
        return None


def ends_at(now: datetime, max_hours: float) -> str:
    """The end time in the pod's environment, rounded up to a second; empty if the lifetime is off."""
    if not max_hours:
        return ""
    moment = math.ceil(now.timestamp() + max_hours * 3600)
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_spec(
    settings: Settings, model: Model, gpu_type: str, name: str, volume_id: str, now: datetime
) -> PodSpec:
    """The pod to ask for. The account's own RUNPOD_API_KEY is never in it."""
    env: dict[str, str | Secret] = {
        "PODKIT_MODEL": model.name,
        "PODKIT_ENDS_AT": ends_at(now, settings.max_hours),
        "PODKIT_IDLE_MINUTES": f"{settings.idle_minutes:g}",
        "PODKIT_BOOT_MINUTES": f"{settings.boot_minutes:g}",
        **({"PODKIT_GRACE_SECONDS": f"{KEPT_SECONDS}"} if settings.keep_failed else {}),
        "WEBUI_ADMIN_EMAIL": settings.admin_email,
        "STARTUP_B64": model.startup_b64,
        **({"PODKIT_FORCE": "1"} if settings.force else {}),
        **settings.secrets,
    }
    return PodSpec(name, gpu_type, settings.data_center, volume_id, model.command, env)
