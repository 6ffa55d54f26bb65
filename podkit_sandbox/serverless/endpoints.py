"""The control plane of serverless endpoints: the routes under /serverless of REST v2."""

from typing import Any

from podkit_sandbox.logs import Log, stream_log
from podkit_sandbox.routing import Request, page_of
from podkit_sandbox.scenario import Drawn
from podkit_sandbox.serverless.jobs import JobQueue
from podkit_sandbox.serverless.model import Endpoint, Release, Worker
from podkit_sandbox.serverless.platform import Platform, sum_of_max
from podkit_sandbox.serverless.rules import (
    RELEASED,
    changed_settings,
    check_quota,
    check_volumes,
    diff,
    new_settings,
)
from podkit_sandbox.volumes import Volumes
from podkit_sandbox.wire import Answer, Problem, reply, timestamp

JOB_ROUTES = {
    "run": "run",
    "runSync": "runsync",
    "status": "status/{job_id}",
    "stream": "stream/{job_id}",
    "cancel": "cancel/{job_id}",
    "retry": "retry/{job_id}",
    "purgeQueue": "purge-queue",
    "health": "health",
}
"""The names of `requestUrls`, and what follows the endpoint's address there."""
STATUSES = ("RUNNING", "IDLE", "INITIALIZING", "THROTTLED", "UNHEALTHY")
FOREIGN_ENDPOINT: dict[str, Any] = {"id": "", "name": ""}
"""What somebody else's endpoint looked like in a list, if a rule gives no `items`."""


