"""What a startup script declares, and what a running pod was made to serve.

Pure: nothing here knows a setting. startup/ is packed into one line, with fixed times and owners,
so that the same files give the same bytes. The archive of a running pod is only ever read in
memory, never unpacked to disk.
"""

from __future__ import annotations

import ast
import base64
import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from podkit.errors import UsageError
from podkit.models.declarations import wrong_declarations
from podkit.models.fit import Needs, flags_hash
from podkit.models.learned import NOTHING, Boot, Learned
from podkit.secret import Secret

SCRIPT_LIMIT = 65_536
"""Bytes read of a running pod's model script; a real one has under 2,000."""
ARCHIVE_LIMIT = 2**22
"""Bytes of a running pod's archive that are unpacked; a real one has 160 KiB."""
XZ_MEMORY = 2**25
"""Bytes that unpacking may take; what `pack` makes needs 9 MiB."""
EXPORT = re.compile(r"""^export (MODEL_[A-Z_]+)=(?:"([^"]*)"|'([^']*)'|(\S*))\s*$""", re.MULTILINE)
VLLM = re.compile(r"^vllm==(\S+)", re.MULTILINE)
FOR_READERS = ("read_workspace.py", "constraints-olmocr.txt", "olmocr.env", "apt.env")
"""What only a pod needs that reads a workspace by itself."""
FOR_THE_PAGE = (
    "constraints-webui.txt",
    "webui-overrides.txt",
    "webui.env",
    "page_server.py",
    "page_login.py",
)
"""What only a pod with a chat page needs: one that reads a workspace has none."""


@dataclass(frozen=True)
class Model:
    """What a model's startup script declares: checkpoint as `repo@revision`, the name that clients
    ask for, and what it needs of a GPU, None if a running pod's script does not say.

    `sources` are where a pod looks for the checkpoint, in order. `startup_b64` and `command` are
    what makes a pod run it; `learned` is what boots of it, and of others on the same vLLM, taught
    about memory. `env` is what its pods are told besides, which may replace what they are told.
    """

    name: str
    checkpoint: str
    served_name: str
    startup_b64: str
    command: str = ""
    needs: Needs | None = None
    sources: tuple[str, ...] = ("volume", "hf")
    learned: Learned = field(default=NOTHING, compare=False)
    env: Mapping[str, str | Secret] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Served:
    """What a running pod serves: the name that clients ask for, and the checkpoint behind it."""

    name: str
    checkpoint: str


def pack(folder: Path, without: Collection[str] = FOR_READERS) -> str:
    """The files of `folder` and below as base64 of a tar.xz, one line; the same files give the same
    text. Those that are named `without` stay behind.

    xz rather than gzip: the hashes of what a pod installs are 15 % of 60 KB smaller. Docstrings
    stay behind, which are another 15 %.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if name.name in without:
                continue
            if path.is_file() and not any(part.startswith((".", "__pyc")) for part in name.parts):
                content = path.read_bytes()
                if path.suffix == ".py":
                    content = without_docstrings(content.decode()).encode()
                entry = tarfile.TarInfo(f"startup/{name.as_posix()}")
                entry.size = len(content)
                entry.mode = 0o755 if path.suffix == ".sh" else 0o644
                archive.addfile(entry, io.BytesIO(content))
    return _compress(buffer.getvalue())


@lru_cache(maxsize=4)
def _compress(archive: bytes) -> str:
    """Kept, because a command that reads every model packs the same files for each."""
    packed = lzma.compress(archive, preset=6 | lzma.PRESET_EXTREME)
    return base64.b64encode(packed).decode()


@lru_cache(maxsize=128)
def without_docstrings(source: str) -> str:
    """The same program, each docstring an empty one; every line keeps its number, for tracebacks.

    What is no Python stays as it is: the pod says so.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    lines = source.split("\n")
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        if isinstance(node.value.value, str):
            end = node.end_lineno or node.lineno
            blanks = [""] * (end - node.lineno)
            lines[node.lineno - 1 : end] = [" " * node.col_offset + '""', *blanks]
    return "\n".join(lines)


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


