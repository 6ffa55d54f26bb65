"""Finding the pods a person names, and ending them for certain.

Prefixes and names reach podkit's own pods only; a foreign pod needs its full id. Ending polls until
the API confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from podkit.errors import (
    ApiError,
    Conflict,
    Missing,
    NotFound,
    PodkitError,
    PodUnclear,
    SeveralPods,
)
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import NAME_PREFIX, Pod
from podkit.text import stop_command

CONFIRM_SECONDS = 180.0
CONFIRM_STEP = 2.0
LOOK_SECONDS = 30.0
LOOK_STEP = 10.0
"""How long a full id is looked for: who types one waits, so it is less than a deploy takes to rule
a pod out.
"""
YOUNG_SECONDS = 120.0
YOUNG_ABSENT_SECONDS = 30.0
ABSENT_SECONDS = 5.0
"""How long a young pod, and an older one, must be shown by nothing, if its end was not accepted."""
SHORTEST_PREFIX = 4
FULL_ID = 10
"""A text shorter than this is only the start of an id; new pods, which lists may not show yet, are
given whole.
"""
CONSOLE_URL = "https://console.runpod.io/pods"


def find(pods: Sequence[Pod], wanted: str) -> Pod:
    """The pod that `wanted` means. Raises Missing with the list if that is none, or several.

    It is the id of any pod; or of podkit's: the name, at least four characters of the start of an
    id, or the model, if one pod serves it.
    """
    ours = [pod for pod in pods if pod.ours]
    for found in _readings(pods, ours, wanted):
        if len(found) == 1:
            return found[0]
        if found:
            what = f"{wanted!r} fits several pods: {_list_text(found)}"
            raise SeveralPods(what, "give the full id")
    if wanted and len(wanted) < SHORTEST_PREFIX and _starting(ours, wanted):
        hint = "give at least four characters of the id, or the name"
        raise Missing(f"{wanted!r} is too short to mean a pod; {_there(pods)}", hint)
    what = f"no pod {wanted!r} is running or billed; {_there(pods)}"
    raise Missing(what, "./list_pods.sh shows the ids")


def _readings(pods: Sequence[Pod], ours: Sequence[Pod], wanted: str) -> Iterator[list[Pod]]:
    """What `wanted` may mean, the surest first: an id, a name, a model, the start of an id."""
    yield [pod for pod in pods if pod.id == wanted]
    yield [pod for pod in ours if pod.name == wanted]
    yield [pod for pod in ours if pod.live and wanted and wanted in models_of(pod)]
    if len(wanted) >= SHORTEST_PREFIX:
        yield _starting(ours, wanted)


def models_of(pod: Pod) -> set[str]:
    """The names by which a model of podkit's pod is known: its script's, and the one it serves."""
    names = {pod.name.removeprefix(NAME_PREFIX).rpartition("-")[0]}
    served = pod.env.get("PODKIT_SERVED_NAME")
    return names | {served} if served else names


def only(pods: Sequence[Pod]) -> Pod:
    """The only podkit pod that lives, else the only one there is.

    Raises Missing if there is none, SeveralPods if several are meant.
    """
    ours = [pod for pod in pods if pod.ours]
    meant = [pod for pod in ours if pod.live] or ours
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise Missing("no podkit pod is there", "./deploy_olmocr.sh makes one")
    hint = "add the id of one (chat.sh, ocr_pdfs.sh: --pod ID)"
    raise SeveralPods(f"several podkit pods: {_list_text(meant)}", hint)


def _starting(pods: Sequence[Pod], start: str) -> list[Pod]:
    return [pod for pod in pods if pod.id.startswith(start)]


def _list_text(pods: Iterable[Pod]) -> str:
    return ", ".join(pod.label for pod in pods)


def _there(pods: Sequence[Pod]) -> str:
    return f"there are: {_list_text(pods)}" if pods else "there are no pods"


@dataclass(frozen=True)
class Ended:
    """Pods that one `stop` ended, and what it could not find or end."""

    pods: Sequence[Pod]
    failures: Sequence[PodkitError]


def end_each(
    client: RunpodClient,
    wanted: Sequence[str],
    keep: bool,
    must_terminate: bool,
    say: Callable[[str], None],
    note: Callable[[Sequence[Pod]], None],
) -> Ended:
    """End the pods that `wanted` names, all of podkit's if it names none.

    One that cannot be found or ended does not keep the others. `note` is given, before each pod
    is ended, those that are not ended yet.
    """
    chosen: dict[str, Pod] = {}
    not_found: dict[str, Sequence[Pod]] = {}
    failures: list[PodkitError] = []
    for name in wanted or (None,):
        try:
            found, listed = _seek(client, name, say)
            for pod in found:
                chosen[pod.id] = pod
            if name is not None and not found:
                not_found[name] = listed
        except ApiError as error:
            what = "COULD NOT LOOK FOR PODS, WHICH MAY STILL BE RUNNING AND BILLED"
            hint = f"{error.hint}; or end them by hand: {CONSOLE_URL}"
            failures.append(PodUnclear(f"{what}: {error.message}", hint))
    ended: dict[str, Pod] = {}
    for pod in chosen.values():
        note([other for other in chosen.values() if other.id not in ended])
        try:
            say(end(client, pod, keep, must_terminate))
            ended[pod.id] = pod
        except PodUnclear as error:
            failures.append(error)
    for name, seen in not_found.items():
        failures.append(_not_found(name, [pod for pod in seen if pod.id not in ended]))
    return Ended(list(ended.values()), failures)


def _not_found(wanted: str, pods: Sequence[Pod]) -> PodkitError:
    """Why `wanted` meant no pod, with the list of those that are still there."""
    try:
        pod = find(pods, wanted)
    except Missing as error:
        return error
    what = f"{wanted!r} fitted several pods, and only {pod.label} is left"
    return Missing(what, stop_command(pod.id))


def join_failures(failures: Sequence[PodkitError]) -> PodkitError:
    """One error that says them all."""
    if len(failures) == 1:
        return failures[0]
    what = "; ".join(error.message for error in failures)
    return PodUnclear(what, f"./list_pods.sh, or {CONSOLE_URL}")


def _seek(
    client: RunpodClient,
    wanted: str | None,
    say: Callable[[str], None],
) -> tuple[list[Pod], list[Pod]]:
    """The pods that `wanted` means, none if it means none or several; and all that are listed.

    That is all of podkit's for None, all of a name (strays share it), else what find() finds. It
    looks again for a full id that is not there: lists lag.
    """
    deadline = client.clock() + LOOK_SECONDS
    told = False
    while True:
        pods = client.list_pods()
        named = [pod for pod in pods if pod.ours and wanted in (None, pod.name)]
        if named or wanted is None:
            return named, pods
        with suppress(Missing):
            return [find(pods, wanted)], pods
        may_be_new = len(wanted) >= FULL_ID and not _starting(pods, wanted)
        if client.clock() >= deadline or not may_be_new:
            return [], pods
        if not told:
            what = f"{wanted!r} is not in the list, which may lag"
            say(f"{what}; looking again for {LOOK_SECONDS:.0f} s")
        told = True
        client.sleep(LOOK_STEP)


def end(client: RunpodClient, pod: Pod, keep: bool, must_terminate: bool) -> str:
    """End `pod` the way that fits it, and say what goes on costing.

    A podkit pod whose lasting data is all on a network volume is terminated, since stopping would
    keep nothing more; any other is stopped. `keep` and `must_terminate` decide otherwise.
    """
    all_on_volume = pod.volume_id and not pod.persistent_disk
    if must_terminate or (pod.ours and all_on_volume and not keep):
        terminate(client, pod)
        told = f"pod {pod.label} is gone and no longer billed"
        if pod.volume_id:
            told += f"; network volume {pod.volume_id} is kept and goes on costing"
        return told
    stop(client, pod)
    rest = f"its disk goes on costing; terminate it: {stop_command(pod.id, '--terminate')}"
    return f"pod {pod.label} is stopped at $0.00/h; {rest}"


def terminate(client: RunpodClient, pod: Pod) -> None:
    """Terminate `pod` and return once the API no longer knows it. Raises PodUnclear if that
    cannot be confirmed.
    """
    _end(
        client,
        pod,
        lambda: client.terminate_pod(pod.id),
        lambda shown: shown.status == "TERMINATED",
    )


def stop(client: RunpodClient, pod: Pod) -> None:
    """Stop `pod`, keeping its disk, and return once it is EXITED. Raises PodUnclear if that
    cannot be confirmed.
    """
    if pod.live:
        _end(client, pod, lambda: client.stop_pod(pod.id), lambda shown: not shown.live)


def _end(
    client: RunpodClient,
    pod: Pod,
    ask: Callable[[], None],
    ended: Callable[[Pod], bool],
) -> None:
    """Ask and look, again and again, until the pod has surely ended.

    That is: the API shows it ended; or its end was accepted, and a look-up does not find it; or
    neither a look-up nor the list has shown it for some seconds. The list decides over a 404.
    """
    deadline = client.clock() + CONFIRM_SECONDS
    absence = Absence(client, pod)
    is_accepted = False
    while True:
        trouble = "the API still shows it"
        try:
            with suppress(Conflict, NotFound):  # it may have ended meanwhile: look
                ask()
                is_accepted = True
            shown = _look(client, pod, is_accepted=is_accepted)
            if shown and ended(shown):
                return
            if shown is None:
                trouble = "the API does not know it"
            if absence.is_proven(shown, is_accepted=is_accepted):
                return
        except ApiError as error:
            trouble = error.message
        if client.clock() >= deadline:
            price = f"${pod.cost_per_hour:.2f}/h"
            what = f"POD {pod.label} MAY STILL BE RUNNING AND BILLED AT {price}"
            hint = f"{stop_command(pod.id)}, or end it by hand: {CONSOLE_URL}"
            raise PodUnclear(f"{what}: {trouble}", hint)
        client.sleep(CONFIRM_STEP)


def _look(client: RunpodClient, pod: Pod, *, is_accepted: bool) -> Pod | None:
    """The pod as a look-up shows it, None if there is none.

    Where its end was not accepted, the list decides over a look-up that finds none.
    """
    try:
        return client.get_pod(pod.id)
    except NotFound:
        if is_accepted:
            return None
        listed = [other for other in client.list_pods() if other.id == pod.id]
        return listed[0] if listed else None


class Absence:
    """Tells when a pod that nothing shows any more is surely gone."""

    def __init__(self, client: RunpodClient, pod: Pod) -> None:
        self._client = client
        self._since: float | None = None
        is_young = not pod.created_at or pod.hours(client.now()) * 3600 < YOUNG_SECONDS
        self._least_seconds = YOUNG_ABSENT_SECONDS if is_young else ABSENT_SECONDS

    def is_proven(self, shown: Pod | None, *, is_accepted: bool) -> bool:
        """Whether it is gone, after one more look that gave `shown`."""
        now = self._client.clock()
        if shown is not None:
            self._since = None
            return False
        if is_accepted:
            return True
        if self._since is None:
            self._since = now
        return now - self._since >= self._least_seconds
