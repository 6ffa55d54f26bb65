"""`env`: the lines that point a client at a pod. The one command that prints a secret to stdout."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podkit.commands.app import App
from podkit.commands.options import POD, command
from podkit.commands.result import Result

if TYPE_CHECKING:
    from podkit.pods.access import Access


@dataclass(frozen=True)
class Environment:
    """The variables that clients read, with the pod's own key and login.

    None has the name of a setting: a shell that took them over would give them to the next deploy.
    """

    where: Access

    def values(self) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.where.api_url,
            "OPENAI_API_KEY": self.where.key.reveal(),
            "CHAT_PAGE_URL": self.where.webui_url,
            "CHAT_PAGE_EMAIL": self.where.email,
            "CHAT_PAGE_PASSWORD": self.where.password.reveal(),
        }

    def text(self) -> str:
        lines = []
        for name, value in self.values().items():
            lines.append(f"export {name}={shlex.quote(value)}")
        return "\n".join(lines)

    def fields(self) -> Mapping[str, Any]:
        return {"env": self.values(), "model": self.where.model}


@command("env", json=True)
@POD
def env(app: App, pod_id: str) -> Result:
    """Print the lines that point an OpenAI client at a pod, and the chat page's login.

    \b
    Examples:
      eval "$(./podkit.sh env)"         # this shell now has OPENAI_BASE_URL and OPENAI_API_KEY
      ./podkit.sh env 0926d6
    """
    return Environment(app.reach(pod_id, tells_phase=True))
