"""The commands that put a pod to use. Only `env` prints a secret here: that is what it is for."""

from __future__ import annotations

import shlex
import webbrowser
from typing import TYPE_CHECKING

import click

from podkit.app import App, command, pod_argument

if TYPE_CHECKING:
    from podkit.readiness import Access


@command()
@pod_argument
def env(app: App, pod_id: str) -> None:
    """Print the lines that point an OpenAI client at a pod, for eval "$(./podkit.sh env)"."""
    where = _access(app, pod_id)
    values = {
        "OPENAI_BASE_URL": where.api_url,
        "OPENAI_API_KEY": where.key.reveal(),
        "WEBUI_URL": where.webui_url,
        "WEBUI_ADMIN_EMAIL": where.email,
        "WEBUI_ADMIN_PASSWORD": where.password.reveal(),
    }
    click.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items()))


@command("open")
@pod_argument
def open_page(app: App, pod_id: str) -> None:
    """Open a pod's chat page in the browser, and print its URL."""
    url = _access(app, pod_id).webui_url
    click.echo(url)
    webbrowser.open(url)


def _access(app: App, pod_id: str) -> Access:
    from podkit.readiness import access

    settings, _, pod = app.chosen(pod_id)
    return access(pod, settings.proxy_url)
