"""Pods: made once and never by a repeat, ended as often as it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podkit.errors import BadAnswer
from podkit.runpod.answers import decode_shape
from podkit.runpod.http import CREATE_SECONDS, Http, path_of
from podkit.runpod.types import Pod


class Pods(Http):
    """The calls about pods."""

    def list_pods(self) -> list[Pod]:
        """All pods of the account. A list may lag: a pod made just now may be missing.

        Pods that others made may have any shape, and are shown as far as they can be read.
        """
        return self.read_list("/pods", "pods", Pod.from_list)

    def get_pod(self, pod_id: str) -> Pod:
        """The pod as it is now. Raises NotFound for one that is gone, or too new to be known."""
        return self.read(path_of("pods", pod_id), Pod.from_list)

    def create_pod(self, body: Mapping[str, Any]) -> Pod:
        """Send one create, once. An ApiError with `unclear` means that the pod may exist all the
        same."""
        answer = self.request("POST", "/pods", json=body, seconds=CREATE_SECONDS)
        try:
            return decode_shape(Pod.from_api, answer)
        except BadAnswer as error:
            error.unclear = True
            raise

    def terminate_pod(self, pod_id: str) -> None:
        """Ask for the pod to be deleted. Raises NotFound for one that is gone, or too new to be
        known."""
        path = path_of("pods", pod_id)
        self.repeat(lambda: self.request("DELETE", path))

    def stop_pod(self, pod_id: str) -> None:
        """Ask for the pod to be stopped, keeping its disk."""
        path = path_of("pods", pod_id) + "/action"
        self.repeat(lambda: self.request("POST", path, json={"action": "stop"}))
