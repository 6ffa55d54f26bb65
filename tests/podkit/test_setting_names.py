"""A misspelt name is no setting that is silently left out, and other programs' names are theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from podkit.errors import UsageError
from podkit.setting_names import NAMES
from podkit.settings import Settings, load


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def loaded(root: Path, environ: dict[str, str] | None = None) -> Settings:
    return load(environ or {}, root, {})


def test_a_misspelt_setting_in_the_env_file_is_refused_with_what_may_be_meant(
    env_file: Path, tmp_path: Path
) -> None:
    env_file.write_text("PODKIT_MAX_PRIZE=0.5\nOTHER=1\nPODKIT_DEBUG=1\n")
    with pytest.raises(UsageError, match="PODKIT_MAX_PRIZE is no setting") as refused:
        loaded(tmp_path)
    assert refused.value.hint == "did you mean PODKIT_MAX_PRICE?"


MISSPELT = [
    ("PODKIT_MAX_PRIZE", "PODKIT_MAX_PRICE"),
    ("podkit_max_hours", "PODKIT_MAX_HOURS"),
    ("PODKIT-MAX-HOURS", "PODKIT_MAX_HOURS"),
    ("PODKITMAX_HOURS", "PODKIT_MAX_HOURS"),
    ("POTKIT_IDLE_MINUTES", "PODKIT_IDLE_MINUTES"),
    ("RUNPOD_MAX_HOURS", "PODKIT_MAX_HOURS"),
    ("MAX_HOURS", "PODKIT_MAX_HOURS"),
    ("idle_minutes", "PODKIT_IDLE_MINUTES"),
    ("RUNPOD_APIKEY", "RUNPOD_API_KEY"),
    ("RUNPOD_API_KEYS", "RUNPOD_API_KEY"),
    ("RUNPOD_NETWORK_VOLUME", "RUNPOD_NETWORK_VOLUME_ID"),
    ("PREFERRED_DATA_CENTER", "PREFERRED_DATACENTER"),
    ("PREFERED_DATACENTER", "PREFERRED_DATACENTER"),
    ("WEBUI_ADMIN_PASWORD", "WEBUI_ADMIN_PASSWORD"),
    ("HF_TOKENS", "HF_TOKEN"),
]


FOREIGN = [
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_TOKEN_PATH",
    "HF_XET_HIGH_PERFORMANCE",
    "RUNPOD_POD_ID",
    "RUNPOD_DC_ID",
    "RUNPOD_VOLUME_ID",
    "RUNPOD_PUBLIC_IP",
    "RUNPOD_GPU_COUNT",
    "RUNPOD_SECRET_hf_token",
    "RUNPOD_TCP_PORT_22",
    "WEBUI_SECRET_KEY_FILE",
    "WEBUI_URL",
    "PODKIT_SANDBOX_GPU_MIB",
    "API_KEY",
    "SECRET_KEY",
    "BUDGET",
    "DEBUG",
    "SANDBOX",
    "TOKEN",
    "PATH",
    "OPENAI_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
]


@pytest.mark.parametrize(("name", "meant"), MISSPELT)
def test_a_misspelt_name_is_found_in_the_env_file_and_in_the_environment(
    env_file: Path, tmp_path: Path, name: str, meant: str
) -> None:
    with pytest.raises(UsageError, match=f"{name} in the environment is no setting") as refused:
        loaded(tmp_path, {name: "1"})
    assert f"did you mean {meant}?" in refused.value.hint
    env_file.write_text(f"{name}=1\n")
    if "-" not in name:
        with pytest.raises(UsageError, match=f"{name} is no setting") as refused:
            loaded(tmp_path)
        assert refused.value.hint == f"did you mean {meant}?"


@pytest.mark.parametrize("name", FOREIGN)
def test_names_that_cannot_be_ours_are_left_alone(tmp_path: Path, name: str) -> None:
    loaded(tmp_path, {name: "1"})


@pytest.mark.parametrize("name", ["GPUS", "BUDGET", "MAX_PRIZE"])
def test_a_bare_name_in_podkits_own_file_is_one_of_ours_misspelt(
    env_file: Path, tmp_path: Path, name: str
) -> None:
    env_file.write_text(f"{name}=1\n")
    with pytest.raises(UsageError, match=r"did you mean PODKIT_|is no setting"):
        loaded(tmp_path)


def test_no_setting_is_taken_for_another_one_misspelt(tmp_path: Path) -> None:
    for name in NAMES:
        value = "https://a" if name.endswith("_URL") else "1"
        if name not in ("PODKIT_CORS_ORIGINS", "PODKIT_MODEL_BUCKET"):
            loaded(tmp_path, {name: value})
