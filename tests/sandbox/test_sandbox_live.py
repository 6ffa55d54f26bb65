"""A real sandbox process: its door, its pods as process trees, its own life and death."""

import base64
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from podkit_sandbox import control
from podkit_sandbox.programs import write_shims
from tests.sandbox.sandboxes import Live, request_for
from tests.waiting import LONG, eventually

pytestmark = pytest.mark.slow


def gone(pids: list[int]) -> bool:
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def pids_of(live: Live, pod: str, count: int = 1) -> list[int]:
    """The ids that the pod's processes have written, once so many have, and the last is `ready`."""
    log = live.folder / "logs" / f"{pod}.log"

    def written() -> list[int] | None:
        text = log.read_text() if log.exists() else ""
        found = [int(pid) for pid in re.findall(r"container: pid (\d+)\n", text)]
        return found if len(found) == count and "container: ready\n" in text else None

    return list(eventually(written))


def test_starting_twice_finds_the_same_sandbox(live: Live) -> None:
    assert control.start(live.folder) == live.connection == control.status(live.folder)


def test_its_key_is_for_this_user_only(live: Live) -> None:
    assert stat.S_IMODE((live.folder / "state.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "localhost:1"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"User-Agent": "Python-urllib/3.12"}, 403),
    ],
)
def test_a_web_page_or_a_stranger_cannot_make_a_pod(
    live: Live, headers: dict[str, str], status: int
) -> None:
    sent = {"Content-Type": "application/json", **headers}
    answer = live.call("POST", "/pods", data=json.dumps(request_for()), headers=sent)
    assert answer.status_code == status
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert live.call("GET", "/pods").json()["pods"] == []


def test_pythons_urllib_meets_the_edge(live: Live) -> None:
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(live.connection.api_url + "/pods", timeout=60)  # noqa: S310
    assert (refused.value.code, b"1010" in refused.value.read()) == (403, True)
    refused.value.close()


def listening(live: Live) -> list[str]:
    """The addresses on which the sandbox's process listens."""
    inet = psutil.Process(live.connection.pid).net_connections("inet")
    return [each.laddr.ip for each in inet if each.status == psutil.CONN_LISTEN]


def test_it_and_its_proxies_listen_on_loopback_only(live: Live) -> None:
    pod = live.create("sleep 600")
    eventually(lambda: len(listening(live)) >= 3)
    assert {*listening(live)} == {"127.0.0.1"}
    live.call("DELETE", f"/pods/{pod}")


def test_faults_break_real_connections(live: Live) -> None:
    try:
        for fault in ("reset-before", "truncate"):
            live.scenario({"call": "GET /pods", "fault": fault, "times": 1})
            with pytest.raises(requests.RequestException):
                live.call("GET", "/pods")
        live.scenario({"call": "GET /pods", "fault": "delay", "seconds": 0.3, "times": 1})
        begun = time.monotonic()
        live.call("GET", "/pods")
        assert time.monotonic() - begun >= 0.3
    finally:
        live.scenario()


