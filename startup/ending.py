"""How the pod ends itself. The platform bills until that has worked, so this must never give up.

As a program it returns once the pod is gone: start.sh runs it after a failure, watchdog.py uses it
at a limit.
"""

import itertools
import os
import time
from collections.abc import Callable, Mapping

from pod_http import request
from pod_log import say

FIRST_PAUSES = (5.0, 10.0, 20.0, 40.0)
LATER_PAUSE = 60.0


def terminate(env: Mapping[str, str], sleep: Callable[[float], None] = time.sleep) -> None:
    """Returns once the API says that the pod is gone: 2xx or 404. After 5 failures it asks for a
    stop too.
    """
    api = env.get("RUNPOD_API_URL", "https://api.runpod.io/v2")
    url = f"{api}/pods/{env.get('RUNPOD_POD_ID')}/action"
    key = env.get("RUNPOD_API_KEY", "")
    for pause in itertools.chain(FIRST_PAUSES, itertools.repeat(LATER_PAUSE)):
        status, _ = request(url, {"action": "terminate"}, key)
        say(f"terminate: HTTP {status}")
        if 200 <= status < 300 or status == 404:
            return
        if pause == LATER_PAUSE:
            status, _ = request(url, {"action": "stop"}, key)
            say(f"stop: HTTP {status}")
        sleep(pause)


if __name__ == "__main__":
    terminate(os.environ)
