"""podkit: one command from a laptop to a private vision model on a rented GPU."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    ROOT: Path

__version__ = "0.1.0"


def __getattr__(name: str) -> Path:
    """ROOT, the checkout: the home of `.env`, `startup/` and `.podkit/`.

    Worked out when it is asked for: signals are to be taken over before anything is imported.
    """
    if name != "ROOT":
        raise AttributeError(name)
    from pathlib import Path

    return Path(__file__).resolve().parent.parent
