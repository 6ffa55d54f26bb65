"""What a worker of an endpoint costs, by the catalogue. It reads only."""

from __future__ import annotations

from podkit.runpod.client import RunpodClient
from podkit.runpod.endpoint_types import Endpoint
from podkit.serverless.diagnose import eligible_types


def hourly_price(client: RunpodClient, endpoint: Endpoint) -> float:
    """USD per hour of the most expensive worker that the endpoint may get, 0 if none has a price.

    Raises ApiError.
    """
    settings = endpoint.settings
    if settings.get("cpu"):
        prices = {cpu.id: cpu.price or 0.0 for cpu in client.list_worker_cpus()}
        found = [prices.get(one["id"], 0.0) * one["vcpuCount"] for one in settings["cpu"]]
        return max(found, default=0.0)
    count = (settings.get("gpu") or {}).get("count") or 1
    types = eligible_types(settings, client.list_worker_gpus())
    return max(((gpu.price or 0.0) * count for gpu in types), default=0.0)
