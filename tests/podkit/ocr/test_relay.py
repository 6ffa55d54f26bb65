"""The relay between the toolkit and the pod: streams joined, keys kept apart, answers kept,
patience with a pod.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock as mocking

from podkit.ocr.backends import SILENT_SECONDS, TROUBLE_SECONDS
from podkit.ocr.relay import Relay
from tests.podkit.ocr.answers import ACCESS, HEAD, POD_KEY, URL, Clock, relay_to, stream
from tests.waiting import LONG

QUESTION = json.dumps({"model": "olmocr", "messages": [], "temperature": 0.1}).encode()


GOOD = stream(HEAD, "Le début", " et la fin")


@pytest.fixture
def session() -> requests.Session:
    return requests.Session()


@pytest.fixture
def pod(session: requests.Session) -> Iterator[mocking.Mocker]:
    with mocking.Mocker(session=session) as mock:
        yield mock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gone() -> list[bool]:
    """Whether the pod is gone, as the API says: the last of these."""
    return [False]


@pytest.fixture
def relay(
    session: requests.Session, clock: Clock, tmp_path: Path, gone: list[bool]
) -> Iterator[Callable[[], Relay]]:
    """Makes a relay on the same folder of answers, as a new run would."""
    with ExitStack() as made:
        yield lambda: made.enter_context(
            relay_to(ACCESS, session, tmp_path / "answers", clock, lambda: gone[-1])
        )


def ask(relay: Relay, key: str | None = None) -> requests.Response:
    """As the toolkit asks, over HTTP."""
    headers = {"Authorization": f"Bearer {relay.key if key is None else key}"}
    return requests.post(
        f"{relay.url}/chat/completions", data=QUESTION, headers=headers, timeout=10
    )


def test_the_events_of_a_stream_become_one_answer(
    relay: Callable[[], Relay], pod: mocking.Mocker
) -> None:
    pod.post(URL, text=GOOD)
    assert ask(relay()).json() == {
        "object": "chat.completion",
        "id": "chatcmpl-1",
        "created": 1,
        "model": "olmocr",
        "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": HEAD + "Le début et la fin"},
                "finish_reason": "stop",
            }
        ],
    }
    sent = pod.request_history[0].json()
    assert sent == {
        **json.loads(QUESTION),
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_each_side_sees_its_own_key_alone(relay: Callable[[], Relay], pod: mocking.Mocker) -> None:
    pod.post(URL, text=GOOD)
    one = relay()
    answer = ask(one)
    assert pod.request_history[0].headers["Authorization"] == f"Bearer {POD_KEY}"
    assert one.key not in pod.request_history[0].text
    assert POD_KEY not in answer.text + str(answer.headers)


def test_who_has_not_the_relays_key_is_refused_and_the_pod_not_asked(
    relay: Callable[[], Relay], pod: mocking.Mocker
) -> None:
    one = relay()
    assert [ask(one, key).status_code for key in ("", "wrong", POD_KEY)] == [401, 401, 401]
    assert not pod.called


def test_it_listens_on_this_machine_alone(relay: Callable[[], Relay]) -> None:
    assert relay().server_address[0] == "127.0.0.1"


def test_a_good_answer_is_kept_for_the_next_run_and_for_its_owner_alone(
    relay: Callable[[], Relay], pod: mocking.Mocker, tmp_path: Path
) -> None:
    pod.post(URL, text=GOOD)
    first = relay()
    second = relay()
    assert first.reader.completion(QUESTION) == second.reader.completion(QUESTION)
    assert pod.call_count == 1
    assert (len(first.reader.read), len(second.reader.read)) == (1, 1)
    [kept] = (tmp_path / "answers").iterdir()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    second.reader.completion(QUESTION.replace(b"0.1", b"0.2"))
    assert pod.call_count == 2


@pytest.mark.parametrize(
    "answer",
    [
        stream(HEAD, "half", finish="length"),
        stream("No head."),
        stream(HEAD.replace("is_table", "table")),
    ],
    ids=["cut", "no head", "an odd head"],
)
def test_an_answer_that_the_toolkit_will_not_take_is_not_kept(
    relay: Callable[[], Relay], pod: mocking.Mocker, answer: str
) -> None:
    pod.post(URL, text=answer)
    one = relay()
    assert [one.reader.completion(QUESTION)[0], one.reader.completion(QUESTION)[0]] == [200, 200]
    assert (pod.call_count, one.reader.read) == (2, [])


def test_an_answer_about_a_turned_page_is_kept_but_the_page_is_not_read(
    relay: Callable[[], Relay], pod: mocking.Mocker
) -> None:
    pod.post(URL, text=stream(HEAD.replace("valid: True", "valid: False"), "upside down"))
    one = relay()
    assert one.reader.completion(QUESTION) == one.reader.completion(QUESTION)
    assert (pod.call_count, one.reader.read) == (1, [])


@pytest.mark.parametrize("status", [400, 413, 500])
def test_what_the_pod_says_of_a_page_is_handed_on(
    relay: Callable[[], Relay], pod: mocking.Mocker, status: int
) -> None:
    pod.post(URL, status_code=status, text="too long for the context")
    assert relay().reader.completion(QUESTION) == (status, b'{"error": "too long for the context"}')


def test_an_error_in_the_middle_of_a_stream_is_an_error(
    relay: Callable[[], Relay], pod: mocking.Mocker
) -> None:
    pod.post(URL, text='data: {"error": {"message": "engine died"}}\n\ndata: [DONE]\n\n')
    status, answer = relay().reader.completion(QUESTION)
    assert (status, json.loads(answer)["error"]["message"]) == (500, "engine died")
    pod.post(URL, exc=requests.exceptions.ChunkedEncodingError)
    assert relay().reader.completion(QUESTION)[0] == 502


def test_a_pod_in_trouble_is_waited_for(
    relay: Callable[[], Relay], pod: mocking.Mocker, clock: Clock
) -> None:
    down: list[dict[str, Any]] = [
        {"exc": requests.ConnectionError},
        {"status_code": 502, "text": "<html>"},
    ]
    pod.post(URL, [*down, {"status_code": 429}, {"text": GOOD}])
    one = relay()
    assert one.reader.completion(QUESTION)[0] == 200
    assert (pod.call_count, clock.now, one.reader.failure) == (4, 15.0, "")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status_code": 404}, "it answers 404"),
        ({"exc": requests.ConnectTimeout}, "no connection (ConnectTimeout)"),
    ],
)
def test_a_pod_that_stays_in_trouble_is_gone_if_the_api_says_so(
    relay: Callable[[], Relay],
    pod: mocking.Mocker,
    clock: Clock,
    gone: list[bool],
    answer: dict[str, Any],
    why: str,
) -> None:
    pod.post(URL, **answer)
    gone.append(True)
    one = relay()
    assert one.reader.completion(QUESTION)[0] == 503
    assert TROUBLE_SECONDS < clock.now <= TROUBLE_SECONDS + 10
    assert one.reader.failure.startswith("the pod is gone: ")
    assert why in one.reader.failure
    asked = pod.call_count
    assert one.reader.completion(QUESTION)[0] == 503
    assert pod.call_count == asked


def test_a_pod_that_is_there_is_waited_for_much_longer_and_never_called_gone(
    relay: Callable[[], Relay], pod: mocking.Mocker, clock: Clock
) -> None:
    pod.post(URL, [{"status_code": 524}] * 100 + [{"text": GOOD}])
    one = relay()
    assert one.reader.completion(QUESTION)[0] == 200
    assert clock.now > TROUBLE_SECONDS
    pod.post(URL, status_code=524)
    assert one.reader.completion(QUESTION.replace(b"0.1", b"0.2"))[0] == 503
    assert clock.now > SILENT_SECONDS
    assert "the pod is there, but in trouble for 2" in one.reader.failure
    assert "it answers 524" in one.reader.failure


def test_a_pod_that_answers_others_is_not_gone(
    relay: Callable[[], Relay], pod: mocking.Mocker, clock: Clock
) -> None:
    one = relay()
    clock.now = 10 * TROUBLE_SECONDS
    pod.post(URL, [{"status_code": 502}, {"text": GOOD}])
    assert one.reader.completion(QUESTION)[0] == 200


def test_a_defect_ends_the_run_and_is_not_taken_for_a_broken_connection(
    relay: Callable[[], Relay], pod: mocking.Mocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = relay()
    monkeypatch.setattr(one.reader, "completion", lambda _: 1 / 0)
    with pytest.raises(requests.ConnectionError):
        ask(one)
    assert one.reader.failure == "the relay failed (ZeroDivisionError)"


def test_a_stream_that_ends_in_the_middle_of_an_event_is_an_error(
    relay: Callable[[], Relay], pod: mocking.Mocker
) -> None:
    pod.post(URL, text=GOOD[:150])
    assert relay().reader.completion(QUESTION)[0] == 502


def test_what_other_programs_of_this_machine_send_ends_no_run(
    relay: Callable[[], Relay], pod: mocking.Mocker
) -> None:
    pod.post(URL, text=GOOD)
    one = relay()
    hostile = (
        b"POST /v1/chat/completions HTTP/1.1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer \xe9\r\n\r\n",
        b"",
    )
    for sent in hostile:
        with socket.create_connection(("127.0.0.1", one.server_port), timeout=LONG) as connection:
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )  # closed by a reset
            connection.sendall(sent)
            if sent:
                assert b" 401 " in connection.recv(100)
    assert ask(one).status_code == 200
    assert one.reader.failure == ""


class CrowdedPod(ThreadingHTTPServer):
    """A pod that notes how many it is asked at once; it answers two as soon as both are there."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CrowdedHandler)
        self.lock = threading.Lock()
        self.pair = threading.Barrier(2)
        self.working = 0
        self.most = 0
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()


class CrowdedHandler(BaseHTTPRequestHandler):
    server: CrowdedPod

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.working += 1
            self.server.most = max(self.server.most, self.server.working)
        self.server.pair.wait(timeout=LONG)
        with self.server.lock:
            self.server.working -= 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(GOOD.encode())))
        self.end_headers()
        self.wfile.write(GOOD.encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_a_pod_is_asked_for_as_many_pages_at_once_as_the_pace_lets(
    tmp_path: Path, clock: Clock
) -> None:
    questions = [QUESTION.replace(b"0.1", b"0.%d" % number) for number in range(1, 7)]
    with CrowdedPod() as pod:
        where = replace(ACCESS, api_url=f"http://127.0.0.1:{pod.server_port}/v1")
        session = requests.Session()
        session.trust_env = False
        with (
            relay_to(where, session, tmp_path / "answers", clock, lambda: False, 2) as relay,
            ThreadPoolExecutor(6) as toolkit,
        ):
            answers = list(toolkit.map(relay.reader.completion, questions))
        pod.shutdown()
    assert [status for status, _ in answers] == [200] * 6
    assert pod.most == 2
