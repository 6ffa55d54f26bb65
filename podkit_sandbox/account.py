"""The account behind the REST v2 API. Must never know sockets or processes, nor unseeded chance."""

import hmac
import random
import re
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from functools import partial

from podkit_sandbox.billing import Span, bill
from podkit_sandbox.catalog import Stock
from podkit_sandbox.offers import Offers
from podkit_sandbox.pods import Clock, PaperRunner, Pod, Pods, Runtime
from podkit_sandbox.registries import Registries
from podkit_sandbox.routing import Request, Respond, find_route
from podkit_sandbox.scenario import Drawn, Scenario, answer_before_effect, spoil
from podkit_sandbox.serverless.endpoints import Endpoints
from podkit_sandbox.serverless.job_routes import JobRoutes, answering_errors
from podkit_sandbox.serverless.platform import PaperWorkers, Platform
from podkit_sandbox.serverless.services import Service
from podkit_sandbox.serverless.worker_routes import WorkerRoutes
from podkit_sandbox.volumes import Volumes
from podkit_sandbox.wire import Answer, Call, Cut, Problem, reply

__all__ = ["Account", "Answer", "Call", "Cut", "PaperRunner", "Pod", "Runtime", "Scenario"]
BODY_LIMIT = 102_400  # bytes of a request to the control API
JOB_LIMITS = {"run": 10_485_760, "runsync": 20_971_520}
"""Bytes of a job; of a worker's result as of the larger."""

WORKER_CALLS = "job-take|job-take-batch|job-stop|job-done|job-stream|ping"


def is_worker_call(call: Call) -> bool:
    """Whether this is a route that workers alone use."""
    return re.match(rf"/v2/[^/]+/({WORKER_CALLS})/", call.path) is not None


