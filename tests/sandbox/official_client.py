"""Asks an endpoint through the official client, in the service's own environment.

Usage: official_client.py ENDPOINT INPUT. The address and the key are in the client's own variables.
Prints one JSON object.
"""

import json
import os
import sys

import runpod

runpod.api_key = os.environ["RUNPOD_API_KEY"]
endpoint = runpod.Endpoint(sys.argv[1])
wish = {"input": json.loads(sys.argv[2])}
job = endpoint.run(wish)
output = job.output(timeout=120)
other = endpoint.run({"input": {"sleep": 600}})
cancelled = other.cancel()
print(
    json.dumps(
        {
            "final": job.status(),
            "output": output,
            "sync": endpoint.run_sync(wish, timeout=60),
            "cancelled": cancelled["status"],
            "health": endpoint.health(),
            "purged": endpoint.purge_queue(),
        },
    ),
)
