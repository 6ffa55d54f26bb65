"""podkit: one command from a laptop to a private vision model on a rented GPU."""

from pathlib import Path

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the home of `.env`, `startup/` and `.podkit/`."""
