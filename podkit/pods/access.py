"""How a pod is reached: its public URLs, the served model name, its own key and login.

All of it comes from the pod's own environment, so that a teammate's pod is reached with what works
there. Nothing here talks to anyone, and no secret shows in a repr."""

from __future__ import annotations

from dataclasses import dataclass

from podkit.models.spec import served_by_pod
from podkit.runpod.types import API_PORT, WEBUI_PORT, Pod
from podkit.secret import Secret


@dataclass(frozen=True)
class Access:
    """What a client needs: URLs (empty until known), the served model name, and that pod's own key
    and login."""

    api_url: str
    webui_url: str
    model: str
    key: Secret
    email: str
    password: Secret


def access(pod: Pod, proxy_url: str) -> Access:
    """How to reach `pod`; `proxy_url` is the template of the provider's proxy."""
    model = served_by_pod(pod.env)
    base = _public_url(pod, API_PORT, proxy_url)
    return Access(
        api_url=f"{base}/v1" if base else "",
        webui_url=_public_url(pod, WEBUI_PORT, proxy_url),
        model=model.name if model else pod.env.get("PODKIT_MODEL", ""),
        key=Secret(pod.env.get("PODKIT_API_KEY", "")),
        email=pod.env.get("WEBUI_ADMIN_EMAIL", ""),
        password=Secret(pod.env.get("WEBUI_ADMIN_PASSWORD", "")),
    )


def _public_url(pod: Pod, port: int, template: str) -> str:
    if "{public_port}" in template and port not in pod.public_ports:
        return ""
    return template.format(pod_id=pod.id, port=port, public_port=pod.public_ports.get(port))