class Account:
    """One account of the provider."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        scenario: Scenario,
        runner: PaperRunner,
        key: str,
        jobs_url: str = "https://api.runpod.ai/v2",
        workers: PaperWorkers | None = None,
    ) -> None:
        """`jobs_url` is where endpoints answer; `workers` runs what serverless workers run."""
        self._clock = clock
        self._key = key
        self.images: dict[str, Service] = {}
        self._volumes = Volumes(clock, rng)
        self._pods = Pods(clock, rng, runner, self._volumes)
        self._offers = Offers()
        self._registries = Registries(rng)
        self.platform = Platform(clock, rng, workers or PaperWorkers())
        self._endpoints = Endpoints(self.platform, self._volumes, jobs_url)
        self._routes = self._control_routes() | self._serverless_routes()
        self.set_scenario(scenario)

    @property
    def pods(self) -> dict[str, Pod]:
        """Every pod that ever was, by its id, in order of creation."""
        return self._pods.all

    def set_scenario(self, scenario: Scenario) -> None:
        """Replaces the scenario; its counts begin from 0, pods stay as they are."""
        self._scenario = scenario.begin()
        self._pods.stock = Stock(scenario.stock)
        self._offers.stock = Stock(scenario.stock)
        self.platform.stock = Stock(scenario.stock)
        self.platform.quota = scenario.quota
        self.images.update(scenario.images)

    def handle(self, call: Call) -> Answer:
        """The answer to one call. Raises Cut where the connection is to be reset."""
        drawn = self._scenario.draw(call)
        answer = answer_before_effect(drawn)
        if answer is None:
            answer = self._answer(call, drawn)
            if answer.wait:
                return replace(answer, wait=partial(self._wait, answer.wait, drawn))
            answer = spoil(drawn, answer)
        return self._add_date(answer, drawn)

    def admit(self, call: Call) -> None:
        """Raises Problem unless the call's key may make it, whatever its body.

        The account's key opens everything but the routes of workers, a pod's own key one call, a
        worker's own key its own routes.
        """
        pod = self._pods.owners.get(call.key)
        worker = self.platform.owners.get(call.key)
        if pod:
            allowed = (call.method, call.path) == ("POST", f"/v2/pods/{pod.id}/action")
        elif worker:
            own = rf"/v2/{worker.endpoint_id}/({WORKER_CALLS})/{worker.id}(/[^/]+)?"
            allowed = re.fullmatch(own, call.path) is not None
        elif self._is_accounts_own(call):
            allowed = not is_worker_call(call)
        else:
            raise Problem(401, "invalid bearer token" if call.key else "missing bearer token")
        if not allowed:
            raise Problem(403, "access denied")

    def _is_accounts_own(self, call: Call) -> bool:
        """Whether it comes with the account's key; the job API also takes it without "Bearer"."""
        if not call.headers.get("authorization", "").startswith("Bearer "):
            endpoint = call.path.removeprefix("/v2/").partition("/")[0]
            if endpoint not in self.platform.endpoints:
                return False
        return hmac.compare_digest(call.key.encode(), self._key.encode())

    def body_limit(self, call: Call) -> int:
        """The most bytes that the body of this call may have."""
        if is_worker_call(call):
            return JOB_LIMITS["runsync"]
        endpoint, _, route = call.path.removeprefix("/v2/").partition("/")
        if endpoint in self.platform.endpoints:
            return JOB_LIMITS.get(route, BODY_LIMIT)
        return BODY_LIMIT

    def _wait(
        self,
        wait: Callable[[], Answer | None],
        drawn: Drawn,
    ) -> Answer | None:
        """The answer that was waited for, None while it is not there. Raises Cut."""
        answer = wait()
        if answer is None:
            return None
        return self._add_date(spoil(drawn, answer), drawn)

    def _answer(self, call: Call, drawn: Drawn) -> Answer:
        try:
            self.admit(call)
            limit = self.body_limit(call)
            if len(call.body) > limit:
                raise Problem(413, f"request body is over {limit} bytes")
            respond, request = find_route(self._routes, call, drawn)
            return respond(request)
        except Problem as problem:
            return problem.answer

    def _add_date(self, answer: Answer, drawn: Drawn) -> Answer:
        at = self._clock() + drawn.seconds("clock-skew")
        date = formatdate(at, usegmt=True)
        absurd = drawn.get("date")
        if absurd:
            date = absurd.text
        return answer.with_headers(Date=date)

    def _control_routes(self) -> dict[str, Respond]:
        pods = self._pods
        volumes = self._volumes
        offers = self._offers
        return {
            "GET /pods": pods.list_all,
            "POST /pods": pods.create,
            "GET /pods/{id}": pods.get,
            "DELETE /pods/{id}": pods.delete,
            "POST /pods/{id}/action": pods.act,
            "GET /pods/{id}/logs": pods.logs,
            "GET /network-volumes": volumes.list_all,
            "POST /network-volumes": volumes.create,
            "GET /network-volumes/{id}": volumes.get,
            "PATCH /network-volumes/{id}": volumes.change,
            "DELETE /network-volumes/{id}": volumes.delete,
            "GET /registries": self._registries.list_all,
            "POST /registries": self._registries.create,
            "GET /registries/{id}": self._registries.get,
            "DELETE /registries/{id}": self._registries.delete,
            "GET /catalog/gpus": offers.gpus,
            "GET /catalog/gpus/{id}": offers.gpu,
            "GET /catalog/cpus": offers.cpus,
            "GET /catalog/cpus/{id}": offers.cpu,
            "GET /catalog/datacenters": offers.data_centers,
            "GET /catalog/datacenters/{id}": offers.data_center,
            "GET /billing/pods": partial(self._bill, "pods", pods.spans),
            "GET /billing/network-volumes": partial(
                self._bill,
                "network-volumes",
                volumes.spans,
            ),
        }

    def _serverless_routes(self) -> dict[str, Respond]:
        endpoints = self._endpoints
        jobs = JobRoutes(self.platform)
        workers = WorkerRoutes(self.platform)
        job_routes: dict[str, Respond] = {
            "POST /{endpoint}/run": jobs.run,
            "POST /{endpoint}/runsync": jobs.run_sync,
            "GET /{endpoint}/status/{job}": jobs.status,
            "GET /{endpoint}/stream/{job}": jobs.stream,
            "POST /{endpoint}/cancel/{job}": jobs.cancel,
            "POST /{endpoint}/retry/{job}": jobs.retry,
            "POST /{endpoint}/purge-queue": jobs.purge,
            "GET /{endpoint}/health": jobs.health,
        }
        return {
            "GET /serverless": endpoints.list_all,
            "POST /serverless": endpoints.create,
            "GET /serverless/{id}": endpoints.get,
            "PATCH /serverless/{id}": endpoints.change,
            "DELETE /serverless/{id}": endpoints.delete,
            "GET /serverless/{id}/workers": endpoints.workers,
            "GET /serverless/{id}/workers/{worker}/logs": endpoints.worker_logs,
            "GET /serverless/{id}/releases": endpoints.releases,
            "GET /billing/serverless": partial(self._bill, "serverless", self.platform.spans),
            **{route: answering_errors(respond) for route, respond in job_routes.items()},
            "GET /{endpoint}/job-take/{worker}": workers.take,
            "GET /{endpoint}/job-take-batch/{worker}": workers.take_batch,
            "GET /{endpoint}/job-stop/{worker}": workers.stop,
            "POST /{endpoint}/job-done/{worker}/{job}": workers.done,
            "POST /{endpoint}/job-stream/{worker}/{job}": workers.stream,
            "GET /{endpoint}/ping/{worker}": workers.ping,
        }

    def _bill(self, kind: str, spans: Callable[[], list[Span]], request: Request) -> Answer:
        query = {**request.call.query, **request.query()}
        return reply(bill(query, kind, spans(), self._clock()))
