"""Where settings come from, and what podkit writes into .env."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from podkit.env_file import how_to_set, parse_env_file, tighten, write_secrets
from podkit.errors import UsageError
from podkit.secret import Secret
from podkit.setting_names import NAMES
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


def test_a_file_that_is_not_there_is_empty(env_file: Path) -> None:
    assert parse_env_file(env_file) == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\nthis is a sentence\nB=2\n", 2),
        ("A=1\n\n\nNAME_ALONE\n", 4),
        ("# comment\r\n\r\nA='no end\r\n", 3),
        ("A='x' trailing", 1),
    ],
)
def test_a_line_that_is_no_setting_is_named_without_its_content(
    env_file: Path, text: str, line: int
) -> None:
    env_file.write_text(text, newline="")
    with pytest.raises(UsageError) as caught:
        parse_env_file(env_file)
    assert caught.value.message == f"{env_file}, line {line}: this is not NAME=value"


@pytest.mark.parametrize(
    "make", [lambda p: p.mkdir(), lambda p: p.write_bytes(b"A=\xff\n")], ids=["folder", "latin-1"]
)
def test_an_unreadable_env_file_is_said_so(env_file: Path, make: Any) -> None:
    make(env_file)
    with pytest.raises(UsageError, match="cannot read"):
        parse_env_file(env_file)


def test_the_sandbox_takes_no_account_setting_from_the_environment_or_env_file(
    env_file: Path, tmp_path: Path
) -> None:
    account = {
        "RUNPOD_API_KEY": "rpa_real",
        "RUNPOD_API_URL": "https://real.example",
        "RUNPOD_PROXY_URL": "https://real.example",
        "RUNPOD_NETWORK_VOLUME_ID": "real",
        "HF_TOKEN": "hf_real",
        "PODKIT_API_KEY": "pk-real",
        "WEBUI_ADMIN_EMAIL": "real@example",
        "WEBUI_ADMIN_PASSWORD": "real",
        "WEBUI_SECRET_KEY": "real",
    }
    env_file.write_text("".join(f"{name}={value}\n" for name, value in account.items()))
    settings = loaded(tmp_path, {**account, "PODKIT_IDLE_MINUTES": "5"}, SANDBOX)
    assert settings == Settings(
        api_url=SANDBOX[0],
        api_key=Secret(SANDBOX[1]),
        proxy_url="http://127.0.0.1:{public_port}",
        secrets_file=tmp_path / ".podkit/sandbox/secrets.env",
        gpus=settings.gpus,
        idle_minutes=5,
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
    with pytest.raises(UsageError, match=rf"{name} is '{value}'"):
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


def test_missing_secrets_are_made_anew_and_strong(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "A=1\nB=2\n"),
        ("X=0\nA=\n# end\n", "X=0\nA=1\n# end\nB=2\n"),
        ("X=0", "X=0\nA=1\nB=2\n"),
        ('export A=""\nB= \nX=0', "export A=1\nB=2\nX=0"),
        ("A=\r\nX=0\r\n", "A=1\r\nX=0\r\nB=2\r\n"),
        ("\ufeffA=\nB=''\n", "\ufeffA=1\nB=2\n"),
        ("A=\nA=\nB=\n", "A=1\nA=1\nB=2\n"),
        ("  # A=\nX='a $b'  # keep\n\nBA=\n", "  # A=\nX='a $b'  # keep\n\nBA=\nA=1\nB=2\n"),
    ],
)
def test_empty_lines_are_filled_in_place_and_others_left_alone(
    env_file: Path, before: str, after: str
) -> None:
    env_file.write_bytes(before.encode())
    write_secrets(env_file, {"A": "1", "B": "2"})
    assert env_file.read_bytes().decode() == after
    values = parse_env_file(env_file)
    assert (values["A"], values["B"]) == ("1", "2")


def test_what_is_written_is_private_whatever_it_was_before(env_file: Path) -> None:
    env_file.write_text("A=\n")
    env_file.chmod(0o644)
    write_secrets(env_file, {"A": "1"})
    assert env_file.stat().st_mode & 0o777 == 0o600


def test_a_link_to_the_env_file_stays_a_link(env_file: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "env"
    env_file.symlink_to(real)
    write_secrets(env_file, {"A": "1"})
    assert env_file.is_symlink()
    assert real.read_text() == "A=1\n"


@pytest.mark.parametrize("step", ["fdopen", "replace"])
def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    env_file.write_text("A=\nX=0\n")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(UsageError, match="No space left on device") as caught:
        write_secrets(env_file, {"A": "the-value"})
    assert "the-value" not in caught.value.message + caught.value.hint
    assert [path.name for path in env_file.parent.iterdir()] == [".env"]
    assert env_file.read_text() == "A=\nX=0\n"


def test_an_env_file_that_cannot_be_written_is_said_so_even_to_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_secrets(tmp_path / "file" / ".env", {"A": "1"})


def test_a_loose_mode_is_tightened_and_told(env_file: Path) -> None:
    assert tighten(env_file) is False
    env_file.write_text("A=1")
    env_file.chmod(0o640)
    assert tighten(env_file) is True
    assert env_file.stat().st_mode & 0o777 == 0o600
    assert tighten(env_file) is False


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
    with pytest.raises(UsageError, match="did you mean PODKIT_|is no setting"):
        loaded(tmp_path)


def test_no_setting_is_taken_for_another_one_misspelt(tmp_path: Path) -> None:
    for name in NAMES:
        value = "https://a" if name.endswith("_URL") else "1"
        if name != "PODKIT_CORS_ORIGINS":
            loaded(tmp_path, {name: value})


def test_the_next_step_for_a_missing_setting_never_overwrites_a_file_that_is_there(
    env_file: Path,
) -> None:
    assert "cp .env.example .env" in how_to_set("RUNPOD_API_KEY", "...", env_file)
    env_file.write_text("PODKIT_API_KEY=made\n")
    assert how_to_set("RUNPOD_API_KEY", "...", env_file) == (
        f"put this line into {env_file}: RUNPOD_API_KEY=..."
    )


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
    with pytest.raises(UsageError, match=f"the option for {name} is empty"):
        loaded(tmp_path, {name: "2"}, **{name: ""})


def test_a_word_that_is_neither_yes_nor_no_does_not_lead_to_the_account(tmp_path: Path) -> None:
    assert wants_sandbox(False, {"PODKIT_SANDBOX": "off"}, tmp_path) is False
    with pytest.raises(UsageError, match="PODKIT_SANDBOX is 'ture'"):
        wants_sandbox(False, {"PODKIT_SANDBOX": "ture"}, tmp_path)
