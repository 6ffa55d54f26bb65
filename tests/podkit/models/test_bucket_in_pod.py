"""What a pod is told of the user's bucket of models: all of it if its model looks there, else
nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from podkit.models.spec import Model
from podkit.pods.request import pod_spec
from podkit.runpod.types import create_body
from podkit.secret import Secret
from podkit.settings import load
from tests.podkit.samples import CREATED

MODEL = Model("mine", "org/model@abc", "mine", "b64")
BUCKET = {
    "RUNPOD_API_KEY": "rpa_key",
    "RUNPOD_S3_ACCESS_KEY": "user_door",
    "RUNPOD_S3_SECRET_KEY": "rps_door",
    "PODKIT_MODEL_BUCKET": "s3://models/podkit/",
    "PODKIT_S3_URL": "https://s3.example.org",
    "PODKIT_S3_ACCESS_KEY": "user_abc",
    "PODKIT_S3_SECRET_KEY": "rps_def",
    "PODKIT_S3_SESSION_TOKEN": "sts_ghi",
}


def test_only_a_pod_whose_model_looks_in_the_bucket_gets_the_keys_to_it(tmp_path: Path) -> None:
    settings = load(BUCKET, tmp_path, {})
    spec = pod_spec(settings, MODEL, "G", "n", "v", CREATED)
    assert not [name for name in spec.env if "S3" in name or "BUCKET" in name]
    from_bucket = replace(MODEL, sources=("volume", "s3", "hf"))
    spec = pod_spec(settings, from_bucket, "G", "n", "v", CREATED)
    told = {name: value for name, value in spec.env.items() if "S3" in name or "BUCKET" in name}
    assert told == {
        "PODKIT_MODEL_BUCKET": "s3://models/podkit",
        "PODKIT_S3_URL": "https://s3.example.org",
        "PODKIT_S3_REGION": "us-east-1",
        "PODKIT_S3_ACCESS_KEY": Secret("user_abc"),
        "PODKIT_S3_SECRET_KEY": Secret("rps_def"),
        "PODKIT_S3_SESSION_TOKEN": Secret("sts_ghi"),
    }
    assert "rps_def" not in str(create_body(spec, redacted=True))
    assert "door" not in str(spec.env)
