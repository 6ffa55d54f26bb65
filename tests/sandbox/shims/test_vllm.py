"""The model server's answers, as clients know vLLM's."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import requests
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionStreamOptionsParam

from podkit_sandbox.shims.vllm.server import WithoutBareErrors
from tests.pages import share
from tests.sandbox.shims.stand_ins import ASK, WORDS, get, held_readers, metric, post
from tests.waiting import eventually

pytestmark = pytest.mark.slow
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "look"}}
BAD = "BadRequestError"
PHRASE = "Bad Request"
NOT_ALLOWED = (
    "The URL must be from one of the allowed domains: ['none.invalid']. Input URL domain: "
)


def image(url: str) -> list[dict[str, Any]]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [part]}]


def test_a_pages_words_come_back_in_the_form_that_the_olmocr_toolkit_parses(
    client: openai.OpenAI,
) -> None:
    answer = client.chat.completions.create(model="olmocr", messages=ASK)
    empty, front, text = (answer.choices[0].message.content or "").split("---\n", 2)
    keys = [line.split(": ")[0] for line in front.splitlines()]
    assert keys == [
        "primary_language",
        "is_rotation_valid",
        "rotation_correction",
        "is_table",
        "is_diagram",
    ]
    assert empty == ""
    assert share(WORDS, text) >= 0.95
    assert text.splitlines()[-1] == "Total 298,6 1,7 %"
    assert answer.system_fingerprint == "podkit-sandbox"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_brings_the_same_words_in_many_events_and_then_the_usage(
    client: openai.OpenAI,
) -> None:
    options: ChatCompletionStreamOptionsParam = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model="olmocr", messages=ASK, stream=True, stream_options=options
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert share(WORDS, text) >= 0.95
    assert len(chunks) > 50
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens > 50


def test_the_counters_move_with_a_completion_and_the_server_answers_meanwhile(
    client: openai.OpenAI, served: tuple[str, int]
) -> None:
    url = served[0]
    names = ("request_success_total", "prompt_tokens_total", "generation_tokens_total")

    def in_flight() -> float:
        return metric(url, "num_requests_running") + metric(url, "num_requests_waiting")

    with ThreadPoolExecutor() as pool, held_readers(*served):
        before = [metric(url, name) for name in names]
        for _ in range(2):
            pool.submit(client.chat.completions.create, model="olmocr", messages=ASK)
        eventually(lambda: in_flight() == 2)
    assert [metric(url, name) for name in names] > before
    assert metric(url, "num_requests_running") == metric(url, "num_requests_waiting") == 0


def test_a_question_without_an_image_is_answered_by_one_who_says_what_it_is(
    client: openai.OpenAI,
) -> None:
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Who are you?"}]
    answer = client.chat.completions.create(model="olmocr", messages=asked)
    text = answer.choices[0].message.content or ""
    assert "stand-in" in text
    assert "Who are you?" in text


def test_every_served_name_is_listed_and_the_middleware_of_the_command_line_guards(
    client: openai.OpenAI, url: str
) -> None:
    assert [model.id for model in client.models.list()] == ["olmocr", "allenai/olmOCR"]
    assert get(f"{url}/version").status_code == 401
    assert get(f"{url}/version", "key").json() == {"version": "0.32.0"}
    counted = post(f"{url}/tokenize", {"prompt": "two words"}, "key").json()
    assert (counted["count"], len(counted["tokens"]), counted["max_model_len"]) == (2, 2, 16384)


def test_plain_completions_are_there_too_for_one_prompt_or_several(client: openai.OpenAI) -> None:
    one = client.completions.create(model="olmocr", prompt="Bonjour", max_tokens=200)
    assert one.object == "text_completion"
    assert "stand-in" in one.choices[0].text
    assert one.choices[0].text.endswith("Bonjour")
    assert one.choices[0].finish_reason == "stop"
    two = client.completions.create(model="olmocr", prompt=["a", "b"], n=2, echo=True)
    assert [choice.index for choice in two.choices] == [0, 1, 2, 3]
    assert [choice.text[0] for choice in two.choices] == ["a", "a", "b", "b"]
    assert {choice.finish_reason for choice in two.choices} == {"length"}  # 16 tokens by default
    assert two.usage
    assert (two.usage.prompt_tokens, two.usage.completion_tokens) == (2, 64)


def test_a_plain_completion_streams(client: openai.OpenAI) -> None:
    asked: Any = {"model": "olmocr", "prompt": "Bonjour", "max_tokens": 200}
    whole = client.completions.create(**asked).choices[0].text
    options: ChatCompletionStreamOptionsParam = {"include_usage": True}
    chunks = list(client.completions.create(**asked, stream=True, stream_options=options))
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage


def test_a_prompt_is_tokenized_to_as_many_tokens_as_are_counted(
    client: openai.OpenAI, url: str
) -> None:
    asked = {"prompt": "préalable. Après", "return_token_strs": True}
    answer = post(f"{url}/tokenize", asked, "key").json()
    assert "".join(answer["token_strs"]) == asked["prompt"]
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    usage = client.completions.create(model="olmocr", prompt=asked["prompt"]).usage
    assert usage
    assert usage.prompt_tokens == answer["count"]
    messages = {"messages": [{"role": "user", "content": "two words"}]}
    assert post(f"{url}/tokenize", messages, "key").json()["count"] == 2


def test_an_image_counts_as_many_tokens_as_a_model_would_see(client: openai.OpenAI) -> None:
    with_image = client.chat.completions.create(model="olmocr", messages=ASK, max_tokens=1)
    assert with_image.usage
    assert 1600 < with_image.usage.prompt_tokens < 1700  # 995 x 1288 pixels, 28 x 28 a token


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_ends_at_its_limit(client: openai.OpenAI, name: str) -> None:
    limit: dict[str, Any] = {name: 7}
    answer = client.chat.completions.create(model="olmocr", messages=HELLO, **limit)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage
    assert answer.usage.completion_tokens == 7


def test_an_answer_ends_before_the_first_string_that_stops_it(client: openai.OpenAI) -> None:
    stops = ["question", "not a model"]
    answer = client.chat.completions.create(model="olmocr", messages=HELLO, stop=stops)
    choice = answer.choices[0]
    assert choice.message.content == "This is the podkit sandbox's stand-in for olmocr, "
    assert choice.finish_reason == "stop"
    assert choice.model_extra == {"stop_reason": "not a model"}
    limited = client.chat.completions.create(
        model="olmocr", messages=HELLO, stop=stops, max_tokens=2
    )
    assert limited.choices[0].finish_reason == "length"


def test_as_many_choices_come_as_were_asked_for_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="olmocr", messages=HELLO, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(model="olmocr", messages=HELLO, n=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]


def test_an_image_of_an_earlier_turn_is_still_seen(client: openai.OpenAI) -> None:
    turns: list[ChatCompletionMessageParam] = [
        *ASK,
        {"role": "assistant", "content": "It is a report."},
        {"role": "user", "content": "What is the total?"},
    ]
    answer = client.chat.completions.create(model="olmocr", messages=turns)
    assert share(WORDS, answer.choices[0].message.content or "") >= 0.95


REFUSED: list[tuple[dict[str, Any], int, str, str | None, str]] = [
    ({"model": "gpt-4", "messages": []}, 404, "NotFoundError", "model", "`gpt-4` does not exist."),
    ({"messages": ASK, "tools": [TOOL]}, 400, BAD, None, '"auto" tool choice requires --enable'),
    ({"messages": ASK * 2}, 400, BAD, None, "At most 1 image(s) may be provided in one prompt."),
    ({"messages": image("data:image/png;base64,AAAA")}, 400, BAD, None, "Failed to load image"),
    ({"messages": image("data:image/png;base64,%%")}, 400, BAD, None, "Failed to load image"),
    ({"messages": image("data:image/png,x")}, 400, BAD, None, "Only base64 data URLs"),
    ({"messages": image("https://[x")}, 400, BAD, None, "Failed to parse"),
    ({"messages": image("https://a.example/x.png")}, 400, BAD, None, NOT_ALLOWED + "a.example"),
    ({"messages": image("http://127.0.0.1:1/")}, 400, BAD, None, NOT_ALLOWED + "127.0.0.1"),
    ({"messages": image("http://none.invalid/")}, 400, BAD, None, "fetches no image"),
    ({"messages": image("file:///etc/passwd")}, 400, BAD, None, "Cannot load local files"),
    ({"messages": HELLO, "temperature": -1}, 400, BAD, "temperature", "temperature must be non-"),
    ({"messages": HELLO, "top_p": 0}, 400, BAD, "top_p", "top_p must be in (0, 1], got 0"),
    ({"messages": HELLO, "n": 0}, 400, BAD, "n", "n must be at least 1, got 0."),
    ({"messages": HELLO, "n": 2, "temperature": 0}, 400, BAD, None, "greedy sampling, got 2."),
    ({"messages": HELLO, "max_tokens": 0}, 400, BAD, "max_tokens", "max_tokens must be at least 1"),
    ({"messages": HELLO, "stop": [""]}, 400, BAD, None, "stop cannot contain an empty string."),
    ({"messages": HELLO, "max_tokens": 20000}, 400, BAD, "max_tokens", "max_model_len=16384"),
    ({"messages": HELLO, "logprobs": True}, 400, BAD, "logprobs", "does not play `logprobs`"),
    ({"messages": []}, 400, BAD, None, "no element 0"),
    ({}, 400, PHRASE, None, "'loc': ('body', 'messages')"),
    ({"messages": HELLO, "max_tokens": "many"}, 400, PHRASE, None, "'max_tokens'"),
    ({"messages": HELLO, "stream_options": {}}, 400, PHRASE, "stream_options", "`stream=True`"),
    ({"messages": HELLO, "tools": []}, 400, PHRASE, "tools", "must not be an empty array"),
    ({"messages": HELLO, "tool_choice": "auto"}, 400, PHRASE, "tool_choice", "must be set"),
    ({"messages": [{"role": "user", "content": 7}]}, 400, PHRASE, None, "'content'"),
]


@pytest.mark.parametrize(("body", "status", "kind", "parameter", "message"), REFUSED)
def test_what_vllm_refuses_is_refused_in_its_words(
    url: str, body: Any, status: int, kind: str, parameter: str | None, message: str
) -> None:
    answer = post(f"{url}/v1/chat/completions", body, "key")
    error = answer.json()["error"]
    assert answer.status_code == error["code"] == status
    assert (error["type"], error["param"]) == (kind, parameter)
    assert message in error["message"]


def test_a_prompt_that_leaves_no_room_for_the_answer_is_refused_in_vllms_words(url: str) -> None:
    body = {"messages": HELLO, "max_tokens": 16384}
    error = post(f"{url}/v1/chat/completions", body, "key").json()["error"]
    assert error["param"] == "input_tokens"
    assert error["message"].startswith(
        "This model's maximum context length is 16384 tokens. However, you requested 16384 output "
        "tokens and your prompt contains at least 1 input tokens, for a total of at least 16385"
    )


BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b"\xff\xfe",
    b'{"messages": ' + b"[" * 100_000,
    b'{"messages": [{"role": "user", "content": "\\ud800"}], "stream": true}',
    b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1e999}',
    b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    b'{"prompt": "x", "max_completion_tokens": {"type": "x"}}',
    b'{"messages": [{"role": "user", "content": "x"}], "n": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize"])
def test_no_body_breaks_the_connection_for_the_next_request(url: str, path: str) -> None:
    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
    with requests.Session() as session:
        session.headers.update(headers)
        for body in BODIES:
            answer = session.post(url + path, data=body, timeout=20)
            assert answer.status_code in (200, 400), body[:80]
            if answer.status_code == 400:
                assert answer.json()["error"]["code"] == 400
            after = session.post(url + "/tokenize", json={"prompt": "two words"}, timeout=20)
            assert after.json()["count"] == 2


def test_a_route_that_is_none_and_a_body_that_is_no_json_are_refused_as_objects(url: str) -> None:
    missing = get(f"{url}/v1/nothing", "key")
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "Not Found")
    headers = {"Authorization": "Bearer key", "Content-Type": "text/plain"}
    answer = requests.post(f"{url}/v1/completions", data=b"{}", headers=headers, timeout=20)
    assert answer.status_code == 400
    assert "Only 'application/json' is allowed" in answer.json()["error"]["message"]


def test_a_body_beyond_every_measure_is_refused(url: str) -> None:
    answer = post(f"{url}/v1/completions", {"prompt": "x" * 65 * 2**20}, "key")
    assert answer.status_code == 413


def test_a_defect_is_answered_with_vllms_500_and_leaves_the_connection_whole() -> None:
    sent: list[Any] = []

    async def defective(*_: Any) -> None:
        raise LookupError("a defect")

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(WithoutBareErrors(defective)(scope, receive, send))  # and raises nothing
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"])["error"] == {
        "message": "a defect",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }
