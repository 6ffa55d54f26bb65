"""The sandbox's preset offer: GPU types, data centers, prices and stock. Must never hold what a client made.

Prices in USD per GPU and hour as seen in November 2026; they stand for the real ones, which move.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")
CUDA = ("12.8", "13.0")  # what the sandbox's hosts report; a pod lands on the newest
VOLUME_PRICE = 0.07  # USD per GB and month
SECRETS = {"hf_token": "hf_sandbox_secret", "HF_TOKEN": "hf_sandbox_secret"}  # {{ RUNPOD_SECRET_hf_token }}
Stock = Mapping[str, Mapping[str, str]]  # data center -> GPU type -> level


@dataclass(frozen=True)
class Gpu:
    """A GPU type; `memory` in GB, `price` in USD per hour on Secure Cloud."""

    id: str
    pool: str
    memory: int
    price: float

    @property
    def name(self) -> str:
        return self.id.removeprefix("NVIDIA ").removeprefix("GeForce ")


GPUS = {
    gpu.id: gpu
    for gpu in (
        Gpu("NVIDIA L40S", "ADA_48_PRO", 48, 0.86),
        Gpu("NVIDIA A100 80GB PCIe", "AMPERE_80", 80, 1.39),
        Gpu("NVIDIA GeForce RTX 4090", "ADA_24", 24, 0.69),
        Gpu("NVIDIA A40", "AMPERE_48", 48, 0.40),
        Gpu("NVIDIA H100 80GB HBM3", "ADA_80_PRO", 80, 2.69),
        Gpu("NVIDIA RTX A5000", "AMPERE_24", 24, 0.27),
    )
}
PLACES = {
    "EU-RO-1": ("EU Romania 1", "EUROPE"),
    "EU-CZ-1": ("EU Czechia 1", "EUROPE"),
    "US-KS-2": ("US Kansas 2", "NORTH_AMERICA"),
    "US-TX-3": ("US Texas 3", "NORTH_AMERICA"),
}
_STOCK: Stock = {
    "EU-RO-1": {
        "NVIDIA L40S": "MEDIUM",
        "NVIDIA A100 80GB PCIe": "LOW",
        "NVIDIA GeForce RTX 4090": "HIGH",
        "NVIDIA RTX A5000": "LOW",
    },
    "EU-CZ-1": {"NVIDIA GeForce RTX 4090": "LOW", "NVIDIA A40": "HIGH"},
    "US-KS-2": {"NVIDIA L40S": "HIGH", "NVIDIA H100 80GB HBM3": "LOW", "NVIDIA A100 80GB PCIe": "MEDIUM"},
    "US-TX-3": {"NVIDIA L40S": "LOW", "NVIDIA A40": "MEDIUM", "NVIDIA GeForce RTX 4090": "MEDIUM"},
}


def stock(changed: Stock, place: str, gpu: str) -> str:
    """Stock of a GPU type in a data center: the scenario's word, else the preset one."""
    return changed.get(place, {}).get(gpu) or _STOCK[place].get(gpu, "NONE")


def at_least(floor: str) -> list[str]:
    """The CUDA versions on offer from that floor up, compared as numbers: 12.11 is above 12.2."""
    lowest = [int(part) for part in floor.split(".")]
    return [version for version in CUDA if [int(part) for part in version.split(".")] >= lowest]


def gpu_json(gpu: Gpu, changed: Stock | None = None, floor: str = "0") -> dict[str, Any]:
    """A GPU type as the catalog lists it, with stock unless `changed` is None; `floor` is the lowest CUDA version."""
    answer: dict[str, Any] = {
        "id": gpu.id,
        "name": gpu.name,
        "pool": gpu.pool,
        "manufacturer": "NVIDIA",
        "memory": gpu.memory,
        "secure": True,
        "community": False,
        "price": {"secure": gpu.price, "community": 0.0},
        "maxCount": {"secure": 8, "community": 0},
    }
    if changed is None:
        return answer
    fits = at_least(floor)
    levels = {place: stock(changed, place, gpu.id) if fits else "NONE" for place in PLACES}
    answer["availability"] = max(levels.values(), key=LEVELS.index)
    answer["cudaVersions"] = [{"version": cuda, "available": True} for cuda in fits]
    there = [{"id": p, "name": PLACES[p][0], "availability": level} for p, level in levels.items() if level != "NONE"]
    return answer | ({"dataCenters": there} if there else {})


def place_json(place: str, changed: Stock | None = None) -> dict[str, Any]:
    """A data center as the catalog lists it, with the stock of each GPU type unless `changed` is None."""
    name, region = PLACES[place]
    answer: dict[str, Any] = {
        "id": place,
        "name": name,
        "region": region,
        "globalNetwork": True,
        "networkVolumeTypes": ["STANDARD"],
        "compliance": ["GDPR", "SOC_2_TYPE_2"] if region == "EUROPE" else ["SOC_2_TYPE_2"],
    }
    if changed is not None:
        answer["gpuAvailability"] = [
            {"id": gpu.id, "name": gpu.name, "availability": stock(changed, place, gpu.id)} for gpu in GPUS.values()
        ]
    return answer
