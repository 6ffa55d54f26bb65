"""The account behind the REST v2 API. Must never know sockets or processes, nor unseeded chance."""

import copy
import hmac
import random
from collections.abc import Callable
from email.utils import formatdate
from functools import partial

from podkit_sandbox.billing import Span, bill
from podkit_sandbox.catalog import Stock
from podkit_sandbox.offers import Offers
from podkit_sandbox.pods import Clock, PaperRunner, Pod, Pods, Runtime
from podkit_sandbox.registries import Registries
from podkit_sandbox.routing import Request, Respond, find_route
from podkit_sandbox.scenario import Drawn, Scenario, answer_before_effect, spoil
from podkit_sandbox.volumes import Volumes
from podkit_sandbox.wire import Answer, Call, Cut, Problem, reply

__all__ = ["Account", "Answer", "Call", "Cut", "PaperRunner", "Pod", "Runtime", "Scenario"]
BODY_LIMIT = 102_400  # bytes of a request to the control API


class Account:
    """One account of the provider."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        scenario: Scenario,
        runner: PaperRunner,
        key: str,
    ) -> None:
        self._clock = clock
        self._key = key
        self._volumes = Volumes(clock, rng)
        self._pods = Pods(clock, rng, runner, self._volumes)
        self._offers = Offers()
        self._registries = Registries(rng)
        self._routes = self._all_routes()
        self.set_scenario(scenario)

    @property
    def pods(self) -> dict[str, Pod]:
        """Every pod that ever was, by its id, in order of creation."""
        return self._pods.all

    def set_scenario(self, scenario: Scenario) -> None:
        """Replaces the scenario; its counts begin from 0, pods stay as they are."""
        self._scenario = copy.deepcopy(scenario)
        self._pods.stock = Stock(scenario.stock)
        self._offers.stock = Stock(scenario.stock)

    def handle(self, call: Call) -> Answer:
        """The answer to one call. Raises Cut where the connection is to be reset."""
        drawn = self._scenario.draw(call)
        answer = answer_before_effect(drawn)
        if answer is None:
            answer = spoil(drawn, self._answer(call, drawn))
        return self._dated(answer, drawn)

    def admit(self, call: Call) -> None:
        """Raises Problem unless the call's key may make it, whatever its body.

        The account's key opens everything, a pod's own key one call.
        """
        owner = self._pods.owners.get(call.key)
        if owner is None:
            if not hmac.compare_digest(call.key.encode(), self._key.encode()):
                raise Problem(401, "invalid bearer token" if call.key else "missing bearer token")
        elif (call.method, call.path) != ("POST", f"/v2/pods/{owner.id}/action"):
            raise Problem(403, "access denied")

    def _answer(self, call: Call, drawn: Drawn) -> Answer:
        try:
            self.admit(call)
            if len(call.body) > BODY_LIMIT:
                raise Problem(413, f"request body is over {BODY_LIMIT} bytes")
            respond, request = find_route(self._routes, call, drawn)
            return respond(request)
        except Problem as problem:
            return problem.answer

    def _dated(self, answer: Answer, drawn: Drawn) -> Answer:
        at = self._clock() + drawn.seconds("clock-skew")
        date = formatdate(at, usegmt=True)
        absurd = drawn.get("date")
        if absurd:
            date = absurd.text
        return answer.with_headers(Date=date)

    def _all_routes(self) -> dict[str, Respond]:
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

    def _bill(self, kind: str, spans: Callable[[], list[Span]], request: Request) -> Answer:
        query = {**request.call.query, **request.query()}
        return reply(bill(query, kind, spans(), self._clock()))
