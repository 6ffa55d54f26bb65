"""The catalog's answers: GPU types, CPU flavors and data centers with their stock."""

from collections.abc import Iterable, Mapping
from typing import Any

from podkit_sandbox.catalog import (
    CATALOG,
    CPUS,
    DATA_CENTERS,
    GPUS,
    LEVELS,
    Stock,
    cpu_level,
    cuda_versions_from,
)
from podkit_sandbox.routing import Request
from podkit_sandbox.wire import Answer, Problem, reply

Levels = dict[str, str]
"""Stock by data center, of those that have any."""


class Offers:
    """Answers calls to /catalog from the stock of the day."""

    def __init__(self) -> None:
        self.stock = Stock({})

    def gpus(self, request: Request) -> Answer:
        """GET /catalog/gpus: also with the stock, if `include` and `product` ask for it."""
        query = _check(request.query())
        countries = query.get("countryCodes")
        rows = []
        for gpu in GPUS.values():
            if countries is None or self._levels(gpu["id"], query):
                rows.append(self._gpu(gpu, query))
        return reply({"gpus": rows})

    def gpu(self, request: Request) -> Answer:
        """GET /catalog/gpus/{id}."""
        query = _check(request.query())
        return reply(self._gpu(_known(GPUS, request), query))

    def cpus(self, request: Request) -> Answer:
        """GET /catalog/cpus."""
        query = _check(request.query())
        return reply({"cpus": [_cpu(cpu, query) for cpu in CPUS.values()]})

    def cpu(self, request: Request) -> Answer:
        """GET /catalog/cpus/{id}."""
        query = _check(request.query())
        return reply(_cpu(_known(CPUS, request), query))

    def data_centers(self, request: Request) -> Answer:
        """GET /catalog/datacenters."""
        query = request.query()
        include = query.get("include", [])
        rows = []
        for place in DATA_CENTERS.values():
            if _is_wanted(place, query):
                rows.append(self._place(place, include))
        return reply({"dataCenters": rows})

    def data_center(self, request: Request) -> Answer:
        """GET /catalog/datacenters/{id}."""
        include = request.query().get("include", [])
        return reply(self._place(_known(DATA_CENTERS, request), include))

    def _gpu(self, gpu: Mapping[str, Any], query: Mapping[str, Any]) -> dict[str, Any]:
        if "include" not in query:
            return dict(gpu)
        row = _with_stock(gpu, self._levels(gpu["id"], query))
        versions = _cuda_versions(query)
        row["cudaVersions"] = [{"version": one, "available": True} for one in versions]
        return row

    def _levels(self, gpu: str, query: Mapping[str, Any]) -> Levels:
        """The best level of each data center for any of the query's products."""
        found: Levels = {}
        if not _cuda_versions(query) or query.get("cloud") == "COMMUNITY":
            return found
        if query.get("count", 1) > GPUS[gpu]["maxCount"]["secure"]:
            return found
        countries = query.get("countryCodes")
        for place in DATA_CENTERS:
            if countries is not None and CATALOG["countries"][place] not in countries:
                continue
            levels = [self.stock.level(place, gpu, product) for product in query["product"]]
            best = max(levels, key=LEVELS.index)
            if best != "NONE":
                found[place] = best
        return found

    def _place(self, place: Mapping[str, Any], include: Iterable[str]) -> dict[str, Any]:
        row = dict(place)
        if "GPU_AVAILABILITY" in include:
            row["gpuAvailability"] = []
            for gpu in GPUS.values():
                level = self.stock.level(place["id"], gpu["id"])
                offer = {"id": gpu["id"], "name": gpu["name"], "availability": level}
                row["gpuAvailability"].append(offer)
        if "CPU_AVAILABILITY" in include:
            row["cpuAvailability"] = []
            for cpu in CPUS.values():
                level = cpu_level(place["id"], cpu["id"])
                offer = {"id": cpu["id"], "name": cpu["name"], "availability": level}
                row["cpuAvailability"].append(offer)
        return row


def _is_wanted(place: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    """Whether a data center passes all filters: in one of `regions`, with all of the others."""
    if place["region"] not in query.get("regions", [place["region"]]):
        return False
    if "globalNetwork" in query and place["globalNetwork"] != (query["globalNetwork"] == "true"):
        return False
    for name in ("networkVolumeTypes", "compliance"):
        if name in query and not {*query[name]} <= {*place[name]}:
            return False
    return True


def _known(table: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
    found: Mapping[str, Any] | None = table.get(request.ids[0])
    if found is None:
        raise Problem(404, "resource not found")
    return found


def _check(query: dict[str, Any]) -> dict[str, Any]:
    """The query, whose `include` and `product` go together. Raises Problem 400."""
    if ("include" in query) != ("product" in query):
        raise Problem(400, "include=AVAILABILITY and product need each other")
    if "countryCodes" in query and "include" not in query:
        raise Problem(400, "countryCodes is valid with include=AVAILABILITY only")
    return query


def _cuda_versions(query: Mapping[str, Any]) -> list[str]:
    versions = cuda_versions_from(query.get("minCudaVersion", "0"))
    wanted = query.get("cudaVersions")
    return [version for version in versions if wanted is None or version in wanted]


def _with_stock(row: Mapping[str, Any], levels: Levels) -> dict[str, Any]:
    """A row of the catalog with its stock; without data centers where there is none."""
    found = dict(row)
    found["availability"] = max(levels.values(), key=LEVELS.index, default="NONE")
    if levels:
        found["dataCenters"] = []
        for place, level in levels.items():
            name = DATA_CENTERS[place]["name"]
            found["dataCenters"].append({"id": place, "name": name, "availability": level})
    return found


def _cpu(cpu: Mapping[str, Any], query: Mapping[str, Any]) -> dict[str, Any]:
    if "include" not in query:
        return dict(cpu)
    levels = {}
    for place in DATA_CENTERS:
        level = cpu_level(place, cpu["id"])
        if level != "NONE" and query.get("vcpuCount", 2) <= cpu["vcpu"]["max"]:
            levels[place] = level
    return _with_stock(cpu, levels)
