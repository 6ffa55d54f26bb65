"""Where the checkpoint comes from: the sources that the model's script names, in their order.

Each has the whole pinned checkpoint or nothing, and the first that has it wins. Its folder on the
volume is whole and right, or absent. Never another model: if no source has it the boot fails.
"""

import json
import re
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from pod_log import say

from boot.bucket import fetch_from_bucket
from boot.checks import folder_bytes
from boot.configuration import Configuration
from boot.failures import Fatal
from boot.hub import fetch_from_hub
from boot.manifest import NAME, NEEDED, read_manifest, wrong_sizes
from boot.phases import Phases
from boot.services import Services
from boot.turns import BEGAN, begin, came_from_another

LONGEST_DOWNLOAD_SECONDS = 86_400
"""An unfinished download that is older belongs to nobody."""
DAMAGED = re.compile(
    r"SafetensorError|[Ee]rror while deserializing header|safetensors.*(corrupt|truncated)"
)
"""What vLLM says of weights that cannot be read."""
FILLERS = {"s3": fetch_from_bucket, "hf": fetch_from_hub}
"""The sources that fill a folder."""


def fetch(services: Services, configuration: Configuration, phases: Phases) -> Path:
    """The pinned checkpoint's folder, from the first source that has it.

    Raises Fatal if none has, with the reason of each that failed.
    """
    target = configuration.volume / "hf_cache" / configuration.model.folder_name
    failures: list[str] = []
    for source in configuration.model.sources:
        begin = phases.elapsed()
        try:
            if not _has_it(source, services, configuration, phases, target):
                say(f"source {source} does not have {target.name}")
                continue
        except Fatal as failure:
            if source == configuration.model.sources[-1] and not failures:
                raise
            say(f"source {source} failed: {failure.reason}")
            failures.append(f"{source}: {failure.reason}")
            continue
        phases.source = told(source, phases.elapsed() - begin, folder_bytes(target))
        _read_into_memory(target)
        return target
    tried = "; ".join(failures) or f"none of {' '.join(configuration.model.sources)} has it"
    raise Fatal(f"no source gave {target.name}: {tried}", "read the lines above; deploy again")


def told(source: str, seconds: float, size: int) -> dict[str, object]:
    """What a source cost: logged, and a part of the boot's line in boots.jsonl."""
    found: dict[str, object] = {"name": source, "seconds": round(seconds, 1), "bytes": size}
    rate = ""
    if source in FILLERS:
        found["mb_per_s"] = round(size / max(seconds, 0.1) / 1e6, 1)
        rate = f" at {found['mb_per_s']} MB/s"
    say(f"source {source}: {size / 1e9:.2f} GB in {seconds:.1f} s{rate}")
    return found


def _has_it(
    source: str,
    services: Services,
    configuration: Configuration,
    phases: Phases,
    target: Path,
) -> bool:
    if source == "volume":
        return is_whole(target)
    fill = FILLERS[source]
    if (
        target.exists()
    ):  # and `volume` was not asked, or is not whole: only what is wrong is fetched
        return fill(services, configuration, phases, target)
    return _fill_beside(source, services, configuration, phases, target)


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a checkpoint, by the sizes in its manifest.

    One that an older podkit made has no manifest: it got its name when it was complete. A person
    may have put it there: the weights that its own index names must be there.
    """
    if not (folder / NEEDED).is_file():
        return False
    if not (folder / NAME).is_file():
        return not _missing_weights(folder)
    try:
        wrong = wrong_sizes(read_manifest((folder / NAME).read_bytes()), folder)
    except ValueError as error:
        wrong = [str(error)]
    if wrong:
        say(f"source volume: {folder.name} is not whole: {', '.join(wrong[:5])}")
    return not wrong


def _missing_weights(folder: Path) -> set[str]:
    """The files that the checkpoint's index names, as far as it has one, and that are not there."""
    index = folder / "model.safetensors.index.json"
    try:
        names = set(json.loads(index.read_text())["weight_map"].values())
    except FileNotFoundError:
        return set()
    except (ValueError, LookupError, AttributeError):
        return {index.name}
    return {name for name in names if not (folder / name).is_file()}


def _fill_beside(
    source: str,
    services: Services,
    configuration: Configuration,
    phases: Phases,
    target: Path,
) -> bool:
    """Into a folder of its own, renamed when complete. Of several pods that do this at once the
    others wait for the first.

    The folder has the pod's name: a container that is started again goes on with it.
    """
    incoming = target.with_name(f".incoming-{configuration.pod}-{source}-{target.name}")
    target.parent.mkdir(exist_ok=True)
    _remove_unfinished(target.parent, incoming)
    begin(incoming)
    if came_from_another(services, configuration, phases, incoming, target):
        shutil.rmtree(incoming, ignore_errors=True)
        return is_whole(target)
    if not FILLERS[source](services, configuration, phases, incoming):
        shutil.rmtree(incoming, ignore_errors=True)
        return False
    _let_others_read(incoming)
    with suppress(OSError):  # another pod may have been first
        incoming.rename(target)
    if not is_whole(target):
        raise Fatal(f"{target.name} cannot be put into its place", "./podkit.sh volume ls hf_cache")
    (target / BEGAN).unlink(missing_ok=True)
    for ours in target.parent.glob(f".incoming-{configuration.pod}-*-{target.name}"):
        shutil.rmtree(ours, ignore_errors=True)  # also that of a source that failed
    return True


def names_damaged_weights(failure: Fatal) -> bool:
    return bool(DAMAGED.search(failure.output))


def set_aside(checkpoint: Path) -> None:
    """Renames a damaged checkpoint, so that the next fetch is a new one; the last such is kept."""
    damaged = checkpoint.with_name(f"damaged-{checkpoint.name}")
    shutil.rmtree(damaged, ignore_errors=True)
    with suppress(OSError):  # another pod may have done this
        checkpoint.rename(damaged)
    say(f"vLLM cannot read {checkpoint.name}: it is {damaged.name} now and is fetched again")


def _remove_unfinished(folder: Path, ours: Path) -> None:
    """Removes what dead pods left; another living pod's download stays."""
    for old in folder.glob(".incoming-*"):
        age = time.time() - old.stat().st_mtime
        if old != ours and age > LONGEST_DOWNLOAD_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


def _let_others_read(folder: Path) -> None:
    """vLLM is another user; the volume refuses chown, but takes chmod (October 2026)."""
    subprocess.call(["/bin/chmod", "-R", "a+rX", str(folder)])


def _read_into_memory(folder: Path) -> None:
    """Begins to read the weights, so that vLLM finds them in memory; nobody waits for it."""
    command = ["/bin/cat", "/dev/null", *map(str, folder.glob("*.safetensors"))]

    def read() -> None:
        subprocess.call(command, stdout=subprocess.DEVNULL)

    threading.Thread(target=read, daemon=True).start()
