"""What a run of `ocr` is given: what is to be read, on which pods, and what surrounds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from podkit.errors import ApiError, NotFound
from podkit.models.spec import Model
from podkit.ocr.backends import Backends
from podkit.ocr.rates import Rates
from podkit.pods.readiness import World
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Pod
from podkit.settings import Settings

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class Surroundings:
    """What surrounds a run: podkit's own `folder`, the `path` to find programs in, the account or
    the sandbox, and what is said and shown.

    `deploy` gives a pod that serves OLMoCR, and is told whether Ctrl-C is to end it. A fleet makes
    its own of the `model`, while it has the checkout's `turn`. `tell_left` says what goes on
    billing; `rates` are those of the account; `startup` is the folder of what runs in a pod.
    `wrote` is given each Markdown as it is written; `draws` says whether stderr may be drawn on.
    `clock` and `sleep` are of seconds that stand still while this machine sleeps.
    """

    folder: Path
    is_sandbox: bool
    path: str
    say: Callable[[str], None]
    draws: bool
    wrote: Callable[[Path], None]
    connect: Callable[[], tuple[Settings, RunpodClient]]
    world: Callable[[Settings], World]
    session: Callable[[], requests.Session]
    deploy: Callable[[Settings, bool], Pod]
    model: Callable[[], Model]
    turn: Callable[[], AbstractContextManager[None]]
    tell_left: Callable[[], None]
    rates: Callable[[Settings], Rates]
    startup: Path
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def is_gone(self, pod_id: str) -> bool:
        """Whether the pod has ended; not while the API does not say."""
        try:
            return not self.connect()[1].get_pod(pod_id).live
        except NotFound:
            return True
        except ApiError:
            return False


@dataclass(frozen=True)
class Wanted:
    """What is to be read, and on which pods.

    `pod_id` is empty for the only one, `pages` for all. `pods` is how many a fleet has, 0 for none;
    its `data_centers` are empty for the one of the settings. `workspace` is where pods read by
    themselves, empty for those that this machine asks.
    """

    paths: Sequence[Path]
    out: Path | None
    pod_id: str
    concurrency: int
    may_deploy: bool
    stop_after: bool
    pages: tuple[int, ...] = ()
    pods: int = 0
    data_centers: tuple[str, ...] = ()
    workspace: str = ""

    @property
    def at_once(self) -> int:
        """How many pages the toolkit may ask for at once."""
        return self.concurrency * max(self.pods, 1)


class Pods(Protocol):
    """The pods of a run, which it finds or makes and may end."""

    backends: Backends

    def start(self, pages: int) -> str:
        """Find or make them for so many pages, and wait until one serves: the name of the model."""

    def look(self) -> None:
        """See what has become of those that do not serve yet."""

    def leave(self) -> None:
        """End them if that is wanted, and say what goes on billing."""

    def fields(self) -> dict[str, Any]:
        """For programs: what each has read and cost."""
