"""The part of jobs_rate.py that runs where the provider's client is installed.

Usage: jobs_rate_official.py ENDPOINT INPUT COUNT. Prints the seconds that COUNT jobs took, each
submitted and waited for in a thread of its own.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import runpod

runpod.api_key = os.environ["RUNPOD_API_KEY"]
endpoint = runpod.Endpoint(sys.argv[1])
work = {"input": json.loads(sys.argv[2])}
count = int(sys.argv[3])


def run() -> None:
    """One job, from its submission to its output."""
    endpoint.run(work).output(timeout=300)


started = time.monotonic()
with ThreadPoolExecutor(count) as pool:
    for done in [pool.submit(run) for _ in range(count)]:
        done.result()
print(time.monotonic() - started)
