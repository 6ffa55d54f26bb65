"""`open`: a pod's chat page in the browser."""

from __future__ import annotations

from podkit.commands.app import App
from podkit.commands.options import POD, command


@command("open")
@POD
def open_page(app: App, pod_id: str) -> None:
    """Open a pod's chat page in the browser, and print its URL.

    \b
    Examples:
      ./podkit.sh open                  # the only pod there is
      ./podkit.sh open podkit-qwen3vl-4f1c22
    """
    import webbrowser

    url = app.reach(pod_id, tells_phase=True).webui_url
    app.show_line(url)
    webbrowser.open(url)
