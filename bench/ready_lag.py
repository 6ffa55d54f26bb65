"""How long after both URLs of a sandbox pod work `deploy` says so:
at most one poll of 2 s is promised.

Run it as: .venv/bin/python bench/ready_lag.py [DEPLOYS]. It deploys that many times (5) in the
sandbox, and beside each one asks both URLs 20 times a second.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from podkit.pods.access import Access, access  # noqa: E402
from podkit.pods.probes import Probes  # noqa: E402
from podkit.runpod.client import RunpodClient  # noqa: E402
from podkit.secret import Secret  # noqa: E402
from podkit.settings import SANDBOX_PROXY_URL  # noqa: E402


def works_from(where: Access, found: list[float]) -> None:
    """Appends the moment from which both URLs work."""
    session = requests.Session()
    session.trust_env = False
    probes = Probes(session, time.monotonic)
    while not all(probe.ready for probe in probes.look(where)):
        time.sleep(0.05)
    found.append(time.monotonic())


def lag() -> float:
    """Seconds from the moment at which both URLs worked to the line with which deploy ends."""
    command = [ROOT / "deploy_olmocr.sh", "--sandbox", "--new", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as deploy:
        assert deploy.stdout
        pod_id = json.loads(deploy.stdout.readline())["pod"]["id"]
        state = json.loads((ROOT / ".podkit/sandbox/state.json").read_text())
        client = RunpodClient(
            requests.Session(),
            state["api_url"],
            Secret(state["api_key"]),
            clock=time.time,
            sleep=time.sleep,
            backoff=lambda _: 1.0,
        )
        while not (where := access(client.get_pod(pod_id), SANDBOX_PROXY_URL)).webui_url:
            time.sleep(0.05)
        worked: list[float] = []
        looking = threading.Thread(target=works_from, args=(where, worked))
        looking.start()
        for line in deploy.stdout:
            if json.loads(line).get("ok"):
                said = time.monotonic()
        looking.join()
    subprocess.run([ROOT / "stop_pod.sh", pod_id, "--sandbox"], capture_output=True, check=True)
    return max(said - worked[0], 0.0)


def main() -> None:
    lags = [lag() for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5)]
    median = statistics.median(lags)
    print(f"from both URLs working to deploy saying so, {len(lags)} deploys:")
    print(f"median {median:.2f} s, longest {max(lags):.2f} s")


if __name__ == "__main__":
    main()
