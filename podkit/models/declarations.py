"""What is wrong with what a startup script declares. Pure.

It is checked on the laptop, as the pod that finds it out is rented by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

TEXTS = ("MODEL_REPO", "MODEL_REVISION", "MODEL_SERVED_NAMES")
NUMBERS: dict[str, tuple[Callable[[str], float], float]] = {
    "MODEL_WEIGHTS_GIB": (float, 1e15),
    "MODEL_KV_BYTES_PER_TOKEN": (int, 1e15),
    "MODEL_MAX_LEN": (int, 1e15),
    "MODEL_GPU_UTILIZATION": (float, 1.0),
}
"""How each is read, and what it may be at most: as podkit.models.fit.Needs takes them."""
PROBES = ("image", "text")
SOURCES = ("volume", "s3", "hf")
"""What startup/boot/configuration.py understands."""


def wrong_declarations(values: Mapping[str, str]) -> list[str]:
    """A line for each MODEL_ variable that is missing, or is not what a pod understands."""
    found = [f"{name} is missing" for name in (*TEXTS, *NUMBERS) if not values.get(name)]
    for name, (read, most) in NUMBERS.items():
        if values.get(name) and not _is_such_a_number(values[name], read, most):
            found.append(f"{name} is {values[name]!r}, which is not such a number")
    probe = values.get("MODEL_PROBE", "")
    if probe not in PROBES:
        found.append(f"MODEL_PROBE is {probe!r}; it takes {' or '.join(PROBES)}")
    sources = values.get("MODEL_SOURCES", "volume hf")
    if not sources.split() or not set(sources.split()) <= set(SOURCES):
        found.append(f"MODEL_SOURCES is {sources!r}; it takes some of {' '.join(SOURCES)}")
    return found


def _is_such_a_number(text: str, read: Callable[[str], float], most: float) -> bool:
    try:
        return 0 < read(text) <= most
    except ValueError:
        return False
