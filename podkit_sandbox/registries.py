"""Credentials of private image registries, which are written and never read."""

import random
from typing import Any

from podkit_sandbox.routing import Request, page_of
from podkit_sandbox.wire import Answer, Problem, reply


class Registries:
    """Every credential that the account has: its id and name."""

    def __init__(self, rng: random.Random) -> None:
        self.all: dict[str, dict[str, Any]] = {}
        self._rng = rng

    def list_all(self, request: Request) -> Answer:
        """GET /registries."""
        return page_of("registries", [*self.all.values()], request.query())

    def create(self, request: Request) -> Answer:
        """POST /registries."""
        registry = {"id": f"{self._rng.getrandbits(40):010x}", "name": request.body()["name"]}
        self.all[registry["id"]] = registry
        return reply(registry, 201)

    def get(self, request: Request) -> Answer:
        """GET /registries/{id}."""
        return reply(self._one(request))

    def delete(self, request: Request) -> Answer:
        """DELETE /registries/{id}."""
        del self.all[self._one(request)["id"]]
        return Answer(204)

    def _one(self, request: Request) -> dict[str, Any]:
        registry = self.all.get(request.ids[0])
        if registry is None:
            raise Problem(404, "registry not found")
        return registry
