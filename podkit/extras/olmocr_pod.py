"""Which pod reads the PDFs. It must never take one that serves another model, unless a person names it."""

from __future__ import annotations

from podkit.errors import Missing
from podkit.models import Pod
from podkit.pods import find, only
from podkit.readiness import access
from podkit.runpod import RunpodClient
from podkit.settings import Settings


def serving(settings: Settings, client: RunpodClient, pod_id: str) -> Pod:
    """The pod of this id, prefix or name, else the only live one that serves OLMoCR. Raises Missing if there is none.

    Raises PodkitError if several do.
    """
    pods = client.list_pods()
    if pod_id:
        return find(pods, pod_id)
    fitting = [pod for pod in pods if pod.live and access(pod, settings.proxy_url).model == "olmocr"]
    if not fitting:
        raise Missing("no OLMoCR pod is running", "the same command with --deploy makes one")
    return only(fitting)
