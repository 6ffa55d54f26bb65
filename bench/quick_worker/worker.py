"""A worker that takes jobs the moment they are there, for measuring clients.

The SDK's own loop may pause for a second between two batches, which would hide what a client adds.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

AT_ONCE = 64
TAKE = os.environ["RUNPOD_WEBHOOK_GET_JOB"].replace("job-take", "job-take-batch")
DONE = os.environ["RUNPOD_WEBHOOK_POST_OUTPUT"]
WORKER = os.environ["RUNPOD_POD_ID"]


def new_session() -> requests.Session:
    """One that signs, and speaks to nobody's proxy."""
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = os.environ["RUNPOD_AI_API_KEY"]
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE)
    session.mount("http://", adapter)
    return session


def work(session: requests.Session, job: dict[str, Any]) -> None:
    """Do one job: sleep for as long as it says."""
    time.sleep(job["input"]["sleep"])
    url = DONE.replace("$RUNPOD_POD_ID", WORKER).replace("$ID", job["id"])
    session.post(url, json={"output": {"slept": job["input"]["sleep"]}}, timeout=30)


def main() -> None:
    session = new_session()
    url = f"{TAKE.replace('$ID', WORKER)}&batch_size={AT_ONCE}"
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while True:
            answer = session.get(url, timeout=30)
            for job in answer.json() if answer.status_code == 200 else []:
                pool.submit(work, session, job)


if __name__ == "__main__":
    main()
