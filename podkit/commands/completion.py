"""What Tab offers: pods, GPU types, data centers and models. It must never fail, wait, or start
anything: what cannot be had at once is not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import click

from podkit.commands.app import App


def _offer(names: Callable[[App], Iterable[str]]) -> Callable[..., list[str]]:
    """A completion that offers those of `names` that begin with what was typed."""

    def complete(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        app = context.find_object(App) or App()
        with suppress(Exception):
            return [name for name in names(app) if name.startswith(typed)]
        return []

    return complete


def _pods(app: App) -> list[str]:
    _, client = app.connected_quietly()
    found = []
    for pod in client.list_pods():
        if pod.ours:
            found += [pod.id, pod.name]
    return found


def _gpu_types(app: App) -> list[str]:
    from podkit.runpod.types import MIN_CUDA

    _, client = app.connected_quietly()
    return [gpu.id for gpu in client.list_gpu_types(MIN_CUDA)]


def _data_centers(app: App) -> list[str]:
    _, client = app.connected_quietly()
    return client.list_data_centers()


def _models(app: App) -> list[str]:
    from podkit.models.spec import model_names

    return model_names(app.root / "startup")


complete_pod = _offer(_pods)
complete_gpu_type = _offer(_gpu_types)
complete_data_center = _offer(_data_centers)
complete_model = _offer(_models)
