"""Reading pages: with how much memory, and for whom."""

import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import openai
import psutil
import pytest
from openai.types.chat import ChatCompletionUserMessageParam
from PIL import Image

from podkit_sandbox.shims import ocr
from podkit_sandbox.shims.vllm.reader import PROCESSES
from tests.pages import share
from tests.sandbox.shims.stand_ins import (
    ASK,
    CHAT,
    PNG,
    WORDS,
    held_readers,
    metric,
    part,
    post,
    readers,
    serving_model,
    shim,
)
from tests.waiting import LONG, eventually

pytestmark = pytest.mark.slow

MEMORY_MIB = 1500


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def ask(image: bytes) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": [part(image)]}]


def test_a_page_without_text_gives_an_empty_answer(client: openai.OpenAI) -> None:
    for size in ((995, 1288), (1, 1), (1, 2000)):
        blank = file(Image.new("L", size, "white"))
        answer = client.chat.completions.create(model="olmocr", messages=ask(blank))
        assert (answer.choices[0].message.content or "").rpartition("---\n")[2] == "", size
        assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "transparent", "palette", "turned"])
def test_a_page_is_read_whatever_file_it_is_in(client: openai.OpenAI, kind: str) -> None:
    page = Image.open(BytesIO(PNG))
    match kind:
        case "transparent":
            image = Image.new("RGBA", page.size, (0, 0, 0, 0))
            image.putalpha(page.point(lambda light: 255 - light))
            data = file(image)
        case "palette":
            data = file(page.convert("P"))
        case "turned":
            exif = Image.Exif()
            exif[0x0112] = 6  # a camera that was held upright
            data = file(page.rotate(90, expand=True), "JPEG", quality=95, exif=exif)
        case _:
            data = file(page.convert("RGB"), kind, quality=95)
    answer = client.chat.completions.create(model="olmocr", messages=ask(data))
    assert share(WORDS, answer.choices[0].message.content or "") >= 0.9


def test_an_image_that_breaks_off_is_an_error_of_its_request_whole_and_streamed(url: str) -> None:
    broken = {"messages": ask(PNG[: len(PNG) // 2])}
    answer = post(url + CHAT, broken, "key")
    assert answer.status_code == 400
    assert "Failed to load image" in answer.json()["error"]["message"]
    streamed = post(url + CHAT, {**broken, "stream": True}, "key")
    assert streamed.status_code == 200
    assert '"code": 400' in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")


HUGE = {
    "a narrow one": Image.new("L", (22, 1288), "white"),
    "a narrower one": Image.new("L", (1, 60_000), "white"),
    "a grey one": Image.new("L", (12_000, 12_000)),
    "one with an alpha channel": Image.new("RGBA", (5_200, 5_200)),
    "one of noise": Image.effect_noise((4_000, 4_000), 100),
}


def memory_of(processes: list[psutil.Process]) -> int:
    """The bytes that they hold together; one that has ended holds none."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def test_memory_is_bounded_whatever_image_comes() -> None:
    most = 0
    with serving_model("model") as (url, pid), ThreadPoolExecutor() as pool:
        for name, image in HUGE.items():
            body = {"messages": ask(file(image))}
            asked = [pool.submit(post, url + CHAT, body) for _ in range(PROCESSES)]
            while wait(asked, 0.01).not_done:
                most = max(most, memory_of([psutil.Process(pid), *readers(pid)]))
            assert {each.result().status_code for each in asked} == {200}, name
    assert most < MEMORY_MIB * 2**20


def test_an_image_that_takes_too_much_memory_to_decode_is_refused_before_it_is(url: str) -> None:
    answer = post(url + CHAT, {"messages": ask(file(Image.new("RGBA", (8_000, 8_000))))}, "key")
    assert answer.status_code == 400
    assert "too large" in answer.json()["error"]["message"]


def test_a_process_that_has_kept_too_much_memory_ends_and_the_next_page_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ocr, "REPLACED_MIB", 1)
    answers = BytesIO()
    two = 2 * (ocr.LENGTH.pack(len(PNG)) + PNG)
    ocr.main(BytesIO(two), answers)
    readable, length = ocr.FRAME.unpack_from(answers.getvalue())
    assert readable
    assert len(answers.getvalue()) == ocr.FRAME.size + length  # one answer, and the end


def test_reading_calls_nobody(tmp_path: Path) -> None:
    """onnxruntime would write there what it sends to its maker, but where CI is set."""
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("CI", None)
    blank = file(Image.new("L", (64, 64), "white"))
    asked = ocr.LENGTH.pack(len(blank)) + blank
    subprocess.run(shim("ocr"), input=asked, env=environment, check=True, capture_output=True)
    assert list(tmp_path.rglob("Microsoft")) == []


def asking(url: str, *, stream: bool) -> socket.socket:
    """A connection on which a page was asked for, and nothing was read yet."""
    body = json.dumps({"messages": ASK, "stream": stream}).encode()
    address = urlsplit(url)
    connection = socket.create_connection((str(address.hostname), address.port or 0), LONG)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def read_on(answer: IO[bytes], wanted: bytes) -> None:
    """Reads the lines up to this one. Fails when the answer ends before it."""
    while (line := answer.readline()) != wanted:
        assert line, "it ended"


def test_a_stream_has_its_headers_at_once_and_comments_while_it_waits() -> None:
    with serving_model("model", "--sse-keep-alive-interval", "1") as (url, pid):
        with held_readers(url, pid):
            connections = [asking(url, stream=True) for _ in range(PROCESSES + 1)]
            answers = [connection.makefile("rb") for connection in connections]
            for answer in answers:
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
                read_on(answer, b": keep-alive\n")
        for answer in answers:
            read_on(answer, b"data: [DONE]\n")
            answer.close()
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_work_for_a_client_that_has_gone_never_starts_and_what_runs_is_dropped(
    stream: bool,
) -> None:
    with serving_model("model") as (url, pid), held_readers(url, pid) as held:
        before = metric(url, "request_success_total")
        gone = [asking(url, stream=stream) for _ in range(PROCESSES + 3)]
        eventually(lambda: metric(url, "num_requests_waiting") == 3)
        for connection in gone:
            connection.close()
        eventually(lambda: metric(url, "num_requests_running") == 0)
        assert metric(url, "num_requests_waiting") == 0
        psutil.wait_procs(held, LONG)
        assert [process for process in held if process.is_running()] == []
        answer = post(url + CHAT, {"messages": ASK}).json()
        assert share(WORDS, answer["choices"][0]["message"]["content"]) >= 0.95
        assert metric(url, "request_success_total") == before + 1
