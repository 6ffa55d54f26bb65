"""What the pod is told, what each program is told of it, and what is never passed on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from boot.configuration import read_configuration
from boot.failures import Fatal
from boot.model_server import vllm_command
from boot.packages import PACKAGES

from tests.startup.configurations import STARTUP, WHOLE, configured

MODELS = sorted(STARTUP.glob("startup_*.sh"))


def exported(script: Path) -> dict[str, str]:
    """What a model's script exports."""
    printer = ["bash", "-c", 'exec() { env -0; }; . "$0"', str(script)]
    output = subprocess.run(printer, capture_output=True, text=True, check=True).stdout
    return dict(pair.split("=", 1) for pair in output.split("\0") if pair.startswith("MODEL_"))


WITHOUT_A_KNOWN_COMMIT = {"startup_sachi"}
"""docs/services.md tells its users to pin one, and each deploy does."""


@pytest.mark.parametrize("name", ["PODKIT_API_KEY", "WEBUI_SECRET_KEY", "MODEL_REPO"])
def test_a_missing_setting_fails_at_once_and_is_named(name: str) -> None:
    with pytest.raises(Fatal, match=f"{name} not set"):
        read_configuration({**WHOLE, name: ""}, STARTUP)


def test_a_number_that_is_none_fails_at_once_and_is_shown() -> None:
    with pytest.raises(Fatal, match=r"is no number: .*'many'"):
        read_configuration({**WHOLE, "MODEL_MAX_LEN": "many"}, STARTUP)


def test_a_configuration_that_is_printed_shows_no_secret(tmp_path: Path) -> None:
    shown = repr(configured(tmp_path))
    for secret in ("rp_secret", "hf_secret", "p" * 72, "0f" * 32, "'key'"):
        assert secret not in shown


@pytest.mark.parametrize("script", MODELS, ids=lambda path: path.stem)
def test_a_model_script_holds_values_only(script: Path) -> None:
    values = exported(script)
    assert set(values) == {name for name in WHOLE if name.startswith("MODEL_")}
    if script.stem not in WITHOUT_A_KNOWN_COMMIT:
        assert re.fullmatch("[0-9a-f]{40}", values["MODEL_REVISION"])
    text = re.sub(
        r"^export MODEL_\w+=('[^']*'|\"[^\"$`]*\")$", "", script.read_text(), flags=re.MULTILINE
    )
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines == ["set -eu", 'cd "$(dirname "$0")"', "exec python3 -m boot"]


def test_the_command_line_has_no_secret(tmp_path: Path) -> None:
    command = vllm_command(configured(tmp_path), Path("/workspace/a folder"))
    assert command[1:3] == ["serve", "/workspace/a folder"]
    assert command[-2:] == ["--mm-processor-kwargs", '{"max_pixels":1}']
    assert "key" not in command


def test_a_model_may_have_no_flags_of_its_own(tmp_path: Path) -> None:
    command = vllm_command(configured(tmp_path, MODEL_VLLM_FLAGS=""), Path("/model"))
    assert command[-2:] == ["--sse-keep-alive-interval", "30"]


