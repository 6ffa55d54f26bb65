"""How the pod ends itself. The platform bills until that has worked, so this must never give up.

What the pod's own key may do has differed from month to month and from road to road (2026: action
terminate accepted, DELETE accepted in October, GraphQL accepted and refused within three days).
So every road is taken, one after another, until the platform ends this process too.
start.sh runs this as a program after a failure, watchdog.py uses it at a limit.
"""

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from pod_http import request
from pod_log import say

API = "https://api.runpod.io/v2"
PAUSES = (5.0, 10.0, 20.0, 40.0)
"""Seconds between two rounds of all roads; then LAST_PAUSE each time."""
LAST_PAUSE = 60.0
ROUNDS_BEFORE_STOP = 2
"""A stopped pod is not billed for its GPU, but it stays: only after the roads to a real end."""
ACCEPTED_SECONDS = 60.0
"""How long an accepted request is given to end this pod: seconds were seen."""
SHOWN = 200
"""Characters of an answer in the log."""

Ask = Callable[..., tuple[int, str]]


class Ending:
    """The roads to the pod's end. Each returns True if it was accepted, which is no proof yet."""

    def __init__(self, env: Mapping[str, str], ask: Ask = request) -> None:
        self._api = env.get("RUNPOD_API_URL") or API
        self._pod = env.get("RUNPOD_POD_ID", "")
        self._key = env.get("RUNPOD_API_KEY", "")
        self._env = dict(env)
        self._ask = ask

    def roads(self) -> list[Callable[[], bool]]:
        """The roads to the pod's end, the best known first."""
        return [self.terminate, self.delete, self.terminate_by_graphql, self.run_runpodctl]

    def terminate(self) -> bool:
        return self._act("terminate")

    def delete(self) -> bool:
        status, text = self._ask(f"{self._api}/pods/{self._pod}", key=self._key, method="DELETE")
        return self._tell("delete", status, text)

    def terminate_by_graphql(self) -> bool:
        """The provider ends GraphQL early in 2027: this road goes then."""
        address = urlsplit(self._api)
        mutation = f"mutation {{ podTerminate(input: {{ podId: {json.dumps(self._pod)} }}) }}"
        url = f"{address.scheme}://{address.netloc}/graphql"
        status, text = self._ask(url, {"query": mutation}, self._key)
        answered = self._tell("graphql", status, text)
        return answered and status == 200 and '"errors"' not in text

    def run_runpodctl(self) -> bool:
        """The provider's program, which some images have: `pod delete` since its version 2.

        It knows the provider's own API alone.
        """
        program = shutil.which("runpodctl", path=self._env.get("PATH"))
        if not program or self._api != API:
            return False
        for words in (["pod", "delete"], ["remove", "pod"]):
            command = [program, *words, self._pod]
            ended = subprocess.run(
                command, env=self._env, capture_output=True, timeout=60, check=False
            )
            text = (ended.stdout + ended.stderr).decode(errors="replace")
            self._say(f"runpodctl {words[0]}: status {ended.returncode}", text)
            if ended.returncode == 0:
                return True
        return False

    def stop(self) -> bool:
        return self._act("stop")

    def _act(self, action: str) -> bool:
        body = {"action": action}
        status, text = self._ask(f"{self._api}/pods/{self._pod}/action", body, self._key)
        return self._tell(action, status, text)

    def _tell(self, road: str, status: int, text: str) -> bool:
        """Logs an answer. True if the API itself says that it is done, or that the pod is gone."""
        self._say(f"{road}: HTTP {status}", text)
        return (200 <= status < 300 or status == 404) and _is_from_the_api(text)

    def _say(self, told: str, text: str) -> None:
        if self._key:
            text = text.replace(self._key, "***")
        shown = " ".join(text.split())[:SHOWN]
        say(f"{told} {shown}".rstrip())


def end_pod(
    env: Mapping[str, str],
    ask: Ask = request,
    sleep: Callable[[float], None] = time.sleep,
) -> NoReturn:
    """Takes every road, again and again: it is over when the platform ends this process."""
    ending = Ending(env, ask)
    pauses = itertools.chain(PAUSES, itertools.repeat(LAST_PAUSE))
    for number, pause in enumerate(pauses, 1):
        roads = ending.roads()
        if number > ROUNDS_BEFORE_STOP:
            roads.append(ending.stop)
        for road in roads:
            if _take(road):
                sleep(ACCEPTED_SECONDS)
        sleep(pause)
    raise AssertionError("pauses never end")


def _take(road: Callable[[], bool]) -> bool:
    """Whether it was accepted. Whatever goes wrong on one road, the next one is taken."""
    try:
        return road()
    except Exception as error:
        say(f"{road.__name__}: {type(error).__name__}")
        return False


def _is_from_the_api(text: str) -> bool:
    """The API answers with nothing or with JSON; a page of HTML is somebody else's."""
    if not text.strip():
        return True
    try:
        told: Any = json.loads(text)
    except ValueError:
        return False
    return isinstance(told, dict)


if __name__ == "__main__":
    end_pod(os.environ)
