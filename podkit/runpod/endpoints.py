"""Serverless endpoints: made once and never by a repeat, changed in place, so that an id stays.

Names are not unique on the service. Which endpoint is meant, and what an unclear answer to a create
or a change has left behind, is for the caller to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from podkit.errors import BadAnswer
from podkit.runpod.answers import decode_shape
from podkit.runpod.endpoint_types import (
    Endpoint,
    EndpointCharge,
    Release,
    Rollout,
    Worker,
    WorkerCpu,
    WorkerGpu,
)
from podkit.runpod.http import CREATE_SECONDS, Http, path_of


class Endpoints(Http):
    """The calls about serverless endpoints, their workers and their releases."""

    def list_endpoints(self) -> list[Endpoint]:
        """All endpoints of the account. A list may lag: one made just now may be missing."""
        return self.read_list("/serverless", "endpoints", Endpoint.from_api)

    def get_endpoint(self, endpoint_id: str) -> Endpoint:
        """The endpoint as it is now. Raises NotFound for one that is gone, or not yet known."""
        return self.read(path_of("serverless", endpoint_id), Endpoint.from_api)

    def create_endpoint(self, body: Mapping[str, Any]) -> Endpoint:
        """Send one create, once. An ApiError with `unclear` means that the endpoint may exist all
        the same."""
        return self._write("POST", "/serverless", body)

    def change_endpoint(self, endpoint_id: str, body: Mapping[str, Any]) -> Endpoint:
        """Set what `body` names, once: `env`, `cpu`, `scaling` and lists are replaced whole.

        It returns the endpoint as it is afterwards. After an `unclear` ApiError read the endpoint
        again: to send the same once more could make a second release.
        """
        return self._write("PATCH", path_of("serverless", endpoint_id), body)

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Delete the endpoint, its workers, and its jobs that wait or run. Raises NotFound for one
        that is gone, or too new to be known."""
        path = path_of("serverless", endpoint_id)
        self.repeat(lambda: self.request("DELETE", path))

    def list_workers(self, endpoint_id: str) -> list[Worker]:
        """The endpoint's workers that are there now; those that were scaled down are not."""
        path = path_of("serverless", endpoint_id) + "/workers"
        return self.read_list(path, "workers", Worker.from_api)

    def list_releases(self, endpoint_id: str) -> list[Release]:
        """The endpoint's releases, newest first."""
        path = path_of("serverless", endpoint_id) + "/releases"
        return self.read_list(path, "releases", Release.from_api)

    def get_rollout(self, endpoint_id: str) -> Rollout:
        """How far the endpoint's newest release has come."""
        return self.read(path_of("serverless", endpoint_id) + "/releases", Rollout.from_api)

    def list_worker_gpus(self) -> list[WorkerGpu]:
        """The catalogue for serverless workers, with stock; also types that are in no pool."""
        return self.read_list(
            "/catalog/gpus",
            "gpus",
            WorkerGpu.from_api,
            include="AVAILABILITY",
            product="SERVERLESS",
        )

    def list_worker_cpus(self) -> list[WorkerCpu]:
        """The CPU flavors for serverless workers."""
        return self.read_list(
            "/catalog/cpus",
            "cpus",
            WorkerCpu.from_api,
            include="AVAILABILITY",
            product="SERVERLESS",
        )

    def list_endpoint_charges(self, since: date) -> list[EndpointCharge]:
        """What each endpoint was billed for each day (UTC) from `since` up to today.

        `/billing/endpoints` is another product, and always 0 here (API document of 2026-08-20).
        """
        return self.read_list(
            "/billing/serverless",
            "records",
            EndpointCharge.from_api,
            startTime=f"{since}T00:00:00Z",
            endTime=f"{self.now():%Y-%m-%dT%H:%M:%SZ}",
            bucketSize="day",
        )

    def _write(self, method: str, path: str, body: Mapping[str, Any]) -> Endpoint:
        """The endpoint in the answer. One that cannot be read leaves it open what was done."""
        answer = self.request(method, path, json=body, seconds=CREATE_SECONDS)
        try:
            return decode_shape(Endpoint.from_api, answer)
        except BadAnswer as error:
            error.unclear = True
            raise
