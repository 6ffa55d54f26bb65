"""What the preset account is offered: GPU types, CPU flavors, data centers, stock and prices.

The table is catalog.json; a scenario may change the stock. Must never hold a rule of the API.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CATALOG: dict[str, Any] = json.loads(Path(__file__).with_name("catalog.json").read_text())
GPUS: dict[str, dict[str, Any]] = {gpu["id"]: gpu for gpu in CATALOG["gpus"]}
"""GPU types by their id; prices in USD per hour, memory in GB."""
CPUS: dict[str, dict[str, Any]] = {cpu["id"]: cpu for cpu in CATALOG["cpus"]}
"""CPU flavors by their id; prices in USD per hour and vCPU."""
DATA_CENTERS: dict[str, dict[str, Any]] = {one["id"]: one for one in CATALOG["dataCenters"]}
LEVELS = ["NONE", "LOW", "MEDIUM", "HIGH"]
TABLES = {"POD": "stock", "CLUSTER": "stock", "SERVERLESS": "serverlessStock"}
"""The table of stock that each product is served from."""

Changes = Mapping[str, Mapping[str, str]]


class Stock:
    """How much of each GPU type the data centers have, for pods and for serverless workers."""

    def __init__(self, changes: Changes) -> None:
        """`changes` are levels by data center and GPU type; they hold for all products."""
        self._changes = changes

    def level(self, data_center: str, gpu: str, product: str = "POD") -> str:
        """One of LEVELS."""
        changed = self._changes.get(data_center, {}).get(gpu)
        if changed is not None:
            return changed
        table: dict[str, dict[str, str]] = CATALOG[TABLES[product]]
        return table.get(data_center, {}).get(gpu, "NONE")


def cpu_level(data_center: str, cpu: str) -> str:
    """The stock of a CPU flavor, one of LEVELS."""
    table: dict[str, dict[str, str]] = CATALOG["cpuStock"]
    return table.get(data_center, {}).get(cpu, "NONE")


def cuda_versions_from(floor: str) -> list[str]:
    """The CUDA versions on offer from that floor up, compared as numbers: 12.11 is above 12.2."""
    lowest = _numbers(floor)
    return [version for version in CATALOG["cudaVersions"] if _numbers(version) >= lowest]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