class Endpoints:
    """Answers calls to /serverless."""

    def __init__(self, platform: Platform, volumes: Volumes, jobs_url: str) -> None:
        self._platform = platform
        self._volumes = volumes
        self._jobs_url = jobs_url

    def list_all(self, request: Request) -> Answer:
        """GET /serverless."""
        shown = []
        for endpoint in self._platform.endpoints.values():
            if endpoint.hidden_until <= self._platform.clock():
                shown.append(self._json(endpoint))
        foreign = request.drawn.get("foreign")
        if foreign:
            shown = [*(foreign.items or [FOREIGN_ENDPOINT]), *shown]
        return page_of("endpoints", shown, request.query())

    def create(self, request: Request) -> Answer:
        """POST /serverless."""
        settings = new_settings(request.body())
        _check_image(request.drawn, settings)
        check_volumes(settings["networkVolumes"], self._volumes.all)
        self._check_quota(settings, None, request.drawn)
        endpoint = self._make(settings, request.drawn)
        if "twin" in request.drawn:
            twin = self._make(dict(settings), request.drawn)
            twin.hidden_until += request.drawn.seconds("twin")
        return reply(self._json(endpoint), 201)

    def get(self, request: Request) -> Answer:
        """GET /serverless/{id}."""
        return reply(self._json(self._show(request)))

    def change(self, request: Request) -> Answer:
        """PATCH /serverless/{id}: a container field makes a release, even if nothing differs."""
        endpoint = self._show(request)
        body = request.body()
        old = endpoint.settings
        settings = changed_settings(old, body)
        _check_image(request.drawn, settings)
        check_volumes(settings["networkVolumes"], self._volumes.all)
        if settings["workers"]["max"] > old["workers"]["max"]:
            self._check_quota(settings, endpoint, request.drawn)
        endpoint.settings = settings
        if settings["workers"]["max"] > old["workers"]["max"]:
            endpoint.last_request = self._platform.clock()
            endpoint.scale_down = None
        self._plan_scale_down(endpoint, request.drawn)
        if {*body} & {*RELEASED}:
            self._release(endpoint, diff(old, settings), request.drawn)
        self._platform.tick_endpoint(endpoint)
        return reply(self._json(endpoint))

    def delete(self, request: Request) -> Answer:
        """DELETE /serverless/{id}: ends all workers and forgets all jobs."""
        endpoint = self._find(request)
        for worker in endpoint.living():
            self._platform.end_worker(endpoint, worker)
        del self._platform.endpoints[endpoint.id]
        return Answer(204)

    def workers(self, request: Request) -> Answer:
        """GET /serverless/{id}/workers."""
        endpoint = self._show(request)
        rows = [self._worker_json(endpoint, worker) for worker in endpoint.living()]
        summary = {status.lower(): 0 for status in STATUSES}
        for row in rows:
            summary[row["status"].lower()] += 1
        return reply(
            {
                "endpointVersion": endpoint.release.version,
                "workers": rows,
                "summary": {**summary, "total": len(rows)},
                "pagination": {"nextCursor": None, "hasNextPage": False},
            },
        )

    def releases(self, request: Request) -> Answer:
        """GET /serverless/{id}/releases, newest first."""
        endpoint = self._show(request)
        living = endpoint.living()
        latest = [worker for worker in living if worker.release is endpoint.release]
        percent = 100 * len(latest) // len(living) if living else 0
        rollout = {
            "inProgress": len(latest) < len(living),
            "workersOnLatest": len(latest),
            "workersTotal": len(living),
            "percentOnLatest": percent,
        }
        rows = []
        for release in reversed(endpoint.releases):
            rows.append(_release_json(release, living))
        return reply(
            {
                "endpointVersion": endpoint.release.version,
                "rollout": rollout,
                "releases": rows,
                "pagination": {"nextCursor": None, "hasNextPage": False},
            },
        )

    def worker_logs(self, request: Request) -> Answer:
        """GET /serverless/{id}/workers/{worker}/logs."""
        endpoint = self._show(request)
        worker = endpoint.workers.get(request.ids[1])
        if worker is None:
            raise Problem(404, "worker not found")
        log = Log(worker.lines, lambda: worker.ended is not None, self._platform.clock)
        return stream_log(log, request)

    def _make(self, settings: dict[str, Any], drawn: Drawn) -> Endpoint:
        platform = self._platform
        now = platform.clock()
        id = f"{platform.rng.getrandbits(56):014x}"
        hidden_until = now + drawn.seconds("list-lag")
        endpoint = Endpoint(id, settings, now, hidden_until, JobQueue())
        endpoint.last_request = now
        platform.endpoints[id] = endpoint
        self._plan_scale_down(endpoint, drawn)
        self._release(endpoint, [], drawn)
        platform.tick_endpoint(endpoint)
        return endpoint

    def _release(self, endpoint: Endpoint, changes: list[dict[str, Any]], drawn: Drawn) -> None:
        version = len(endpoint.releases) + 1
        id = f"{self._platform.rng.getrandbits(40):010x}"
        settings = dict(endpoint.settings)
        now = self._platform.clock()
        endpoint.releases.append(Release(id, version, now, settings, changes, drawn))

    def _plan_scale_down(self, endpoint: Endpoint, drawn: Drawn) -> None:
        rule = drawn.get("idle-scale-down")
        if rule:
            at = self._platform.clock() + drawn.seconds("idle-scale-down")
            endpoint.scale_down = (at, int(rule.text or "0"))

    def _check_quota(
        self,
        settings: dict[str, Any],
        changed: Endpoint | None,
        drawn: Drawn,
    ) -> None:
        """Raises Problem 400 if the account's max workers would be too many."""
        others = [one for one in self._platform.endpoints.values() if one is not changed]
        used = sum_of_max(others)
        quota = used if "quota" in drawn else self._platform.quota
        check_quota(used + settings["workers"]["max"], used, quota)

    def _find(self, request: Request) -> Endpoint:
        endpoint = self._platform.endpoints.get(request.ids[0])
        if endpoint is None:
            raise Problem(404, "endpoint not found")
        return endpoint

    def _show(self, request: Request) -> Endpoint:
        endpoint = self._find(request)
        if endpoint.hidden_until > self._platform.clock():
            raise Problem(404, "endpoint not found")
        self._platform.tick_endpoint(endpoint)
        return endpoint

    def _json(self, endpoint: Endpoint) -> dict[str, Any]:
        base = f"{self._jobs_url}/{endpoint.id}"
        urls = {name: f"{base}/{rest}" for name, rest in JOB_ROUTES.items()}
        if endpoint.settings["type"] == "LOAD_BALANCER":
            urls = {"base": base, "health": f"{base}/ping"}
        made = timestamp(endpoint.created)
        return {"id": endpoint.id, **endpoint.settings, "requestUrls": urls, "createdAt": made}

    def _worker_json(self, endpoint: Endpoint, worker: Worker) -> dict[str, Any]:
        settings = worker.release.settings
        gpu = settings.get("gpu")
        return {
            "id": worker.id,
            "status": self._platform.status(endpoint, worker),
            "isStale": worker.release is not endpoint.release,
            "version": worker.release.version,
            "gpuCount": gpu["count"] if gpu else 0,
            "image": settings["image"],
            "uptimeSeconds": max(0, int(self._platform.clock() - worker.created)),
            "gpuTypeId": worker.compute if gpu and worker.compute else None,
            "dataCenterId": worker.place,
            "startedAt": timestamp(worker.created),
        }


def _check_image(drawn: Drawn, settings: dict[str, Any]) -> None:
    """Raises Problem 422 if a fault has the registry not know the image."""
    if "image-missing" in drawn:
        errors = [f"$.image: {settings['image']} was not found in its registry"]
        raise Problem(422, "Request validation failed.", errors)


def _release_json(release: Release, living: list[Worker]) -> dict[str, Any]:
    return {
        "id": release.id,
        "version": release.version,
        "source": "MANUAL",
        "buildId": None,
        "createdByUserId": None,
        "workerCount": sum(worker.release is release for worker in living),
        "createdAt": timestamp(release.created),
        "diff": release.diff,
    }
