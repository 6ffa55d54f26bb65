"""Several pods start at once on one volume: one fetches the checkpoint, the others wait for it.

Nobody is ever held up by a pod that is gone: what does not grow, or gives no sign, is not waited
for, and the boot's own limit holds all the while.
"""

from contextlib import suppress
from pathlib import Path

from pod_log import say

from boot.configuration import Configuration
from boot.hub import Growth, StandsStill
from boot.phases import Phases
from boot.services import Services

BEGAN = ".began"
"""In the folder of an unfinished download: its time is when that began."""
SILENT_SECONDS = 60.0
"""A download whose folder was not touched for so long is nobody's; its pod touches it every 5 s."""
LOOK_SECONDS = 5.0
SETTLE_SECONDS = 2.0
"""Between the own mark and the first look: marks of one tick of the volume's clock are there."""


def begin(incoming: Path) -> None:
    """Marks the folder of this pod's own download."""
    incoming.mkdir(parents=True, exist_ok=True)
    (incoming / BEGAN).touch(exist_ok=True)


def came_from_another(
    services: Services,
    configuration: Configuration,
    phases: Phases,
    incoming: Path,
    target: Path,
) -> bool:
    """Waits while another pod, which began earlier, fetches `target` onto this volume. Returns
    whether it came.
    """
    services.closing.wait(SETTLE_SECONDS)
    growth: dict[Path, Growth] = {}
    while not target.exists():
        other = earlier_download(configuration.pod, incoming, target)
        if other is None:
            return target.exists()  # it may have come between the two looks
        if other not in growth:
            say(f"another pod is fetching {target.name} onto this volume: waiting for it")
            growth[other] = Growth(configuration, phases, other, is_ours=False)
        try:
            growth[other].tell()
        except StandsStill:
            say("its download stands still: fetching it here, too")
            return False
        if services.closing.wait(LOOK_SECONDS):
            return False
    return True


def earlier_download(pod: str, ours: Path, target: Path) -> Path | None:
    """The folder of the live download of `target` that began first, if that is another pod's.

    Ages are told by the volume's own clock, which our own mark shows.
    """
    ours.touch()
    now = ours.stat().st_mtime
    mine = (_began(ours), ours.name)
    first = mine
    found = None
    for folder in target.parent.glob(f".incoming-*-{target.name}"):
        with suppress(OSError):  # it has just got its name
            is_live = now - folder.stat().st_mtime < SILENT_SECONDS
            place = (_began(folder), folder.name)
            is_other = not folder.name.startswith(f".incoming-{pod}-")
            if is_other and is_live and place < first:
                first = place
                found = folder
    return found


def _began(folder: Path) -> float:
    return (folder / BEGAN).stat().st_mtime
