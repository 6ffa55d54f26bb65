"""The account's network volumes. Must never touch their folders, which belong to the pods."""

import random
from collections.abc import Callable
from typing import Any

from podkit_sandbox.billing import HOURS_A_MONTH, VOLUME_GB_MONTH, Span
from podkit_sandbox.catalog import CATALOG, DATA_CENTERS
from podkit_sandbox.routing import Request, page_of
from podkit_sandbox.wire import Answer, Problem, reply


class Volumes:
    """Every volume that the account has, and what the API does with them."""

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self.all: dict[str, dict[str, Any]] = {}
        self._clock = clock
        self._rng = rng
        self._since: dict[str, float] = {}
        self._ended: list[Span] = []
        for volume in CATALOG["networkVolumes"]:
            self.all[volume["id"]] = dict(volume)
            self._since[volume["id"]] = clock()

    def list_all(self, request: Request) -> Answer:
        """GET /network-volumes."""
        return page_of("networkVolumes", [*self.all.values()], request.query())

    def create(self, request: Request) -> Answer:
        """POST /network-volumes."""
        body = request.body()
        place = DATA_CENTERS.get(body["dataCenter"])
        if place is None:
            raise Problem(400, f"dataCenter {body['dataCenter']!r} is unknown")
        kind = body.get("type", "STANDARD")
        if kind not in place["networkVolumeTypes"]:
            raise Problem(400, f"{place['id']} has no {kind} volumes")
        volume = {**body, "type": kind, "id": f"{self._rng.getrandbits(40):010x}"}
        self.all[volume["id"]] = volume
        self._since[volume["id"]] = self._clock()
        return reply(volume, 201)

    def get(self, request: Request) -> Answer:
        """GET /network-volumes/{id}."""
        return reply(self._one(request))

    def change(self, request: Request) -> Answer:
        """PATCH /network-volumes/{id}: a volume only grows."""
        volume = self._one(request)
        body = request.body()
        if body.get("size", volume["size"]) < volume["size"]:
            raise Problem(400, "a volume cannot become smaller")
        self._end_span(volume)
        self._since[volume["id"]] = self._clock()
        volume.update(body)
        return reply(volume)

    def delete(self, request: Request) -> Answer:
        """DELETE /network-volumes/{id}."""
        volume = self._one(request)
        self._end_span(volume)
        del self.all[volume["id"]]
        return Answer(204)

    def data_center(self, mounts: list[dict[str, Any]]) -> str | None:
        """Where the mounted volume is, if there is one. Raises Problem 404."""
        for mount in mounts:
            if mount["volumeId"] not in self.all:
                raise Problem(404, "network volume not found")
            return str(self.all[mount["volumeId"]]["dataCenter"])
        return None

    def spans(self) -> list[Span]:
        """Volumes as they are billed: by their size, from when they were made."""
        return [*self._ended, *(self._span(volume, None) for volume in self.all.values())]

    def _one(self, request: Request) -> dict[str, Any]:
        volume = self.all.get(request.ids[0])
        if volume is None:
            raise Problem(404, "network volume not found")
        return volume

    def _end_span(self, volume: dict[str, Any]) -> None:
        self._ended.append(self._span(volume, self._clock()))

    def _span(self, volume: dict[str, Any], until: float | None) -> Span:
        rate = volume["size"] * VOLUME_GB_MONTH / HOURS_A_MONTH
        return Span(volume["id"], self._since[volume["id"]], until, rate)
