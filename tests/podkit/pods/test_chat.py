"""One question to a pod: what is sent, how the answer comes, and what each refusal is told as."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock as mocking

from podkit.errors import PodkitError, UsageError
from podkit.pods.access import access
from podkit.pods.chat import Conversation, answer, answer_to, data_url, message
from tests.podkit.samples import CLIENT_KEY, pod

WHERE = access(pod(), "https://{pod_id}-{port}.proxy.runpod.net")
PNG = b"\x89PNG and more"
CHAT = f"{WHERE.api_url}/chat/completions"


def events(*deltas: dict[str, Any], end: str = "data: [DONE]\n\n") -> str:
    return (
        "".join(f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n" for delta in deltas)
        + end
    )


def ask(*images: Path) -> list[str]:
    return list(answer(requests.Session(), WHERE, "What is this?", images))


def test_the_answer_comes_piece_by_piece(api: mocking.Mocker) -> None:
    api.post(
        CHAT,
        text=events({"role": "assistant"}, {"content": "An "}, {"content": "invoice, 12 €"}, {}),
    )
    assert [piece for piece in ask() if piece] == ["An ", "invoice, 12 €"]
    sent = api.request_history[-1]
    assert sent.headers["Authorization"] == f"Bearer {CLIENT_KEY}"
    assert sent.json() == {
        "model": "olmocr",
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}]}],
    }


def test_comment_lines_that_keep_a_stream_open_are_skipped(api: mocking.Mocker) -> None:
    api.post(CHAT, text=": keep-alive\n\n" * 3 + events({"content": "An"}) + ": keep-alive\n\n")
    assert ask() == ["An"]


def test_a_conversation_is_sent_whole(api: mocking.Mocker) -> None:
    api.post(CHAT, text=events({"content": "Blue."}))
    messages = [
        message("My colour is blue.", []),
        {"role": "assistant", "content": "I see."},
        message("Which is it?", []),
    ]
    assert list(answer_to(requests.Session(), WHERE, messages)) == ["Blue."]
    assert api.request_history[-1].json()["messages"] == messages


def test_a_conversation_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / ".podkit/conversation.json"
    conversation = Conversation(file)
    assert conversation.messages() == []
    messages = [message("é?", []), {"role": "assistant", "content": "è"}]
    conversation.keep(messages)
    assert conversation.messages() == messages
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{", '{"messages": 1}', "null"])
def test_a_conversation_that_cannot_be_understood_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "conversation.json"
    file.write_text(text)
    assert Conversation(file).messages() == []


def test_a_conversation_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="cannot keep the conversation"):
        Conversation(tmp_path / "taken/conversation.json").keep([])


def test_images_go_along_as_data_urls(api: mocking.Mocker, tmp_path: Path) -> None:
    api.post(CHAT, text=events())
    first = tmp_path / "a.png"
    second = tmp_path / "b.JPG"
    first.write_bytes(PNG)
    second.write_bytes(b"\xff\xd8\xff jpg")
    ask(first, second)
    parts = api.request_history[-1].json()["messages"][0]["content"][1:]
    assert [part["image_url"]["url"] for part in parts] == [
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff jpg").decode(),
    ]


def test_a_netrc_does_not_replace_the_key(api: mocking.Mocker, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("default login other password other\n")
    api.post(CHAT, text=events())
    ask()
    assert api.request_history[-1].headers["Authorization"] == f"Bearer {CLIENT_KEY}"


@pytest.mark.parametrize(
    ("content", "words", "hint"),
    [
        (b"%PDF-1.4", "is not an image", "./ocr_pdfs.sh reads PDFs"),
        (b"some text", "is not an image", "give a PNG, JPEG, WebP or GIF"),
        (b"", "is not an image", "give a PNG, JPEG, WebP or GIF"),
        (None, "cannot read", "give the path of an image"),
    ],
)
def test_a_file_that_is_no_image_is_refused_before_anything_is_sent(
    api: mocking.Mocker, tmp_path: Path, content: bytes | None, words: str, hint: str
) -> None:
    if content is not None:
        (tmp_path / "page.png").write_bytes(content)
    with pytest.raises(UsageError, match=words) as refused:
        ask(tmp_path / "page.png")
    assert refused.value.hint == hint
    assert api.call_count == 0


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            {"status_code": 400, "json": {"error": {"message": "At most 1 image(s)"}}},
            r"refuses \(400\): At most 1",
        ),
        (
            {"status_code": 401, "json": {"error": {"message": "no key"}}},
            r"refuses \(401\): no key",
        ),
        ({"status_code": 502, "text": "<html>"}, r"the pod is not up \(HTTP 502\)"),
        ({"status_code": 524, "text": "<html>"}, r"the pod is not up \(HTTP 524\)"),
        (
            {"status_code": 302, "headers": {"Location": "https://elsewhere.example"}},
            "the pod is not up",
        ),
        ({"exc": requests.ConnectionError}, "the pod does not answer"),
        ({"text": events({"content": "An"}, end="")}, "the answer broke off"),
        ({"text": "<html>not events</html>"}, "the answer broke off"),
        ({"text": "data: <html>\n\n"}, "is no answer"),
        (
            {"text": 'data: {"error": {"message": "engine died"}}\n\ndata: [DONE]\n\n'},
            "broke off: .*engine died",
        ),
    ],
)
def test_what_is_no_answer_is_said_with_a_next_step(
    api: mocking.Mocker, reply: dict[str, Any], words: str
) -> None:
    api.post(CHAT, **reply)
    with pytest.raises(PodkitError, match=words) as failed:
        ask()
    assert failed.value.hint
    assert CLIENT_KEY not in str(failed.value)


def test_a_data_url_names_the_type_by_the_files_first_bytes(tmp_path: Path) -> None:
    image = tmp_path / "x.png"
    image.write_bytes(b"RIFF")
    assert data_url(image) == "data:image/webp;base64,UklGRg=="
