"""The log stream: how it resumes, and how it misleads on request."""

import json
from collections.abc import Callable

import pytest

from podkit_sandbox.account import Answer
from tests.sandbox.sandboxes import Paper

Faulty = Callable[..., Paper]
LOGS = "GET /pods/{id}/logs"


def writing(paper: Paper, *texts: str, apart: float = 1.0) -> str:
    """The path of the log of a pod that has written these lines."""
    pod = paper.create()
    add(paper, pod["id"], *texts, apart=apart)
    return f"/pods/{pod['id']}/logs?source=container"


def add(paper: Paper, pod: str, *texts: str, apart: float = 1.0) -> None:
    for text in texts:
        paper.clock.now += apart
        paper.account.pods[pod].lines.append((paper.clock.now, "container", text))


def lines(body: bytes) -> list[str]:
    return [json.loads(row[6:])["line"] for row in body.decode().splitlines() if row[:5] == "data:"]


def ids(body: bytes) -> list[str]:
    return [row[4:] for row in body.decode().splitlines() if row[:3] == "id:"]


def more(answer: Answer) -> bytes:
    """The next piece of the stream."""
    assert answer.more is not None
    return next(answer.more)


def test_a_stream_resumes_after_an_id_from_a_moment_or_with_a_tail(paper: Paper) -> None:
    path = writing(paper, "one", "two", "three")
    whole = paper.call("GET", path)
    assert lines(whole.body) == ["one", "two", "three"]
    first = ids(whole.body)[0]
    assert lines(paper.call("GET", path, **{"last-event-id": first}).body) == ["two", "three"]
    moment = first.partition("/")[0]
    assert lines(paper.call("GET", path, **{"last-event-id": moment}).body) == ["two", "three"]
    assert lines(paper.call("GET", f"{path}&since={moment}").body) == ["one", "two", "three"]
    assert lines(paper.call("GET", f"{path}&tail=1").body) == ["three"]


@pytest.mark.parametrize("query", ["tail=5001", "tail=-1", "tail=x", "since=now", "source=x"])
def test_a_query_that_the_document_does_not_allow_is_refused(paper: Paper, query: str) -> None:
    path = writing(paper, "one").partition("?")[0]
    assert paper.call("GET", f"{path}?{query}").status == 422


@pytest.mark.parametrize("id", ["7", "yesterday", "2026-13-40T00:00:00Z"])
def test_an_id_that_is_no_timestamp_is_refused(paper: Paper, id: str) -> None:
    assert paper.call("GET", writing(paper, "one"), **{"last-event-id": id}).status == 422


def test_a_silent_stream_shows_new_lines_to_a_fresh_request_only(faulty: Faulty) -> None:
    paper = faulty(LOGS, "log-silent", seconds=15)
    path = writing(paper, "one")
    silent = paper.call("GET", path)
    assert lines(silent.body) == ["one"]
    add(paper, path.split("/")[2], "two")
    paper.clock.now += 15
    assert [more(silent), more(silent)] == [b": keepalive\n\n", b""]
    assert lines(paper.call("GET", path).body) == ["one", "two"]


def test_ids_of_whole_seconds_lose_the_other_lines_of_their_second(faulty: Faulty) -> None:
    paper = faulty(LOGS, "log-seconds")
    path = writing(paper, "one", "two", "three", apart=0.4)
    body = paper.call("GET", path).body
    assert lines(body) == ["one", "two", "three"]
    assert ids(body)[0] == ids(body)[1] != ids(body)[2]
    assert len(ids(body)[0]) == len("2026-11-18T00:00:00Z")
    resumed = paper.call("GET", path, **{"last-event-id": ids(body)[0]})
    assert lines(resumed.body) == ["three"]


def test_a_replay_repeats_lines_and_pauses_in_the_middle(faulty: Faulty) -> None:
    paper = faulty(LOGS, "log-replay", seconds=2)
    path = writing(paper, "one", "two", "three", "four")
    replay = paper.call("GET", path)
    assert lines(replay.body) == ["one", "two"]
    assert more(replay) == b""
    paper.clock.now += 2
    assert lines(more(replay)) == ["one", "two", "three", "four"]
    last = ids(replay.body)[-1]
    resumed = paper.call("GET", path, **{"last-event-id": last})
    paper.clock.now += 2
    assert "one" in lines(resumed.body + more(resumed))


def test_an_id_can_be_refused(faulty: Faulty) -> None:
    paper = faulty(LOGS, "log-id-refused")
    path = writing(paper, "one")
    id = ids(paper.call("GET", path).body)[0]
    assert paper.call("GET", path, **{"last-event-id": id}).status == 422