def test_vllm_fetches_nothing_and_keeps_a_waiting_stream_alive(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    command = vllm_command(configuration, Path("/model"))
    domains = command.index("--allowed-media-domains")
    assert command[domains + 1 : domains + 3] == ["none.invalid", "--sse-keep-alive-interval"]
    assert 0 < int(command[domains + 3]) < 100  # the proxy cuts a request that is silent so long
    environment = configuration.program_environment("vllm")
    assert environment["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_what_vllm_compiles_is_all_in_the_folder_that_is_kept(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    environment = configuration.program_environment("vllm")
    for name in ("VLLM_CACHE_ROOT", "FLASHINFER_WORKSPACE_BASE", "HUMMING_CACHE_DIR"):
        assert Path(environment[name]).is_relative_to(configuration.local / "cache")


def test_the_origins_of_browser_apps_reach_the_guard(tmp_path: Path) -> None:
    origin = "https://app.example.org"
    environment = configured(tmp_path, PODKIT_CORS_ORIGINS=origin).program_environment("vllm")
    assert environment["PODKIT_CORS_ORIGINS"] == origin
    assert configured(tmp_path).program_environment("vllm")["PODKIT_CORS_ORIGINS"] == ""


def test_each_program_gets_only_the_secrets_it_needs(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    secrets = {"rp_secret", "hf_secret", "key", "p" * 72, "0f" * 32}
    got = {}
    for name in ("uv", "hf", "vllm", "webui"):
        got[name] = secrets & set(configuration.program_environment(name).values())
    assert got == {
        "uv": set(),
        "hf": {"hf_secret"},
        "vllm": {"key"},
        "webui": {"key", "p" * 72, "0f" * 32},
    }
    assert "HF_TOKEN" not in configuration.program_environment("webui")
    assert configuration.program_environment("vllm")["PATH"].endswith(WHOLE["PATH"])


def test_a_password_is_handed_on_as_it_is(tmp_path: Path) -> None:
    password = "#a=$HOME ${x} $$ é"
    configuration = configured(tmp_path, WEBUI_ADMIN_PASSWORD=password)
    assert configuration.program_environment("webui")["WEBUI_ADMIN_PASSWORD"] == password


@pytest.mark.parametrize("name", ["vllm", "webui", "hf", "olmocr"])
def test_every_version_is_pinned(name: str) -> None:
    lines = (STARTUP / f"constraints-{name}.txt").read_text().splitlines()
    assert all(re.match(r"#|[a-z0-9-]+==\S+( ;.*)?( --hash=\S+)?$", line) for line in lines)
    assert any(line.startswith(PACKAGES[name] + " ") and " --hash=" in line for line in lines)


def test_only_the_standard_library_is_imported() -> None:
    ours = {"boot", "obstore", "olmocr"} | {path.stem for path in STARTUP.glob("*.py")}
    for path in STARTUP.rglob("*.py"):
        found = set(re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
        assert found <= set(sys.stdlib_module_names) | ours


def test_nothing_is_read_or_run_at_import() -> None:
    """Tests and bench/ import the boot's modules; only `python3 -m boot` may act."""
    for path in STARTUP.glob("boot/*.py"):
        if path.name not in ("__main__.py", "sequence.py"):
            assert "os.environ" not in path.read_text()


def test_the_page_has_the_origin_that_the_providers_proxy_gives_it(tmp_path: Path) -> None:
    configuration = configured(tmp_path, RUNPOD_POD_ID="AB12")
    assert configuration.webui_origin == "https://ab12-3000.proxy.runpod.net"
    assert configuration.webui_host == "0.0.0.0"
    page = configuration.program_environment("webui")
    assert page["CORS_ALLOW_ORIGIN"] == configuration.webui_origin
    assert page["WEBUI_SESSION_COOKIE_SECURE"] == "true"
    assert "wss://ab12-3000.proxy.runpod.net" in page["CONTENT_SECURITY_POLICY"]


def test_another_proxys_address_is_taken_over(tmp_path: Path) -> None:
    url = "https://pods.example/{pod_id}/{port}/"
    assert configured(tmp_path, PODKIT_WEBUI_URL=url).webui_origin == "https://pods.example"


def test_a_page_on_this_machine_listens_there_only_and_has_cookies_without_https(
    tmp_path: Path,
) -> None:
    configuration = configured(tmp_path, PODKIT_WEBUI_URL="http://127.0.0.1:41234")
    assert configuration.webui_host == "127.0.0.1"
    page = configuration.program_environment("webui")
    assert page["CORS_ALLOW_ORIGIN"] == "http://127.0.0.1:41234"
    assert page["WEBUI_SESSION_COOKIE_SECURE"] == "false"
