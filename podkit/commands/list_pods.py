"""`list`: what runs, what it costs, and how it is reached."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import WIDE, command
from podkit.commands.result import Result, pod_fields

if TYPE_CHECKING:
    from podkit.runpod.client import RunpodClient
    from podkit.runpod.types import Pod
    from podkit.settings import Settings

WATCH_SECONDS = 5.0


@dataclass(frozen=True)
class PodList:
    """The pods of the account; `phases` says by id how far one is that does not serve yet."""

    pods: Sequence[Pod]
    phases: Mapping[str, str]
    now: datetime
    proxy_url: str
    is_wide: bool

    def text(self) -> str:
        if not self.pods:
            return ""
        from podkit.commands.tables import pod_table

        return pod_table(self.pods, self.phases, self.now, self.proxy_url, is_wide=self.is_wide)

    def fields(self) -> Mapping[str, Any]:
        from podkit.pods.access import access
        from podkit.pods.lifetime import idle_minutes_of

        listed = []
        for pod in self.pods:
            where = access(pod, self.proxy_url)
            reachable = pod.ours and pod.live
            more = {
                "phase": self.phases.get(pod.id),
                "api_url": where.api_url or None if reachable else None,
                "webui_url": where.webui_url or None if reachable else None,
                "idle_minutes": idle_minutes_of(pod) if pod.ours else None,
            }
            listed.append({**pod_fields(pod), **more})
        return {"pods": listed}


@command("list", json=True)
@WIDE
@click.option("--watch", is_flag=True, help="Go on, and show it again every 5 s, until Ctrl-C.")
def list_pods(app: App, wide: bool, watch: bool) -> Result | None:
    """Show every pod of the account, what it costs, and podkit's URLs.

    \b
    Examples:
      ./list_pods.sh
      ./list_pods.sh --watch
      ./list_pods.sh --wide
      ./list_pods.sh --json
    """
    settings, client = app.connect()
    while watch:
        app.show_again(_look(app, settings, client, is_wide=wide))
        time.sleep(WATCH_SECONDS)
    found = _look(app, settings, client, is_wide=wide)
    if not found.pods:
        app.say("no pods; ./deploy_olmocr.sh makes one")
    return found


def _look(app: App, settings: Settings, client: RunpodClient, *, is_wide: bool) -> PodList:
    pods = client.list_pods()
    phases: Mapping[str, str] = {}
    if any(pod.ours and pod.live for pod in pods):
        from podkit.pods.phases import phases_of

        phases = phases_of(pods, client, app.session(), settings.proxy_url)
    return PodList(pods, phases, client.now(), settings.proxy_url, is_wide)
