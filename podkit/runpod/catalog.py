"""What can be rented, where, and at which price."""

from __future__ import annotations

from typing import Any

from podkit.runpod.http import Http
from podkit.runpod.types import GpuType


class Catalog(Http):
    """The calls about what is on offer."""

    def list_gpu_types(self, min_cuda: str) -> list[GpuType]:
        """The catalogue for pods of one GPU on Secure Cloud, with stock for hosts of at least that
        CUDA version."""
        return self.read_list(
            "/catalog/gpus",
            "gpus",
            GpuType.from_api,
            include="AVAILABILITY",
            product="POD",
            count="1",
            cloud="SECURE",
            minCudaVersion=min_cuda,
        )

    def list_data_centers(self) -> list[str]:
        """The ids of all data centers."""
        return self.read_list("/catalog/datacenters", "dataCenters", _center_id)


def _center_id(center: Any) -> str:
    return str(center["id"])
