"""The end of `deploy` and `wait`: where the model is served, and what ends the pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podkit.commands.result import moment, pod_fields
from podkit.env_file import parse_env_file
from podkit.text import stop_command

if TYPE_CHECKING:
    from podkit.commands.app import App
    from podkit.pods.access import Access
    from podkit.runpod.types import Pod
    from podkit.settings import Settings


@dataclass(frozen=True)
class Served:
    """A pod and how to reach it. No key and no login: these go to a person's terminal alone."""

    pod: Pod
    where: Access

    def text(self) -> str:
        return f"{self.pod.id}\napi    {self.where.api_url}\nwebui  {self.where.webui_url}"

    def fields(self) -> Mapping[str, Any]:
        return {
            "pod": pod_fields(self.pod),
            "api_url": self.where.api_url or None,
            "webui_url": self.where.webui_url or None,
            "model": self.where.model,
            "ends_at": moment(self.pod.ends_at),
        }


def show_served(app: App, pod: Pod, where: Access, settings: Settings) -> None:
    """Print the result, and say on stderr what a person wants to know besides."""
    from datetime import UTC, datetime

    from podkit.pods.lifetime import pod_lifetime

    app.show(Served(pod, where))
    price = f"${pod.cost_per_hour:.2f}/h"
    place = f"{pod.name} on {pod.gpu_type} in {pod.data_center}"
    app.say(f"{place}, {price}; model: {where.model}")
    if app.is_terminal():
        app.say_secret(f"API key: {where.key.reveal()}")
        app.say_secret(f"login:   {where.email}  {where.password.reveal()}")
    elif _is_kept(where, settings):
        names = "PODKIT_API_KEY, WEBUI_ADMIN_EMAIL, WEBUI_ADMIN_PASSWORD"
        file = settings.secrets_file
        app.say(f"key and login: {names} in {file}; or ./podkit.sh env {pod.id}")
    else:
        what = f"key and login are that pod's own, not those of {settings.secrets_file}"
        app.say(f"{what}: ./podkit.sh env {pod.id}")
    app.say(pod_lifetime(pod, datetime.now(UTC)))
    app.say(f"end it now: {stop_command(pod.id)}")


def _is_kept(where: Access, settings: Settings) -> bool:
    """Whether the secrets file holds this key and login."""
    kept = parse_env_file(settings.secrets_file)
    return (
        where.key.reveal() == kept.get("PODKIT_API_KEY")
        and where.email == kept.get("WEBUI_ADMIN_EMAIL")
        and where.password.reveal() == kept.get("WEBUI_ADMIN_PASSWORD")
    )
