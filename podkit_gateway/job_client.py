"""The only door to the provider's job API, and to the list of endpoints that a name is looked up
in.

A submit that may have arrived is never repeated: the API has no idempotency key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp

from podkit_gateway.config import BackendConfig
from podkit_gateway.errors import GatewayError

TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
NAMES_KEPT = 60.0
"""Seconds for which an endpoint's id is remembered; a deploy may have changed it."""
EXECUTION_MS = 600_000
TTL_MS = 3_600_000
QUOTA = "max workers quota"
NO_TEMPLATE = "unable to find template"


class JobError(GatewayError):
    """The job API refused; `sent` says whether the job may nevertheless run."""

    def __init__(self, message: str, *, status: int = 0, sent: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.sent = sent


class JobClient:
    """Submits, asks and cancels."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        clock: Callable[[], float],
        *,
        jobs_url: str,
        api_url: str,
    ) -> None:
        self._session = session
        self._clock = clock
        self._jobs_url = jobs_url
        self._api_url = api_url
        self._ids: dict[str, tuple[float, str]] = {}

    async def submit(
        self, backend: BackendConfig, job_input: dict[str, Any], webhook: str | None
    ) -> str:
        """The provider's id of a new job; it calls `webhook` at the end. Raises JobError."""
        body: dict[str, Any] = {
            "input": job_input,
            "policy": {"executionTimeout": EXECUTION_MS, "ttl": TTL_MS},
        }
        if webhook is not None:
            body["webhook"] = webhook
        try:
            answer = await self._call("POST", backend, "run", json=body)
        except JobError as problem:
            if problem.status != 404 or not backend.endpoint_name:
                raise
            self._ids.pop(backend.endpoint_name, None)
            answer = await self._call("POST", backend, "run", json=body)
        job_id = answer.get("id")
        if not isinstance(job_id, str):
            raise JobError("the job API gave the job no id", sent=True)
        return job_id

    async def ask(self, backend: BackendConfig, job_id: str) -> dict[str, Any]:
        """The job as the provider has it: `status`, and `output` or `error` once it is over."""
        return await self._call("GET", backend, f"status/{job_id}")

    async def cancel(self, backend: BackendConfig, job_id: str) -> None:
        await self._call("POST", backend, f"cancel/{job_id}")

    async def _call(
        self, method: str, backend: BackendConfig, path: str, **options: Any
    ) -> dict[str, Any]:
        endpoint = await self._find_endpoint(backend)
        return await self._request(
            method, f"{self._jobs_url}/{endpoint}/{path}", backend, **options
        )

    async def _find_endpoint(self, backend: BackendConfig) -> str:
        """The endpoint's id; one that is named is looked up, so that a deploy needs no change
        here.
        """
        name = backend.endpoint_name
        if not name:
            return backend.endpoint
        until, known = self._ids.get(name, (0.0, ""))
        if known and self._clock() < until:
            return known
        answer = await self._request("GET", f"{self._api_url}/serverless", backend)
        for endpoint in answer.get("endpoints", []):
            if endpoint.get("name") == name:
                self._ids[name] = (self._clock() + NAMES_KEPT, str(endpoint["id"]))
                return str(endpoint["id"])
        raise JobError("there is no endpoint of this name", status=404)

    async def _request(
        self, method: str, url: str, backend: BackendConfig, **options: Any
    ) -> dict[str, Any]:
        headers = {"Accept-Encoding": "identity"}
        if backend.key is not None:
            headers["Authorization"] = f"Bearer {backend.key.reveal()}"
        try:
            async with self._session.request(
                method, url, headers=headers, timeout=TIMEOUT, allow_redirects=False, **options
            ) as response:
                text = await response.text()
                if response.status >= 400:
                    raise JobError(explain(response.status, text), status=response.status)
                answer = await response.json(content_type=None)
        except aiohttp.ClientConnectorError:
            raise JobError("the job API cannot be reached") from None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as problem:
            text = f"the job API broke off ({type(problem).__name__})"
            raise JobError(text, sent=True) from None
        if not isinstance(answer, dict):
            raise JobError("the job API answered in an unknown form", sent=True)
        return answer


def explain(status: int, text: str) -> str:
    """What a refusal means for people, by what was seen of the provider's texts (2026)."""
    lowered = text.lower()
    if QUOTA in lowered:
        return (
            "the account's quota of serverless workers is used up; "
            "podkit serverless list shows which endpoints hold them"
        )
    if NO_TEMPLATE in lowered:
        return "the endpoint is not ready yet: wait a minute"
    if status in {401, 403}:
        return "the job API does not accept the endpoint's key"
    if status == 404:
        return "the endpoint or job does not exist any more"
    if status == 429:
        return "the endpoint gets too many requests"
    return f"the job API answered {status}"
