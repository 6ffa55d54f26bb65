"""What this command has created, and what may be billing because of it.

One ledger may be shared by several launchers of one command. It ends only pods whose names it
made, and it must never forget a create whose outcome is unclear: `left_running()` names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from podkit.errors import ApiError, PodUnclear
from podkit.pods.ending import terminate
from podkit.pods.lifetime import pod_lifetime
from podkit.pods.made import MadePods
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Pod
from podkit.text import stop_command

LOOK_UP_SECONDS = 30.0
LOOK_STEP = 3.0
LISTED_SECONDS = 120.0
"""How long after a create lists may still not show its pod: many times what any was seen to lag, as
a stray that is missed goes on billing.
"""
SAY_EVERY_SECONDS = 30.0


class Ledger:
    """The names that one command made, those of which a pod may exist that it does not know, and
    the pods it has.

    The second are of creates in flight and of unclear ones, also where a look-up has found a pod: a
    stray may still come. A stray is a pod of one of these names that the command does not keep: the
    late one of a create that was taken for failed, or the second one of a create that made two.
    """

    def __init__(
        self,
        client: RunpodClient,
        say: Callable[[str], None],
        made: MadePods,
    ) -> None:
        self._client = client
        self._say = say
        self._made = made
        self._names: set[str] = set()
        self._may_exist: set[str] = set()
        self._unclear_since = float("-inf")
        self._pods: dict[str, Pod] = {}
        self._strays: set[str] = set()

    def begin_create(self, name: str) -> None:
        """A create of this name is about to be sent: from now on its pod may exist."""
        self._names.add(name)
        self._may_exist.add(name)
        self._made.note(name, "", self._client.clock())

    def close_refused(self, name: str) -> None:
        """The create was refused: no pod of this name was made."""
        self._may_exist.discard(name)
        self._made.forget(name)

    def close_made(self, pod: Pod) -> None:
        """The create was answered with this pod."""
        self._may_exist.discard(pod.name)
        self.keep(pod)
        self._made.note(pod.name, pod.id, self._client.clock())

    def close_found(self, pod: Pod) -> None:
        """A look-up found the pod of an unclear create; a stray may still appear."""
        self.keep(pod)
        self._made.note(pod.name, pod.id, self._client.clock())

    def mark_unclear(self) -> None:
        """The outcome of the last create is unclear: from now on strays are looked for."""
        self._unclear_since = self._client.clock()

    def keep(self, pod: Pod) -> None:
        """This pod is the command's, made or adopted; of one that is kept already, its newest
        state.
        """
        self._pods[pod.id] = pod

    def is_own(self, pod: Pod) -> bool:
        """Whether this command made the pod's name."""
        return pod.name in self._names

    def own_pods(self) -> list[Pod]:
        """The pods of this command's names that it knows of and has not ended."""
        return [pod for pod in self._pods.values() if self.is_own(pod)]

    def left_running(self, but: str = "") -> list[str]:
        """One line for each pod that may be billing, `but` that id.

        Each says what it is, its price, until when, and what ends it.
        """
        lines = []
        for pod in self._pods.values():
            if pod.id == but:
                continue
            until = pod_lifetime(pod, self._client.now())
            what = f"pod {pod.label} is there, ${pod.cost_per_hour:.2f}/h; it {until}"
            lines.append(f"{what}; end it now: {stop_command(pod.id)}")
        known = {pod.name for pod in self._pods.values()}
        for name in sorted(self._may_exist):
            article = "another" if name in known else "a"
            what = f"{article} pod named {name} may exist: ./list_pods.sh shows it"
            ends = f"{stop_command(name)} ends it"
            if name in known:
                ends = "end it by its id"
            lines.append(f"{what}, {ends}")
        return lines

    def look_up(self, name: str) -> Pod | None:
        """The oldest pod of this name; None when lists have not shown one for a while.

        Raises PodUnclear if the lists cannot be read.
        """
        deadline = self._client.clock() + LOOK_UP_SECONDS
        while True:
            # A list says nothing of what came after it was asked for, however late it is answered.
            is_last = self._client.clock() >= deadline
            try:
                pods = self._client.list_pods()
                found = oldest([pod for pod in pods if pod.name == name])
                if found or is_last:
                    return found
            except ApiError as error:
                if is_last:
                    what = f"A POD NAMED {name} MAY EXIST AND BE BILLED"
                    hint = f"./list_pods.sh shows whether it does, {stop_command(name)} ends it"
                    raise PodUnclear(
                        f"{what}: the look-up failed ({error.message})", hint
                    ) from None
            self._client.sleep(LOOK_STEP)

    def try_sweep(self, *, patient: bool) -> None:
        """sweep(); what it could not rule out stays in `left_running()`."""
        try:
            self.sweep(patient=patient)
        except (ApiError, PodUnclear) as error:
            self._say(f"could not sweep up: {error.message}")

    def sweep(self, *, patient: bool) -> None:
        """End every pod that this command made and does not keep.

        A stray of an unclear create may come late: a `patient` sweep waits until none can come,
        and reads on through lists that cannot be read. Raises ApiError if the last list could not
        be read, and PodUnclear for a pod that could not be ended.
        """
        clear_from = self._unclear_since + LISTED_SECONDS
        if patient and self._may_exist:
            self._watch_for_strays(clear_from)
        if self._names:
            self.end_strays(self._client.list_pods())
        if self._client.clock() >= clear_from:
            self._may_exist.clear()

    def _watch_for_strays(self, until: float) -> None:
        said_at = float("-inf")
        while self._client.clock() < until:
            if self._client.clock() - said_at >= SAY_EVERY_SECONDS:
                said_at = self._client.clock()
                left = until - said_at
                what = "one create was unclear; looking whether it made a pod that shows late"
                self._say(f"{what}: {left:.0f} s left")
            try:
                self.end_strays(self._client.list_pods())
            except ApiError as error:
                self._say(f"a list could not be read, trying again ({error.message})")
            self._client.sleep(LOOK_STEP)

    def end_strays(self, pods: Sequence[Pod]) -> None:
        """End those of `pods` that this command made and does not keep. Raises PodUnclear."""
        for pod in pods:
            is_kept = pod.id in self._pods and pod.id not in self._strays
            if not self.is_own(pod) or is_kept or pod.status == "TERMINATED":
                continue
            self._pods[pod.id] = pod
            self._strays.add(pod.id)
            what = "which this deploy made and does not keep"
            self._say(f"ending pod {pod.label}, {what}")
            self.end(pod)

    def end(self, pod: Pod) -> None:
        """Terminate a pod of this command, for certain. Raises PodUnclear, and knows it still."""
        terminate(self._client, pod)
        self._pods.pop(pod.id, None)
        if not [other for other in self._pods.values() if other.name == pod.name]:
            self._made.note_end(pod.name)

    def forget_if_gone(self, pod: Pod) -> bool:
        """Whether the account's list shows the pod no more: nothing of it is billed then."""
        try:
            listed = [other for other in self._client.list_pods() if other.id == pod.id]
        except ApiError:
            return False
        if any(other.status != "TERMINATED" for other in listed):
            return False
        self._pods.pop(pod.id, None)
        self._made.note_end(pod.name)
        return True

    def end_own(self) -> None:
        """Terminate every pod of this command, and say so; one that cannot be ended stays known."""
        for pod in self.own_pods():
            try:
                self.end(pod)
                self._say(f"pod {pod.label} is gone and no longer billed")
            except PodUnclear as error:
                self._say(error.message)


def oldest(pods: Iterable[Pod]) -> Pod | None:
    """The live pod that was made first, None if none lives."""
    live = [pod for pod in pods if pod.live]
    return min(live, key=age_key, default=None)


def age_key(pod: Pod) -> tuple[datetime, str]:
    """Sorts pods from the oldest; one whose age is not known comes last."""
    return pod.created_at or datetime.max.replace(tzinfo=UTC), pod.id
