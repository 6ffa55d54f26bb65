"""`wait`: until a pod serves."""

from __future__ import annotations

from podkit.commands.app import App
from podkit.commands.options import POD, command
from podkit.commands.served import show_served
from podkit.errors import Interrupted, PodFailed
from podkit.text import stop_command


@command("wait", json=True)
@POD
def wait(app: App, pod_id: str) -> None:
    """Wait until a pod serves: the API and the chat page, both through their public URLs.

    \b
    Examples:
      ./podkit.sh wait                  # the only pod there is
      ./podkit.sh wait 0926d6 --json
    """
    from podkit.pods.readiness import wait_until_ready, while_it_is_there

    settings, _, chosen = app.find_pod(pod_id)
    what = f"podkit: pod {chosen.label} goes on at ${chosen.cost_per_hour:.2f}/h"
    left = f"{what}; end it now: {stop_command(chosen.id)}\n"
    app.interrupts.report = lambda: app.here(left)
    try:
        pod, where = wait_until_ready(
            app.world(settings),
            chosen,
            settings.proxy_url,
            settings.boot_minutes,
        )
    except Interrupted:
        app.interrupts.tell_left()
        raise
    except PodFailed as error:
        error.hint += while_it_is_there(chosen.id)
        raise
    show_served(app, pod, where, settings)
