"""Where settings come from, and what podkit writes into .env."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from podkit.env_file import write_secrets
from podkit.errors import UsageError
from podkit.secret import Secret
from podkit.setting_names import OPTIONS
from podkit.settings import Settings, load, wants_sandbox, with_secrets
from tests.podkit.samples import SECRETS

SANDBOX = ("http://127.0.0.1:40123/v2", "sandbox-key")


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def loaded(
    root: Path, environ: dict[str, str] | None = None, sandbox: Any = None, **flags: Any
) -> Settings:
    return load(environ or {}, root, flags, sandbox)


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    env_file: Path, tmp_path: Path
) -> None:
    name = "PREFERRED_DATACENTER"
    assert loaded(tmp_path).data_center == "EU-RO-1"
    env_file.write_text(f"{name}=EU-FILE-1\n")
    assert loaded(tmp_path).data_center == "EU-FILE-1"
    assert loaded(tmp_path, {name: ""}).data_center == "EU-FILE-1"
    assert loaded(tmp_path, {name: "EU-ENV-1"}).data_center == "EU-ENV-1"
    assert loaded(tmp_path, {name: "EU-ENV-1"}, **{name: "EU-FLAG-1"}).data_center == "EU-FLAG-1"
    assert loaded(tmp_path, **{name: None}).data_center == "EU-FILE-1"


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.gpus == ("NVIDIA L40S", "NVIDIA A100 80GB PCIe", "NVIDIA GeForce RTX 4090")
    assert (
        settings.idle_minutes,
        settings.max_hours,
        settings.boot_minutes,
        settings.max_price,
    ) == (30, 12, 30, None)
    assert settings.api_url == "https://api.runpod.io/v2"
    assert settings.proxy_url == "https://{pod_id}-{port}.proxy.runpod.net"
    assert settings.jobs_url == "https://api.runpod.ai/v2"
    assert settings.cors_origins == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("WEBUI_ADMIN_PASSWORD=plain", "plain"),
        ("WEBUI_ADMIN_PASSWORD=crlf\r\nOTHER=1\r\n", "crlf"),
        ("\ufeffWEBUI_ADMIN_PASSWORD=after a BOM", "after a BOM"),
        ("WEBUI_ADMIN_PASSWORD='single # quotes'", "single # quotes"),
        ('WEBUI_ADMIN_PASSWORD="double \'quotes"', "double 'quotes"),
        ("  WEBUI_ADMIN_PASSWORD =  spaces around  ", "spaces around"),
        ("export WEBUI_ADMIN_PASSWORD=exported", "exported"),
        ("WEBUI_ADMIN_PASSWORD=pa$HOME${HOME}$(id)`id`", "pa$HOME${HOME}$(id)`id`"),
        ("WEBUI_ADMIN_PASSWORD=ключ # and a comment", "ключ"),
        (
            "# WEBUI_ADMIN_PASSWORD=no\nWEBUI_ADMIN_PASSWORD=two\nWEBUI_ADMIN_PASSWORD=last wins",
            "last wins",
        ),
    ],
)
def test_env_files_of_every_style_are_read_as_they_are_meant(
    env_file: Path, tmp_path: Path, text: str, value: str
) -> None:
    env_file.write_bytes(text.encode())
    assert loaded(tmp_path).secrets["WEBUI_ADMIN_PASSWORD"].reveal() == value


def test_the_sandbox_takes_no_account_setting_from_the_environment_or_env_file(
    env_file: Path, tmp_path: Path
) -> None:
    account = {
        "RUNPOD_API_KEY": "rpa_real",
        "RUNPOD_API_URL": "https://real.example",
        "RUNPOD_JOBS_URL": "https://real.example",
        "RUNPOD_PROXY_URL": "https://real.example",
        "RUNPOD_NETWORK_VOLUME_ID": "real",
        "HF_TOKEN": "hf_real",
        "PODKIT_API_KEY": "pk-real",
        "WEBUI_ADMIN_EMAIL": "real@example",
        "WEBUI_ADMIN_PASSWORD": "real",
        "WEBUI_SECRET_KEY": "real",
        "RUNPOD_S3_ACCESS_KEY": "real",
        "RUNPOD_S3_SECRET_KEY": "real",
        "PODKIT_MODEL_BUCKET": "s3://real",
        "PODKIT_S3_URL": "https://real.example",
        "PODKIT_S3_ACCESS_KEY": "real",
        "PODKIT_S3_SECRET_KEY": "real",
        "PODKIT_S3_SESSION_TOKEN": "real",
    }
    env_file.write_text("".join(f"{name}={value}\n" for name, value in account.items()))
    settings = loaded(tmp_path, {**account, "PODKIT_IDLE_MINUTES": "5"}, SANDBOX)
    assert settings == Settings(
        api_url=SANDBOX[0],
        jobs_url=SANDBOX[0],
        api_key=Secret(SANDBOX[1]),
        proxy_url="http://127.0.0.1:{public_port}",
        secrets_file=tmp_path / ".podkit/sandbox/secrets.env",
        gpus=settings.gpus,
        idle_minutes=5,
        given={"PODKIT_IDLE_MINUTES": "PODKIT_IDLE_MINUTES in the environment"},
    )


def test_the_sandbox_keeps_its_own_secrets(tmp_path: Path) -> None:
    file = loaded(tmp_path, {}, SANDBOX).secrets_file
    settings, made = with_secrets(loaded(tmp_path, {}, SANDBOX))
    write_secrets(file, made)
    assert with_secrets(loaded(tmp_path, {}, SANDBOX)) == (settings, {})
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize(
    ("flag", "environ", "text", "wanted"),
    [
        (True, {}, "", True),
        (False, {"PODKIT_SANDBOX": "1"}, "", True),
        (False, {}, "PODKIT_SANDBOX=Yes", True),
        (False, {"PODKIT_SANDBOX": "0"}, "PODKIT_SANDBOX=1", False),
        (False, {}, "", False),
    ],
)
def test_the_sandbox_is_asked_for_by_flag_environment_or_file(
    env_file: Path, flag: bool, environ: dict[str, str], text: str, wanted: bool
) -> None:
    env_file.write_text(text)
    assert wants_sandbox(flag, environ, env_file.parent) is wanted


@pytest.mark.parametrize(
    "url",
    [
        "http://api.runpod.io/v2",
        "http://127.0.0.1.example.com/v2",
        "http://localhost.example.com/v2",
        "http://10.0.0.1:8000",
        "ftp://127.0.0.1",
        "api.runpod.io/v2",
        "https://",
        "https://host:notaport",
        "https://[::1",
    ],
)
@pytest.mark.parametrize("name", ["RUNPOD_API_URL", "RUNPOD_JOBS_URL", "RUNPOD_PROXY_URL"])
def test_a_url_by_which_the_key_could_be_read_is_refused(
    tmp_path: Path, name: str, url: str
) -> None:
    with pytest.raises(UsageError, match=name):
        loaded(tmp_path, {name: url})


def test_a_proxy_url_with_an_unknown_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RUNPOD_PROXY_URL"):
        loaded(tmp_path, {"RUNPOD_PROXY_URL": "https://{pod}-{port}.example.com"})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/v2/", "http://localhost:9/v2", "http://[::1]:9/v2", "https://a/v2"]
)
def test_http_is_taken_on_loopback_and_https_anywhere(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, {"RUNPOD_API_URL": url}).api_url == url.rstrip("/")


@pytest.mark.parametrize(
    "name", ["PODKIT_IDLE_MINUTES", "PODKIT_MAX_HOURS", "PODKIT_BOOT_MINUTES", "PODKIT_MAX_PRICE"]
)
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "ten", "1e9", "1,5"])
def test_a_number_that_is_none_is_refused_and_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} in the environment is '{value}'"):
        loaded(tmp_path, {name: value})


def test_decimals_are_numbers_and_zero_turns_idle_and_lifetime_off_but_not_boot_or_price(
    tmp_path: Path,
) -> None:
    settings = loaded(
        tmp_path,
        {"PODKIT_IDLE_MINUTES": "0", "PODKIT_MAX_HOURS": "0", "PODKIT_BOOT_MINUTES": "0.5"},
    )
    assert (settings.idle_minutes, settings.max_hours, settings.boot_minutes) == (0, 0, 0.5)
    for name in ("PODKIT_BOOT_MINUTES", "PODKIT_MAX_PRICE"):
        with pytest.raises(UsageError, match="above 0"):
            loaded(tmp_path, {name: "0"})


def test_gpus_keep_their_order_without_doubles(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"PODKIT_GPUS": " B , A,,B"}).gpus == ("B", "A")
    with pytest.raises(UsageError, match="PODKIT_GPUS"):
        loaded(tmp_path, {"PODKIT_GPUS": " , "})


@pytest.mark.parametrize(
    "name",
    ["RUNPOD_API_KEY", "HF_TOKEN", "PODKIT_API_KEY", "WEBUI_ADMIN_EMAIL", "WEBUI_ADMIN_PASSWORD"],
)
def test_a_line_break_in_a_value_is_refused_without_showing_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        loaded(tmp_path, {name: "first\nsecond"})
    assert "second" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("name", ["RUNPOD_API_KEY", "PODKIT_API_KEY"])
def test_a_key_that_no_http_header_carries_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        loaded(tmp_path, {name: "ключ"})
    assert "ключ" not in caught.value.message + caught.value.hint


def test_a_password_longer_than_bcrypt_takes_is_refused(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"WEBUI_ADMIN_PASSWORD": "é" * 36}).secrets
    with pytest.raises(UsageError, match="WEBUI_ADMIN_PASSWORD"):
        loaded(tmp_path, {"WEBUI_ADMIN_PASSWORD": "é" * 37})


def test_no_secret_shows_itself(tmp_path: Path) -> None:
    names = (
        "RUNPOD_API_KEY",
        "PODKIT_API_KEY",
        "WEBUI_ADMIN_PASSWORD",
        "WEBUI_SECRET_KEY",
        "HF_TOKEN",
    )
    settings = loaded(tmp_path, dict(zip(names, SECRETS, strict=True)))
    shown = f"{settings!r} {settings} {settings.api_key} {settings.api_key!r} {settings.secrets}"
    assert not [secret for secret in SECRETS if secret in shown]
    assert settings.api_key == Secret(SECRETS[0])


def test_missing_secrets_are_made_again_and_strong(tmp_path: Path) -> None:
    one, two = (with_secrets(loaded(tmp_path))[1] for _ in range(2))
    assert set(one) == {
        "PODKIT_API_KEY",
        "WEBUI_ADMIN_EMAIL",
        "WEBUI_ADMIN_PASSWORD",
        "WEBUI_SECRET_KEY",
    }
    assert not set(one.values()) & set(two.values())
    assert all(len(value) >= 24 for value in one.values())
    assert len(bytes.fromhex(one["WEBUI_SECRET_KEY"])) == 32
    settings, made = with_secrets(loaded(tmp_path, {"PODKIT_API_KEY": "mine"}))
    assert set(made) == set(one) - {"PODKIT_API_KEY"}
    assert settings.secrets == {
        name: Secret(value) for name, value in {**made, "PODKIT_API_KEY": "mine"}.items()
    }


def test_the_default_login_cannot_be_guessed_and_one_that_is_set_stays(tmp_path: Path) -> None:
    made = [with_secrets(loaded(tmp_path))[1]["WEBUI_ADMIN_EMAIL"] for _ in range(2)]
    assert len(set(made)) == 2
    assert all(re.fullmatch(r"admin-[0-9a-f]{16}@podkit\.invalid", email) for email in made)
    settings, _ = with_secrets(loaded(tmp_path, {"WEBUI_ADMIN_EMAIL": "me@example.org"}))
    assert settings.secrets["WEBUI_ADMIN_EMAIL"].reveal() == "me@example.org"


@pytest.mark.parametrize("value", ["*", "app.example.org", "https://a/path", "null", "https://*.a"])
def test_what_is_no_origin_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="PODKIT_CORS_ORIGINS"):
        loaded(tmp_path, {"PODKIT_CORS_ORIGINS": f"https://ok.example, {value}"})


def test_origins_are_separated_by_commas_alone(tmp_path: Path) -> None:
    text = " https://app.example.org ,http://localhost:5173,"
    settings = loaded(tmp_path, {"PODKIT_CORS_ORIGINS": text})
    assert settings.cors_origins == "https://app.example.org,http://localhost:5173"


@pytest.mark.parametrize(
    "name", ["PODKIT_BUDGET", "PODKIT_MAX_PRICE", "PODKIT_GPUS", "PREFERRED_DATACENTER"]
)
def test_an_option_without_a_value_is_not_taken_for_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{OPTIONS[name]} is empty"):
        loaded(tmp_path, {name: "2"}, **{name: ""})


def test_a_bucket_that_is_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PODKIT_MODEL_BUCKET is empty"):
        loaded(tmp_path, PODKIT_MODEL_BUCKET="")


def test_a_word_that_is_neither_yes_nor_no_does_not_lead_to_the_account(tmp_path: Path) -> None:
    assert wants_sandbox(False, {"PODKIT_SANDBOX": "off"}, tmp_path) is False
    with pytest.raises(UsageError, match="PODKIT_SANDBOX in the environment is 'ture'"):
        wants_sandbox(False, {"PODKIT_SANDBOX": "ture"}, tmp_path)


def test_a_setting_is_named_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PODKIT_MAX_HOURS=3\nPODKIT_BUDGET=5\n")
    settings = loaded(tmp_path, {"PODKIT_BUDGET": "4"}, PODKIT_MAX_PRICE="1")
    assert settings.given == {
        "PODKIT_MAX_PRICE": "--max-price",
        "PODKIT_BUDGET": "PODKIT_BUDGET in the environment",
        "PODKIT_MAX_HOURS": "PODKIT_MAX_HOURS in .env",
    }
    assert settings.name_as_given("PODKIT_IDLE_MINUTES") == "PODKIT_IDLE_MINUTES"


@pytest.mark.parametrize("place", ["option", "environment", "file"])
def test_a_number_that_is_none_is_named_as_it_was_given(tmp_path: Path, place: str) -> None:
    name = "PODKIT_MAX_PRICE"
    if place == "file":
        (tmp_path / ".env").write_text(f"{name}=ten\n")
    with pytest.raises(UsageError) as refused:
        loaded(
            tmp_path,
            {name: "ten"} if place == "environment" else {},
            **({name: "ten"} if place == "option" else {}),
        )
    told, hint = {
        "option": ("--max-price", "example: --max-price 12.5"),
        "environment": (f"{name} in the environment", f"example: {name}=12.5"),
        "file": (f"{name} in .env", f"example: {name}=12.5"),
    }[place]
    assert refused.value.message == f"{told} is 'ten'; it must be a number above 0"
    assert refused.value.hint == hint
