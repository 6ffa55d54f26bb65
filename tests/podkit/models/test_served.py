"""What a running pod says that it serves."""

from __future__ import annotations

from pathlib import Path

from podkit.models.spec import Served, pack, read_model, served_by_pod
from podkit.pods.request import pod_spec
from podkit.runpod.types import create_body
from tests.podkit.models.test_spec import folder, settings
from tests.podkit.samples import CREATED

__all__ = ["folder"]


def test_what_a_pod_serves_is_told_in_its_environment_and_no_archive_is_unpacked(
    folder: Path,
) -> None:
    spec = pod_spec(settings(), read_model(folder, "mine"), "G", "n", "v", CREATED)
    env = {**create_body(spec)["env"], "STARTUP_B64": "no archive at all"}
    assert served_by_pod(env) == Served("mine", "org/model@abc123")


def test_a_pod_of_an_older_podkit_still_tells_what_it_serves(folder: Path) -> None:
    env = {"PODKIT_MODEL": "mine", "STARTUP_B64": pack(folder)}
    assert served_by_pod(env) == Served("mine", "org/model@abc123")
    assert served_by_pod({"PODKIT_MODEL": "mine"}) is None


def test_pages_that_may_call_a_pod_are_named_in_its_environment(folder: Path) -> None:
    origins = settings(cors_origins="https://app.example.org")
    spec = pod_spec(origins, read_model(folder, "mine"), "G", "n", "v", CREATED)
    assert spec.env["PODKIT_CORS_ORIGINS"] == "https://app.example.org"
