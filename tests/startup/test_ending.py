"""How the pod ends itself, whatever the API answers."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pod_http
import pytest
from ending import Ending, end_pod

from tests.startup.configurations import STARTUP
from tests.startup.local_pod import Platform
from tests.waiting import eventually

POD = {"RUNPOD_POD_ID": "pod1", "RUNPOD_API_KEY": "rp_secret", "PATH": "/nowhere"}
API = "https://api.runpod.io/v2"
REFUSED = '{"title":"Forbidden","status":403}'
GRAPHQL = 'mutation { podTerminate(input: { podId: "pod1" }) }'


class Ended(Exception):
    """The platform ended the process."""


class Api:
    """Answers each road as it is told to, else 403."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def __call__(
        self, url: str, body: Any = None, key: str = "", method: str = ""
    ) -> tuple[int, str]:
        assert key == "rp_secret"
        if url == "https://api.runpod.io/graphql":
            assert body == {"query": GRAPHQL}
            road = "graphql"
        elif method == "DELETE":
            assert url == f"{API}/pods/pod1"
            road = "delete"
        else:
            assert url == f"{API}/pods/pod1/action"
            road = body["action"]
        self.asked.append(road)
        return self._answers.get(road, (403, REFUSED))


def slept_until_ended(api: Api, sleeps: int, env: dict[str, str] = POD) -> list[float]:
    """The seconds that were slept before the platform ended the process."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == sleeps:
            raise Ended

    with pytest.raises(Ended):
        end_pod(env, api, sleep)
    return slept


@pytest.mark.parametrize(
    ("answers", "roads"),
    [
        ({"terminate": (204, "")}, ["terminate"]),
        ({"terminate": (404, '{"title":"Not Found","status":404}')}, ["terminate"]),
        ({"delete": (204, "")}, ["terminate", "delete"]),
        ({"graphql": (200, '{"data":{"podTerminate":null}}')}, ["terminate", "delete", "graphql"]),
    ],
)
def test_the_first_road_that_is_accepted_gets_a_minute_to_work(
    answers: dict[str, tuple[int, str]], roads: list[str]
) -> None:
    api = Api(**answers)
    assert slept_until_ended(api, sleeps=1) == [60]
    assert api.asked == roads


@pytest.mark.parametrize(
    "answer",
    [
        (200, "<html>Welcome to the network</html>"),
        (302, ""),
        (404, "<html>Not found</html>"),
        (0, ""),
    ],
)
def test_an_answer_of_somebody_else_is_no_end_and_the_next_road_is_taken_at_once(
    answer: tuple[int, str],
) -> None:
    api = Api(terminate=answer, delete=(204, ""))
    assert slept_until_ended(api, sleeps=1) == [60]
    assert api.asked == ["terminate", "delete"]


def test_an_accepted_end_that_does_not_come_is_no_reason_to_give_up() -> None:
    api = Api(terminate=(204, ""), delete=(204, ""))
    slept_until_ended(api, sleeps=2)
    assert api.asked == ["terminate", "delete"]


def test_graphqls_errors_are_not_taken_for_an_end() -> None:
    api = Api(graphql=(200, '{"errors":[{"message":"Unauthorized"}],"data":{"podTerminate":null}}'))
    assert slept_until_ended(api, sleeps=1) == [5]


def test_with_every_road_refused_it_pauses_longer_and_longer_and_asks_for_a_stop_too() -> None:
    api = Api()
    assert slept_until_ended(api, sleeps=6) == [5, 10, 20, 40, 60, 60]
    round_of_all = ["terminate", "delete", "graphql"]
    assert api.asked == round_of_all * 2 + [*round_of_all, "stop"] * 4


@pytest.mark.parametrize("grammar", ["pod delete", "remove pod"])
def test_runpodctl_is_used_if_the_image_has_it_in_either_grammar(
    grammar: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "runpodctl"
    program.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "{grammar}" ] || exit 1\n'
        f'echo "$3 $RUNPOD_API_KEY" >> {tmp_path}/ended\necho "done with $RUNPOD_API_KEY"\n'
    )
    program.chmod(0o755)
    env = {**POD, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert slept_until_ended(Api(), sleeps=1, env=env) == [60]
    assert (tmp_path / "ended").read_text() == "pod1 rp_secret\n"
    told = f"podkit: runpodctl {grammar.split()[0]}: status 0 done with ***\n"
    assert capsys.readouterr().out.endswith(told)


def test_runpodctl_is_left_alone_where_the_api_is_not_the_providers(tmp_path: Path) -> None:
    program = tmp_path / "runpodctl"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    program.chmod(0o755)
    env = {**POD, "PATH": f"{tmp_path}:/usr/bin:/bin", "RUNPOD_API_URL": "http://127.0.0.1:9/v2"}
    assert not Ending(env).run_runpodctl()
    assert not (tmp_path / "asked").exists()


def test_an_answer_is_logged_shortened_in_one_line_and_without_the_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    api = Api(terminate=(403, "no rp_secret\nhere " + "x" * 500))
    slept_until_ended(api, sleeps=1)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("podkit: terminate: HTTP 403 no *** here xxx")
    assert len(first) < 240


def test_a_road_that_breaks_does_not_keep_the_others_from_being_taken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(Api):
        def __call__(self, url: str, *args: Any, **more: Any) -> tuple[int, str]:
            if url.endswith("/action"):
                raise RuntimeError("rp_secret")
            return super().__call__(url, *args, **more)

    api = Broken(delete=(204, ""))
    slept_until_ended(api, sleeps=1)
    assert api.asked == ["delete"]
    assert "rp_secret" not in capsys.readouterr().out


def test_the_pods_key_follows_no_redirect(platform: Platform) -> None:
    platform.answers = [302, 307, 308, 204]
    env = {**POD, "RUNPOD_API_URL": f"http://127.0.0.1:{platform.server_port}/v2"}
    assert not Ending(env).terminate()
    assert not Ending(env).delete()
    assert not Ending(env).terminate_by_graphql()
    assert [path for _, path, _ in platform.calls] == [
        "/v2/pods/pod1/action",
        "/v2/pods/pod1",
        "/graphql",
    ]


def test_as_a_program_it_takes_the_next_road_and_stays(platform: Platform) -> None:
    platform.answers = [403]
    env = {**POD, "RUNPOD_API_URL": f"http://127.0.0.1:{platform.server_port}/v2"}
    process = subprocess.Popen([sys.executable, str(STARTUP / "ending.py")], env=env)
    try:
        eventually(lambda: len(platform.calls) >= 2)
        assert platform.calls == [
            ("POST", "/v2/pods/pod1/action", "terminate"),
            ("DELETE", "/v2/pods/pod1", ""),
        ]
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_nobody_there_is_status_0() -> None:
    assert pod_http.request("http://127.0.0.1:9/metrics") == (0, "")


@pytest.fixture
def dripping() -> Iterator[str]:
    """The URL of a server that sends a byte every 50 ms and never ends."""

    class Drip(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with_end = time.monotonic() + 200
            while time.monotonic() < with_end:
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
                time.sleep(0.05)

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Drip)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_body_that_drips_forever_has_an_end(dripping: str) -> None:
    begin = time.monotonic()
    assert pod_http.request(dripping, timeout=0.3) == (0, "")
    assert time.monotonic() - begin < 100