def raw(live: Live, head: str, body: bytes = b"") -> bytes:
    """What comes back for a request that no library would send."""
    where = urlsplit(live.connection.api_url)
    head += f"\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((str(where.hostname), where.port or 0), LONG) as link:
        link.sendall(head.encode() + body)
        answer = b""
        while chunk := link.recv(65_536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ("Content-Length: 100000000", 401),
        ("Authorization: Bearer wrong\r\nContent-Length: 100000000", 401),
        ("Authorization: Bearer {key}\r\nContent-Length: 100000000", 413),
        ("Authorization: Bearer {key}\r\nContent-Length: many", 400),
        ("Authorization: Bearer {key}\r\nTransfer-Encoding: chunked", 411),
    ],
)
def test_a_body_is_refused_before_it_is_read(live: Live, rows: str, status: int) -> None:
    head = "POST /v2/pods HTTP/1.1\r\nContent-Type: application/json\r\n"
    answer = raw(live, head + rows.format(key=live.connection.api_key), b"{")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    "body",
    [b"", b"[" * 50_000, b"\xff\xfe", b"null", b"[]", b"7", b'{"name": NaN}', b'{"a":'],
)
def test_an_odd_body_gets_an_answer(live: Live, body: bytes) -> None:
    answer = live.call("POST", "/pods", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_an_answer_can_come_byte_by_byte(live: Live) -> None:
    try:
        live.scenario({"call": "GET /pods/x", "fault": "drip", "seconds": 0.01, "times": 1})
        begun = time.monotonic()
        assert live.call("GET", "/pods/x").json()["status"] == 404
        assert time.monotonic() - begun >= 0.5
    finally:
        live.scenario()


def test_several_calls_go_over_one_connection(live: Live) -> None:
    head = f"GET /v2/pods HTTP/1.1\r\nAuthorization: Bearer {live.connection.api_key}\r\n"
    where = urlsplit(live.connection.api_url)
    first = f"{head}Host: {where.netloc}\r\n\r\n"
    assert raw(live, first + head.rstrip()).count(b"HTTP/1.1 200") == 2


def test_a_scenario_needs_the_key_and_sense(live: Live, tmp_path: Path) -> None:
    url = live.connection.api_url.removesuffix("/v2") + "/sandbox/scenario"
    assert requests.post(url, json={}, timeout=60).status_code == 401
    file = tmp_path / "scenario.json"
    file.write_text('{"rules": [{"call": "*", "fault": "none"}]}')
    with pytest.raises(control.SandboxError, match=r"scenario\.json"):
        control.start(live.folder, scenario=file)


def test_a_pod_runs_its_command_in_a_clean_environment_inside_its_folders(live: Live) -> None:
    script = (
        "env -0 | base64 | tr -d '\\n'; echo; command -v uv vllm python3 curl; "
        "python3 -c 'import tomllib'; echo end"
    )
    env = {
        "GREETING": "a 'b' \"c\" $d",
        "TOKEN": "{{ RUNPOD_SECRET_hf_token }}",
        "RUNPOD_API_KEY": "mine",
    }
    pod = live.create(script, env=env)
    lines = live.log(pod, "container", "end")
    seen = dict(
        pair.split("=", 1) for pair in base64.b64decode(lines[0]).decode().split("\0") if pair
    )
    folder = live.folder / "pods" / pod
    assert (seen["GREETING"], seen["TOKEN"]) == (env["GREETING"], "sandbox_hf_token")
    assert (seen["RUNPOD_POD_ID"], seen["RUNPOD_DC_ID"], seen["RUNPOD_GPU_COUNT"]) == (
        pod,
        "EU-RO-1",
        "1",
    )
    assert seen["RUNPOD_API_KEY"] not in ("mine", live.connection.api_key)
    assert seen["PODKIT_VOLUME"] == str(live.folder / "volumes" / "podkit0vol")
    for name in ("HOME", "TMPDIR", "PODKIT_LOCAL"):
        assert Path(seen[name]).is_relative_to(folder / "disk")
    assert not {*seen} & (
        {*os.environ} - {"HOME", "PATH", "LANG", "TMPDIR", "PWD", "SHLVL", "_", "OLDPWD"}
    )
    assert [Path(line).name for line in lines[1:-1]] == ["uv", "python3", "curl"]
    live.call("DELETE", f"/pods/{pod}")
    eventually(lambda: not folder.exists())
    assert "container: end" in (live.folder / "logs" / f"{pod}.log").read_text()


def test_a_command_that_ends_is_run_again_on_a_wiped_disk(live: Live) -> None:
    pod = live.create(
        'ls "$PODKIT_LOCAL" "$HOME"; touch "$PODKIT_LOCAL/left" "$HOME/left"; '
        'echo done >> "$PODKIT_VOLUME/ran"; exit 3',
    )
    lines = live.log(pod, "system", "exited with code 3")
    eventually(lambda: (live.folder / "volumes/podkit0vol/ran").read_text().count("done") >= 2)
    live.call("DELETE", f"/pods/{pod}")
    assert lines[0].startswith("create container")
    assert "left" not in (live.folder / "logs" / f"{pod}.log").read_text()


def test_python3_in_a_pod_has_the_header_a_laptop_may_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    write_shims(tmp_path / "shims")
    check = (
        "import sysconfig, pathlib; "
        "assert pathlib.Path(sysconfig.get_path('include'), 'Python.h').exists()"
    )
    subprocess.run([tmp_path / "shims" / "python3", "-c", check], env={}, check=True)


def test_the_whole_tree_ends_with_its_pod(live: Live) -> None:
    script = """
        (setsid bash -c 'echo pid $$; exec sleep 600' &)
        setsid env -i /bin/bash -c 'trap "" TERM; echo pid $$; while :; do /bin/sleep 1; done' &
        sleep 600 & echo pid $!; trap 'echo asked; exit 0' TERM; echo ready; wait"""
    pod = live.create(script)
    pids = pids_of(live, pod, 3)
    assert not any(gone([pid]) for pid in pids)
    assert (
        live.call("POST", f"/pods/{pod}/action", json={"action": "stop"}).json()["status"]
        == "EXITED"
    )
    eventually(lambda: gone(pids))
    eventually(lambda: "asked" in (live.folder / "logs" / f"{pod}.log").read_text())
    live.call("DELETE", f"/pods/{pod}")


def test_a_pod_can_end_itself_with_its_own_key(live: Live) -> None:
    script = """printf 'header = "Authorization: Bearer %s"' "$RUNPOD_API_KEY" | \
        curl -sS -K - -H 'Content-Type: application/json' \
        -d '{"action":"terminate"}' "$RUNPOD_API_URL/pods/$RUNPOD_POD_ID/action"; sleep 600"""
    pod = live.create(script)
    eventually(lambda: live.call("GET", f"/pods/{pod}").status_code == 404)


def test_two_pods_serve_side_by_side_through_their_own_ports(live: Live) -> None:
    script = (
        'cd "$HOME"; echo "$RUNPOD_POD_ID" > name; '
        'exec python3 -m http.server --bind 127.0.0.1 "$PODKIT_API_PORT"'
    )
    pods = [live.create(script), live.create(script, name="podkit-test-000002")]

    def served(pod: str) -> Any:
        runtime = live.call("GET", f"/pods/{pod}").json()["runtime"]
        urls = [
            f"http://127.0.0.1:{port['public']}/name"
            for port in (runtime or {"ports": []})["ports"]
        ]
        answers = [requests.get(url, timeout=60) for url in urls]
        return answers and answers[0].status_code == 200 and answers

    for pod in pods:
        api, webui = eventually(partial(served, pod))
        assert (api.text.strip(), webui.status_code) == (pod, 502)
        assert "text/html" in webui.headers["Content-Type"]
        live.call("DELETE", f"/pods/{pod}")


def test_a_log_stream_stays_open_and_follows(live: Live) -> None:
    pod = live.create(
        'while [ ! -e "$PODKIT_VOLUME/go" ]; do sleep 0.1; done; echo went; sleep 600'
    )
    url = f"{live.connection.api_url}/pods/{pod}/logs?source=container"
    with live.session.get(url, stream=True, timeout=60) as answer:
        lines = answer.iter_lines(chunk_size=1)
        (live.folder / "volumes/podkit0vol/go").touch()
        assert b"went" in next(line for line in lines if line.startswith(b"data:"))
        live.call("DELETE", f"/pods/{pod}")
        assert [line for line in lines if line.startswith(b"data:")] == []


def test_stop_ends_the_sandbox_with_its_pods(tmp_path: Path) -> None:
    sandbox = Live(tmp_path)
    pids = pids_of(sandbox, sandbox.create("echo pid $$; echo ready; sleep 600"))
    assert control.stop(tmp_path)
    eventually(lambda: gone([*pids, sandbox.connection.pid]))
    assert (control.status(tmp_path), control.stop(tmp_path)) == (None, False)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(sandbox.connection.api_url).port or 0)) != 0


