"""What a model's way through a bucket costs: seconds and MB/s of `model publish` and of the pod's
own program, against moto's server on this machine.

    .venv/bin/python bench/sources.py [MEGABYTES]

The server and the programs share the machine's cores, so these are lower bounds: they tell what the
programs themselves cost, with every byte hashed, not what a network does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from podkit.models.manifest import make_manifest  # noqa: E402
from podkit.models.publish import Shelf, publish  # noqa: E402
from podkit.s3 import Bucket  # noqa: E402
from podkit.uploads import Uploads  # noqa: E402
from tests.s3.servers import Server, access, start_moto  # noqa: E402

REPO = "org/model"
REVISION = "0" * 40


def timed(what: str, megabytes: int, act: Callable[[], object]) -> None:
    began = time.monotonic()
    act()
    seconds = time.monotonic() - began
    print(f"| {what} | {seconds:.1f} | {megabytes / seconds:.0f} |", flush=True)


def fetch(url: str, target: Path) -> None:
    """What a pod runs, as it runs it."""
    name = f"{REPO.replace('/', '--')}@{REVISION}"
    argv = [sys.executable, str(ROOT / "startup/fetch_s3.py"), "s3://models/podkit", name]
    keys = {"PODKIT_S3_ACCESS_KEY": "user_test", "PODKIT_S3_SECRET_KEY": "rps_word"}
    environ = {"PATH": os.environ["PATH"], "PODKIT_S3_URL": url, **keys}
    subprocess.run([*argv, str(target)], env=environ, check=True)


def main(megabytes: int = 300) -> None:
    server, url = start_moto()
    Server(url).make_bucket("models")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "model")
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        with (folder / "model.safetensors").open("wb") as weights:
            for _ in range(megabytes):
                weights.write(os.urandom(10**6))
        shelf = Shelf(Bucket(access(url), "models"), "podkit")
        manifest = make_manifest(folder, REPO, REVISION)
        uploads = Uploads(Path(temporary, "uploads.json"))
        target = Path(temporary, "target")
        print(f"{megabytes} MB, {os.cpu_count()} cores\n\n| what | seconds | MB/s |\n|---|---|---|")
        timed(
            "`model publish`, each part compared",
            megabytes,
            lambda: publish(shelf, manifest, folder, uploads, lambda _: None),
        )
        timed("the pod's fetch, each file hashed", megabytes, lambda: fetch(url, target))
        timed("the same again: all is there, and is hashed", megabytes, lambda: fetch(url, target))
    server.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
