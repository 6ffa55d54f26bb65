"""Network volumes: they are billed per month for as long as they exist, used or not."""

from __future__ import annotations

from podkit.runpod.answers import decode_shape
from podkit.runpod.http import Http, path_of
from podkit.runpod.types import NetworkVolume


class Volumes(Http):
    """The calls about network volumes."""

    def list_volumes(self) -> list[NetworkVolume]:
        """All network volumes of the account."""
        return self.read_list("/network-volumes", "networkVolumes", NetworkVolume.from_api)

    def create_volume(self, name: str, size_gb: int, data_center: str) -> NetworkVolume:
        """Make a network volume, which is billed from then on. Sent once, never repeated."""
        body = {"name": name, "size": size_gb, "dataCenter": data_center}
        return decode_shape(
            NetworkVolume.from_api, self.request("POST", "/network-volumes", json=body)
        )

    def delete_volume(self, volume_id: str) -> None:
        """Delete a network volume and all that is on it. Raises NotFound for one that is gone."""
        path = path_of("network-volumes", volume_id)
        self.repeat(lambda: self.request("DELETE", path))
