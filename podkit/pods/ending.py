"""Finding the pods a person names, and ending them for certain.

Prefixes and names reach podkit's own pods only; a foreign pod needs its full id. Ending polls until the API confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from podkit.errors import ApiError, Conflict, Missing, NotFound, PodkitError, PodUncertain
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Pod

CONFIRM_SECONDS, CONFIRM_STEP = 180.0, 2.0
LAG_SECONDS, LAG_STEP = 30.0, 10.0
"""A list, or a 404, may not know of a new pod for so long."""
FULL_ID = 10
"""A text shorter than this is only the start of an id; new pods, which lists may not show yet, are given whole."""
CONSOLE_URL = "https://console.runpod.io/pods"


def find(pods: Sequence[Pod], wanted: str) -> Pod:
    """The pod of this id, or podkit's of this name or unique id prefix. Raises Missing with the list."""
    exact = [pod for pod in pods if pod.id == wanted]
    ours = [pod for pod in pods if pod.ours]
    named = [pod for pod in ours if pod.name == wanted]
    found = exact or named or [pod for pod in ours if wanted and pod.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Missing(f"{wanted!r} fits several pods: {_listed(found)}", "give the full id")
    there = f"there are: {_listed(pods)}" if pods else "there are no pods"
    raise Missing(
        f"no pod {wanted!r} is running or billed; {there}", "./list_pods.sh shows the ids"
    )


def only(pods: Sequence[Pod]) -> Pod:
    """The only podkit pod that lives, else the only one there is. Raises PodkitError if none, or several, are meant."""
    ours = [pod for pod in pods if pod.ours and pod.live] or [pod for pod in pods if pod.ours]
    if len(ours) == 1:
        return ours[0]
    if not ours:
        raise PodkitError("no podkit pod is there", "./deploy_olmocr.sh makes one")
    raise PodkitError(
        f"several podkit pods: {_listed(ours)}",
        "add the id of one (chat.sh, ocr_pdfs.sh: --pod ID)",
    )


def _listed(pods: Iterable[Pod]) -> str:
    return ", ".join(f"{pod.id} ({pod.name})" for pod in pods)


def end_each(
    client: RunpodClient,
    wanted: Sequence[str],
    keep: bool,
    delete: bool,
    say: Callable[[str], None],
) -> list[Pod]:
    """End the pods that `wanted` names, all of podkit's if it names none, and return them.

    One that cannot be found or ended does not keep the others; in the end it is raised.
    """
    chosen: dict[str, Pod] = {}
    failures: list[PodkitError] = []
    for name in wanted or (None,):
        try:
            chosen |= {pod.id: pod for pod in _sought(client, name, say)}
        except ApiError as error:
            what = (
                f"COULD NOT LOOK FOR PODS, WHICH MAY STILL BE RUNNING AND BILLED: {error.message}"
            )
            failures.append(PodUncertain(what, f"{error.hint}; or end them by hand: {CONSOLE_URL}"))
        except Missing as error:
            failures.append(error)
    for pod in chosen.values():
        try:
            say(end(client, pod, keep, delete))
        except PodUncertain as error:
            failures.append(error)
    if len(failures) > 1:
        raise PodUncertain(
            "; ".join(error.message for error in failures), f"./list_pods.sh, or {CONSOLE_URL}"
        )
    if failures:
        raise failures[0]
    return list(chosen.values())


def _sought(client: RunpodClient, wanted: str | None, say: Callable[[str], None]) -> list[Pod]:
    """All of podkit's for None, all of a name (twins share it), else what find() finds; it looks again: lists lag."""
    deadline = client.clock() + LAG_SECONDS
    told = False
    while True:
        pods = client.list_pods()
        named = [pod for pod in pods if pod.ours and wanted in (None, pod.name)]
        if named or wanted is None:
            return named
        if (
            client.clock() >= deadline
            or len(wanted) < FULL_ID
            or any(pod.id.startswith(wanted) for pod in pods)
        ):
            return [find(pods, wanted)]
        if not told:
            say(
                f"{wanted!r} is not in the list, which may lag; looking again for {LAG_SECONDS:.0f} s"
            )
        told = True
        client.sleep(LAG_STEP)


def end(client: RunpodClient, pod: Pod, keep: bool, delete: bool) -> str:
    """End `pod` the way that fits it, and say what goes on costing.

    A podkit pod whose lasting data is all on a network volume is deleted, since stopping would keep nothing more; any
    other is stopped. `keep` and `delete` decide otherwise.
    """
    all_on_volume = pod.volume_id and not pod.persistent_disk
    if delete or (pod.ours and all_on_volume and not keep):
        terminate(client, pod)
        rest = (
            f"; network volume {pod.volume_id} is kept and goes on costing" if pod.volume_id else ""
        )
        return f"pod {pod.id} ({pod.name}) is gone and no longer billed{rest}"
    stop(client, pod)
    rest = f"its disk goes on costing; delete it: ./stop_pod.sh {pod.id} --terminate"
    return f"pod {pod.id} ({pod.name}) is stopped at $0.00/h; {rest}"


def terminate(client: RunpodClient, pod: Pod) -> None:
    """Delete `pod` and return once the API no longer knows it. Raises PodUncertain if that cannot be confirmed."""
    _end(
        client,
        pod,
        lambda: client.terminate_pod(pod.id),
        lambda shown: shown.status == "TERMINATED",
    )


def stop(client: RunpodClient, pod: Pod) -> None:
    """Stop `pod`, keeping its disk, and return once it is EXITED. Raises PodUncertain if that cannot be confirmed."""
    if pod.live:
        _end(client, pod, lambda: client.stop_pod(pod.id), lambda shown: not shown.live)


def _end(
    client: RunpodClient, pod: Pod, ask: Callable[[], None], ended: Callable[[Pod], bool]
) -> None:
    """Ask and look, again and again, until the API shows the pod ended; faults on the way do not count as an answer.

    Nor does an early 404 for a pod whose end was not accepted yet: it may be too new to be known.
    """
    deadline, known_from = client.clock() + CONFIRM_SECONDS, client.clock() + LAG_SECONDS
    trouble, accepted = "", False
    while True:
        try:
            with suppress(
                Conflict
            ):  # not allowed now, perhaps because it has ended meanwhile: look
                ask()
                accepted = True
            if ended(client.get_pod(pod.id)):
                return
            trouble = "the API still shows it"
        except NotFound:
            if accepted or client.clock() >= known_from:
                return
            trouble = "the API does not know it"
        except ApiError as error:
            trouble = error.message
        if client.clock() >= deadline:
            what = f"POD {pod.id} ({pod.name}) MAY STILL BE RUNNING AND BILLED AT ${pod.cost_per_hour:.2f}/h: {trouble}"
            raise PodUncertain(what, f"./stop_pod.sh {pod.id}, or end it by hand: {CONSOLE_URL}")
        client.sleep(CONFIRM_STEP)