def test_stop_does_not_wait_for_long_for_a_pod_that_does_not_end(tmp_path: Path) -> None:
    sandbox = Live(tmp_path)
    script = "trap '' TERM; echo pid $$; echo ready; while :; do sleep 1; done"
    pids = pids_of(sandbox, sandbox.create(script))
    begun = time.monotonic()
    assert control.stop(tmp_path)
    eventually(lambda: gone([*pids, sandbox.connection.pid]))
    assert time.monotonic() - begun < 3 * control.STOP_SECONDS  # 15 s on a machine that is not busy


def test_pods_of_a_killed_sandbox_are_ended_by_the_next_one(tmp_path: Path) -> None:
    sandbox = Live(tmp_path)
    script = (
        "setsid env -i bash -c 'echo pid $$; exec sleep 600' & echo pid $$; echo ready; sleep 600"
    )
    pids = pids_of(sandbox, sandbox.create(script), 2)
    os.kill(sandbox.connection.pid, signal.SIGKILL)
    eventually(lambda: gone([sandbox.connection.pid]))
    assert not any(gone([pid]) for pid in pids)
    assert control.start(tmp_path).pid != sandbox.connection.pid
    try:
        eventually(lambda: gone(pids))
    finally:
        control.stop(tmp_path)


def test_it_ends_itself_when_its_owner_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = subprocess.Popen(["sleep", "600"])
    monkeypatch.setenv("PODKIT_SANDBOX_OWNER", str(owner.pid))
    pid = control.start(tmp_path).pid
    assert not gone([pid])
    owner.kill()
    owner.wait()
    eventually(lambda: gone([pid]))


def test_an_images_service_needs_the_key_and_a_folder(live: Live, tmp_path: Path) -> None:
    url = live.connection.api_url.removesuffix("/v2") + "/sandbox/images"
    service = {"image": "me/echo", "folder": str(tmp_path), "command": ["python", "a.py"]}
    assert requests.post(url, json=service, timeout=60).status_code == 401
    assert live.session.post(url, json=service, timeout=60).status_code == 200
    for wrong in ({"image": ""}, {"folder": "services"}, {"folder": 7}, {"port": 1}):
        assert live.session.post(url, json={**service, **wrong}, timeout=60).status_code == 422
    control.place_service(live.connection, "me/echo", tmp_path, ["python", "a.py"])
    with pytest.raises(control.SandboxError, match="no absolute path of a folder"):
        control.place_service(live.connection, "me/echo", tmp_path / "gone")


def test_it_ends_itself_when_nobody_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODKIT_SANDBOX_IDLE_MINUTES", "0.01")
    command = [sys.executable, "-m", "podkit_sandbox", "--dir", str(tmp_path)]
    subprocess.run(command, check=True, timeout=LONG)
    assert control.status(tmp_path) is None
