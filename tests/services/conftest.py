"""A worker of the service that a file of tests is about: its module has SERVICE, the service's
folder, and a fixture `python`, the interpreter of the worker's environment.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .workers import Worker, running_worker


@pytest.fixture(scope="module")
def model(
    request: pytest.FixtureRequest, python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model of the service's kind that is made in a second."""
    folder = tmp_path_factory.mktemp("model")
    script = request.module.SERVICE / "tiny_model.py"
    subprocess.run([str(python), str(script), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def worker(
    request: pytest.FixtureRequest,
    python: Path,
    model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Worker]:
    service = request.module.SERVICE.name
    folder = tmp_path_factory.mktemp("worker")
    with running_worker(service, python, model, folder, THREADS="1") as worker:
        yield worker
