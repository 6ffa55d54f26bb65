"""The Dockerfiles: linted, built for real, and run on their test input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .images import Images, make_context, require_buildah
from .workers import SERVICES, make_venv

ALL = sorted(path.parent.name for path in SERVICES.glob("*/Dockerfile"))
BUILT = ALL if os.environ.get("PODKIT_ALL_IMAGES") else ["translation"]
"""Each build takes minutes. The other Dockerfiles differ from this one in names, packages and
variables, as a test here holds.
"""
SECRET = "planted-secret-of-the-build"
MOST_MB_WITHOUT_WEIGHTS = {"translation": 800}


@pytest.mark.parametrize("service", ALL)
def test_the_linter_of_dockerfiles_has_nothing_to_say(service: str) -> None:
    hadolint = Path(sys.prefix) / "bin/hadolint"
    done = subprocess.run(
        [str(hadolint), str(SERVICES / service / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("service", ALL)
def test_every_image_is_built_in_the_steps_of_the_one_that_is_always_built(service: str) -> None:
    assert steps_of(service) == steps_of("translation")


def steps_of(service: str) -> list[str]:
    """What its Dockerfile takes from where, and how the image is run."""
    text = (SERVICES / service / "Dockerfile").read_text(encoding="utf-8")
    lines = text.replace(service, "SERVICE").splitlines()
    kinds = ("FROM", "COPY", "RUN --mount", "WORKDIR", "USER", "CMD")
    return [line for line in lines if line.startswith(kinds)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    require_buildah()
    images = Images(tmp_path_factory.mktemp("images"))
    images.make_base()
    yield images
    images.remove()


@pytest.mark.slow
@pytest.mark.parametrize("service", BUILT)
def test_an_image_builds_keeps_no_secret_and_answers_its_test_input(
    images: Images, service: str, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    maker = SERVICES / service / "tiny_model.py"
    python = make_venv(*tiny_model_requirements(service))
    subprocess.run([str(python), str(maker), str(model)], check=True)
    context = make_context(tmp_path, service, model)
    secret = tmp_path / "token"
    secret.write_text(SECRET)
    images.build(service, context, secret)
    assert holds(images.layers, "worker_core")
    assert not holds(images.layers, SECRET)

    container, files = images.mount(service)
    assert images.run(container, "id", "-u").stdout.strip() == "10001"
    done = images.run(container, "/venv/bin/python", "src/handler.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"outcome": "done"' in done.stdout
    assert not (files / "convert").exists()
    images.buildah("rm", container)
    if service in MOST_MB_WITHOUT_WEIGHTS:
        assert images.size(service) < MOST_MB_WITHOUT_WEIGHTS[service]

    handler = context / service / "src/handler.py"
    handler.write_text(handler.read_text() + "\n# changed\n")
    again = images.build(service, context, secret)
    assert "Successfully installed" not in again
    assert "Using cache" in again
    shutil.rmtree(context)


def tiny_model_requirements(service: str) -> list[Path]:
    """What the maker of a model for tests needs: the worker's packages, and some services' own."""
    files = [SERVICES / service / "requirements.txt", SERVICES / service / "requirements-tiny.txt"]
    return [path for path in files if path.exists()]


def holds(folder: Path, text: str) -> bool:
    """Whether a file below `folder` has `text` in it."""
    done = subprocess.run(
        ["grep", "-rlF", "--devices=skip", text, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    return bool(done.stdout)
