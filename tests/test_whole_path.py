"""From a bare clone to a served page and back to nothing, through the scripts, as new users go."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from openapi_core.testing import MockRequest, MockResponse

from tests.clones import Clone
from tests.contract import SERVER, needed
from tests.pages import page, share
from tests.pod_processes import processes_of
from tests.waiting import LONG, eventually

pytestmark = pytest.mark.slow

OF_A_JOB = re.compile(r"/v2/[^/]+/(run|runsync|status|stream|cancel|retry|purge-queue|health)\b")
"""Paths of the job API, which is on the same port here and in no document of the provider."""


def access(clone: Clone, pod: str = "") -> dict[str, str]:
    """What `podkit.sh env` prints, as a shell understands it."""
    lines = clone.run("podkit.sh", "env", *([pod] if pod else []), "--sandbox").stdout
    shown = subprocess.run(
        ["bash", "-c", f"{lines}\nenv -0"],
        env=clone.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(entry.split("=", 1) for entry in shown.stdout.split("\0") if "=" in entry)


@pytest.fixture(scope="module")
def deployed(clone: Clone) -> Iterator[dict[str, str]]:
    """The output of `./deploy_olmocr.sh --sandbox` on a clone whose sandbox is empty."""
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")
    done = clone.run("deploy_olmocr.sh", "--sandbox")
    assert done.returncode == 0, done.stderr
    pod, *urls = done.stdout.splitlines()
    yield {"pod": pod, "said": done.stderr, **dict(line.split() for line in urls)}
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")


def test_a_page_comes_back_as_its_words(clone: Clone, deployed: dict[str, str]) -> None:
    image, words = page()
    env = access(clone)
    assert env["OPENAI_BASE_URL"] == deployed["api"]
    client = OpenAI(base_url=deployed["api"], api_key=env["OPENAI_API_KEY"])
    url = "data:image/png;base64," + base64.b64encode(image).decode()
    answer = client.chat.completions.create(
        model="olmocr",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Read it."},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            }
        ],
    )
    assert share(words, answer.choices[0].message.content or "") >= 0.95
    assert answer.system_fingerprint == "podkit-sandbox"


def test_the_api_is_closed_without_the_key(deployed: dict[str, str]) -> None:
    import requests

    base = deployed["api"].removesuffix("/v1")
    for path in ("/v1/models", "/metrics", "/tokenize", "/version", "/docs"):
        assert requests.get(base + path, timeout=LONG).status_code == 401, path


def test_a_second_deploy_finds_the_same_pod(clone: Clone, deployed: dict[str, str]) -> None:
    again = clone.run("deploy_olmocr.sh", "--sandbox")
    assert again.stdout.splitlines()[0] == deployed["pod"]
    assert "is already there" in again.stderr


def test_list_shows_the_pod_and_no_secret(clone: Clone, deployed: dict[str, str]) -> None:
    secret = access(clone)["OPENAI_API_KEY"]
    shown = clone.run("list_pods.sh", "--sandbox")
    assert deployed["pod"] in shown.stdout
    assert deployed["webui"] in shown.stdout
    as_json = clone.run("list_pods.sh", "--sandbox", "--json")
    assert [pod["id"] for pod in json.loads(as_json.stdout)["pods"]] == [deployed["pod"]]
    assert secret not in shown.stdout + shown.stderr + as_json.stdout + deployed["said"]


def test_the_pods_log_shows_its_boot_and_how_full_the_volume_is(
    clone: Clone, deployed: dict[str, str]
) -> None:
    assert "podkit: phase=ready event=done" in clone.run("podkit.sh", "logs", "--sandbox").stdout
    assert "start container" in clone.run("podkit.sh", "logs", "--system", "--sandbox").stdout
    assert re.search(
        r"^\d+:\d\d  ready(  about \$0\.\d\d so far)?$", deployed["said"], re.MULTILINE
    )
    examined = clone.run("podkit.sh", "doctor", "--sandbox")
    assert examined.returncode == 0
    assert "podkit's folders hold 0.0 of its 100 GB" in examined.stderr


def test_secrets_stay_in_the_sandboxs_own_folder(clone: Clone, deployed: dict[str, str]) -> None:
    secrets = clone.root / ".podkit/sandbox/secrets.env"
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert not (clone.root / ".env").exists()
    assert {path.name for path in clone.home.iterdir()} <= {
        ".cache",
        ".local",
    }  # the installer's own


def test_two_models_run_side_by_side(clone: Clone, deployed: dict[str, str]) -> None:
    other = clone.run("deploy_qwen3vl.sh", "--sandbox", "--json")
    assert other.returncode == 0, other.stderr
    result = json.loads(other.stdout.splitlines()[-1])
    assert (result["schema"], result["ok"], result["model"]) == (1, True, "qwen3-vl-8b")
    assert result["pod"]["id"] != deployed["pod"]
    assert clone.run("stop_pod.sh", result["pod"]["name"], "--sandbox").returncode == 0


def test_stop_ends_the_pod_and_every_process_of_it(clone: Clone, deployed: dict[str, str]) -> None:
    pod = deployed["pod"]
    assert processes_of(pod)
    done = clone.run("stop_pod.sh", pod[:6], "--sandbox")
    assert done.returncode == 0, done.stderr
    assert "no longer billed" in done.stderr
    eventually(lambda: not processes_of(pod))
    again = clone.run("stop_pod.sh", pod, "--sandbox")
    assert again.returncode == 1
    assert "running or billed" in again.stderr


BROKEN_STARTS = {
    "the archive is not base64": ({"STARTUP_B64": "%%%"}, "start.sh"),
    "the archive is not an archive": ({"STARTUP_B64": "aGVsbG8="}, "start.sh"),
    "the model is unknown": ({"PODKIT_MODEL": "nothing"}, "start.sh"),
    "python3 is missing": ({}, "PATH=/nowhere"),
}


@pytest.mark.parametrize("case", BROKEN_STARTS)
def test_a_start_command_that_cannot_go_on_ends_its_pod(
    clone: Clone, case: str, tmp_path: Path
) -> None:
    """The real start command, posted to the sandbox, one thing broken: the pod must not stay."""
    import requests

    clone.run("podkit.sh", "sandbox", "start")
    state = json.loads((clone.root / ".podkit/sandbox/state.json").read_text())
    dry = clone.run("deploy_olmocr.sh", "--dry-run", "--json")
    body = json.loads(dry.stdout)["requests"][0]["body"]
    changes, twist = BROKEN_STARTS[case]
    body["env"] |= {"PODKIT_API_KEY": "pk-test", **changes}
    body["mounts"]["network"][0]["volumeId"] = "podkit0vol"
    if twist == "PATH=/nowhere":
        tools = tmp_path / "tools"
        tools.mkdir()
        for name in ("bash", "curl", "sleep", "date", "mkdir", "base64", "tar"):
            (tools / name).symlink_to(Path(f"/usr/bin/{name}"))
        body["cmd"][0] = f"export PATH='{tools}'\n{body['cmd'][0]}"
    url = state["api_url"]
    auth = {"Authorization": f"Bearer {state['api_key']}"}
    made = requests.post(f"{url}/pods", json=body, headers=auth, timeout=LONG)
    assert made.status_code == 201, made.text
    pod = made.json()["id"]
    pod_url = f"{url}/pods/{pod}"
    eventually(lambda: requests.get(pod_url, headers=auth, timeout=LONG).status_code == 404)


def test_every_call_and_every_answer_of_these_tests_keeps_the_providers_contract(
    clone: Clone,
) -> None:
    contract = needed()
    clone.run("deploy_olmocr.sh", "--sandbox", "--no-wait")
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")
    calls = [json.loads(line) for line in clone.record.read_text().splitlines()]
    assert {method for method, *_ in calls} >= {"GET", "POST", "DELETE"}
    key = {"Authorization": "Bearer key"}
    for method, path, query, body, status, answer in calls:
        if OF_A_JOB.match(path):
            continue
        request = MockRequest(
            SERVER, method.lower(), path, args=query, headers=key, data=body.encode() or None
        )
        contract.validate_request(request)
        if answer:
            good = "text/event-stream" if path.endswith("/logs") else "application/json"
            kind = good if status < 400 else "application/problem+json"
            contract.validate_response(
                request, MockResponse(answer.encode(), status, content_type=kind)
            )
