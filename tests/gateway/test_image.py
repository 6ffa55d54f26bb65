"""The gateway's image: linted, built for real, and run as it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.ports import free_port
from tests.services.images import Images, require_buildah
from tests.waiting import eventually

from .process import PASSWORD, ROOT, answers
from .services import postgres

pytestmark = pytest.mark.slow

CONTAINERFILE = ROOT / "podkit_gateway/Containerfile"
PARTS = ("pyproject.toml", "README.md", "LICENSE", "podkit", "podkit_gateway", "podkit_sandbox")


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.prefix) / "bin/hadolint"
    words = [str(hadolint), str(CONTAINERFILE)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_every_package_of_the_extra_is_pinned_with_its_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "podkit_gateway/requirements.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==.* \\\n +--hash=sha256:", text, re.MULTILINE))
    wanted = set()
    for line in project["dependencies"] + project["optional-dependencies"]["gateway"]:
        wanted.add(re.split(r"[\[>=]", line)[0])
    assert wanted - pinned == set()


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    require_buildah()
    images = Images(tmp_path / "images")
    images.make_base()
    yield images
    images.remove()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """The files of the project that the image is made of."""
    folder = tmp_path / "context"
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def test_the_image_builds_serves_without_root_and_copies_postgres(
    images: Images, context: Path
) -> None:
    images.build("gateway", context, file=CONTAINERFILE)
    container, files = images.mount("gateway")
    assert images.run(container, "id", "-u").stdout.strip() == "10001"
    for words, text in (
        (("migrate",), ""),
        (("admin", "create", "--email", "a@example.com", "--password-stdin"), f"{PASSWORD}\n"),
    ):
        done = images.run(container, "podkit-gateway", *words, text=text)
        assert done.returncode == 0, done.stderr
    made = images.run(container, "podkit-gateway", "keys", "create", "--owner", "a@example.com")
    for path in (files / "data", files / "data/gateway.db"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o077) == (10001, 0)

    port = free_port()
    settings = {
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "GATEWAY_METRICS_PORT": str(free_port()),
    }
    serving = images.start(container, "podkit-gateway", "serve", **settings)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/ready"), 120)
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        listed = requests.get(f"{url}/v1/models", headers=headers, timeout=10)
        assert listed.json() == {"object": "list", "data": []}
        assert "Sign in" in requests.get(f"{url}/sign-in", timeout=10).text
    finally:
        serving.terminate()
        serving.wait(90)
    with postgres() as database:
        set_url = ("env", f"GATEWAY_DATABASE_URL={database}", "podkit-gateway")
        for command in (("migrate",), ("backup", "/data/copy")):
            done = images.run(container, *set_url, *command)
            assert done.returncode == 0, done.stderr
    assert (files / "data/copy").read_bytes().startswith(b"PGDMP")
    images.buildah("rm", container)
    assert images.size("gateway") < 600
