"""Finds the pod of a model that a deploy takes instead of making a second one.

The list of the account is the truth, but it lags: a pod that this checkout has just made is
waited for, until the list knows it or its end is proven.
"""

from __future__ import annotations

from collections.abc import Callable

from podkit.errors import NotFound
from podkit.pods.ledger import LISTED_SECONDS, age_key, oldest
from podkit.pods.made import MadePod, MadePods
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Pod

LOOK_STEP = 5.0


def find_live_pod(
    client: RunpodClient,
    stem: str,
    made: MadePods,
    say: Callable[[str], None],
) -> Pod | None:
    """The oldest live pod whose name is `stem` and a suffix, None if there is surely none."""
    found = listed_pod(client, stem)
    if found:
        return found
    for one in made.of_model(stem):
        found = _wait_for(client, stem, one, say)
        if found:
            return found
        made.note_end(one.name)
    return None


def live_pods_made_here(
    client: RunpodClient,
    stem: str,
    made: MadePods,
    say: Callable[[str], None],
) -> list[Pod]:
    """Every live pod whose name is `stem` and a suffix that this checkout made, oldest first.

    One that it has just made is waited for, until something shows it or lists lag no longer.
    """
    began = client.clock()
    told = False
    while True:
        asked = client.clock()
        names = {one.name: one for one in made.of_model(stem)}
        live = [pod for pod in client.list_pods() if pod.live and pod.name in names]
        for pod in live:
            names.pop(pod.name, None)
        young = []
        for one in names.values():
            shown = _look_up(client, one)
            if shown and shown.live:
                live.append(shown)
            elif not shown and asked < min(one.made_at, began) + LISTED_SECONDS:
                young.append(one.name)
            else:
                made.note_end(one.name)
        if not young:
            return sorted(live, key=age_key)
        if not told:
            what = "which the list does not show yet; waiting for it"
            say(f"this checkout has just made {', '.join(young)}, {what}")
        told = True
        client.sleep(LOOK_STEP)


def _wait_for(
    client: RunpodClient,
    stem: str,
    one: MadePod,
    say: Callable[[str], None],
) -> Pod | None:
    """A live pod of this model once one shows; None once it is proven that `one` is not there."""
    deadline = min(one.made_at, client.clock()) + LISTED_SECONDS
    told = False
    while True:
        # A list says nothing of what came after it was asked for, however late it is answered.
        is_last = client.clock() >= deadline
        found = listed_pod(client, stem)
        if found:
            return found
        shown = _look_up(client, one)
        if shown and shown.live:
            return shown
        if shown or is_last:
            return None
        if not told:
            left = deadline - client.clock()
            what = f"this checkout has just made {one.name}, which the list does not show yet"
            say(f"{what}; waiting for it, at most {left:.0f} s")
        told = True
        client.sleep(LOOK_STEP)


def listed_pod(client: RunpodClient, stem: str) -> Pod | None:
    """The oldest live pod whose name is `stem` and a suffix, as far as the list shows one."""
    pods = client.list_pods()
    return oldest([pod for pod in pods if pod.name.rpartition("-")[0] == stem])


def _look_up(client: RunpodClient, one: MadePod) -> Pod | None:
    """The pod as a look-up shows it, None if it shows none."""
    if not one.pod_id:
        return None
    try:
        return client.get_pod(one.pod_id)
    except NotFound:
        return None