def read_model(folder: Path, name: str, boots: Sequence[Boot] = ()) -> Model:
    """The model `name` as its startup script in `folder` declares it, with what `boots` taught.

    Raises UsageError naming the models there are, or what is wrong in the script.
    """
    known = model_names(folder)
    if name not in known:
        hint = f"models: {', '.join(known)}; CLAUDE.md says how to add one"
        raise UsageError(f"no model {name!r}", hint)
    script = (folder / f"startup_{name}.sh").read_text(encoding="utf-8")
    command = (folder / "start.sh").read_text(encoding="utf-8")
    values = declared_values(script)
    wrong = wrong_declarations(values)
    model = _model(name, script, pack(folder), command)
    if wrong or model is None or model.needs is None:
        raise UsageError(f"startup_{name}.sh: {'; '.join(wrong)}", "startup_olmocr.sh shows how")
    hashed = flags_hash(values.get("MODEL_VLLM_FLAGS", ""), model.needs)
    return replace(model, learned=Learned(boots, name, hashed, vllm_version(folder)))


def vllm_version(folder: Path) -> str:
    """The version of vLLM that a pod installs, by the packages pinned in `folder`; empty if none
    is."""
    pinned = folder / "constraints-vllm.txt"
    if not pinned.exists():
        return ""
    found = VLLM.search(pinned.read_text(encoding="utf-8"))
    return found[1] if found else ""


def served_by_pod(env: Mapping[str, str]) -> Served | None:
    """What a pod with this environment serves; None if that cannot be read.

    A pod of an older podkit does not say: its scripts do.
    """
    name = env.get("PODKIT_SERVED_NAME", "")
    checkpoint = env.get("PODKIT_CHECKPOINT", "")
    if name and checkpoint:
        return Served(name, checkpoint)
    model = model_of_pod(env)
    if model:
        return Served(model.served_name, model.checkpoint)
    return None


def model_of_pod(env: Mapping[str, str]) -> Model | None:
    """The model that a pod with this environment runs, from the scripts it was given; None if they
    cannot be read.
    """
    name = env.get("PODKIT_MODEL", "")
    packed = env.get("STARTUP_B64", "")
    try:
        with tarfile.open(fileobj=io.BytesIO(unpack(packed)), mode="r:") as archive:
            script = archive.extractfile(f"startup/startup_{name}.sh")
            if script is None:
                return None
            return _model(name, script.read(SCRIPT_LIMIT).decode(), packed)
    except (ValueError, KeyError, OSError, EOFError, RecursionError):
        return None
    except (zlib.error, lzma.LZMAError, tarfile.TarError):
        return None


def _model(name: str, script: str, startup_b64: str, command: str = "") -> Model | None:
    """The model that a script's exports describe; None if they do not name its checkpoint."""
    values = declared_values(script)
    repo = values.get("MODEL_REPO")
    revision = values.get("MODEL_REVISION")
    served = values.get("MODEL_SERVED_NAMES", "").split()
    if not (repo and revision and served):
        return None
    sources = tuple(values.get("MODEL_SOURCES", "").split()) or Model.sources
    checkpoint = f"{repo}@{revision}"
    return Model(name, checkpoint, served[0], startup_b64, command, _needs(values), sources)


def declared_values(script: str) -> dict[str, str]:
    """The MODEL_ variables that a startup script exports."""
    values = {}
    for match in EXPORT.finditer(script):
        values[match[1]] = match[2] or match[3] or match[4] or ""
    return values


def _needs(values: Mapping[str, str]) -> Needs | None:
    try:
        return Needs(
            weights_gib=float(values["MODEL_WEIGHTS_GIB"]),
            kv_bytes_per_token=int(values["MODEL_KV_BYTES_PER_TOKEN"]),
            max_len=int(values["MODEL_MAX_LEN"]),
            utilization=float(values["MODEL_GPU_UTILIZATION"]),
        )
    except (KeyError, ValueError):
        return None
