"""The next step after a refusal of the API, as it is for endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from podkit.errors import KEYS_URL, Forbidden, Invalid, NotFound


@contextmanager
def explain_refusals() -> Iterator[None]:
    """Gives the errors of the calls inside the hints of endpoints; those of pods do not help."""
    try:
        yield
    except Forbidden as error:
        error.hint = f"give the key read and write access to serverless: {KEYS_URL}"
        raise
    except NotFound as error:
        error.hint = (
            "it was deleted meanwhile; ./podkit.sh serverless plan shows what a deploy does"
        )
        raise
    except Invalid as error:
        if "image" in str(error):
            error.hint = "push the image first; a private one needs `registry` in the config"
        raise
