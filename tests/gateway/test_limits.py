"""Limits as a client meets them, and the headers that announce them."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from podkit_gateway.domain import Limits, Subject
from podkit_gateway.errors import Refusal
from podkit_gateway.limits import Limiter, MemoryLeases, Quota, Quotas
from tests.waiting import eventually

from .process import Gateway
from .stub import Stub, all_seen

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("within_a_minute")
def test_the_61st_request_of_a_minute_is_refused_and_says_when_to_come_back(
    gateway: Gateway,
) -> None:
    key = gateway.make_key("--requests-per-minute", "60")
    other = gateway.make_key("--requests-per-minute", "60")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateway.ask(key), range(61)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 1
    error = refused[0].json()["error"]
    headers = refused[0].headers
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["RateLimit-Policy"] == '"rpm";q=60;w=60'
    assert headers["RateLimit"].startswith('"rpm";r=0;t=')
    assert gateway.ask(other).headers["x-ratelimit-remaining-requests"] == "59"


@pytest.mark.usefixtures("within_a_minute")
def test_tokens_are_debited_after_the_answer(gateway: Gateway) -> None:
    key = gateway.make_key("--tokens-per-minute", "15")
    assert gateway.ask(key).headers["x-ratelimit-remaining-tokens"] == "15"
    assert gateway.ask(key, json={"stream": True}).headers["x-ratelimit-remaining-tokens"] == "5"
    refused = gateway.ask(key)
    assert refused.status_code == 429
    assert "tokens per minute" in refused.json()["error"]["message"]


def test_a_days_quota_is_used_up_and_is_not_to_be_retried(gateway: Gateway) -> None:
    key = gateway.make_key("--tokens-per-day", "15")
    assert [gateway.ask(key).status_code for _ in range(3)] == [200, 200, 429]
    assert gateway.ask(key).json()["error"]["code"] == "insufficient_quota"


def test_parallel_requests_are_counted_and_given_back(gateway: Gateway, stubs: list[Stub]) -> None:
    key = gateway.make_key("--parallel", "2")
    for stub in stubs:
        stub.pause = 0.3
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: gateway.ask(key, json={"stream": True}), range(6)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes.count(200) >= 2
    assert codes.count(429) >= 1
    assert eventually(lambda: gateway.ask(key).status_code == 200)


def test_a_cap_on_an_answers_tokens_is_set_and_not_exceeded(
    gateway: Gateway, stubs: list[Stub]
) -> None:
    key = gateway.make_key("--max-tokens", "100")
    gateway.ask(key)
    assert all_seen(stubs)[0].body["max_tokens"] == 100
    refused = gateway.ask(key, json={"max_completion_tokens": 101})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "max_tokens"


def test_a_refused_request_costs_nothing(gateway: Gateway) -> None:
    key = gateway.make_key("--requests-per-minute", "5")
    for _ in range(10):
        assert gateway.ask(key, json={"model": "no-such"}).status_code == 404
    assert gateway.ask(key).headers["x-ratelimit-remaining-requests"] == "4"


def test_a_request_that_nothing_could_serve_costs_nothing(tmp_path: Path) -> None:
    text = '[models.olmocr]\nbackends = ["gone"]\n[backends.gone]\nurl = "http://127.0.0.1:1/v1"\n'
    gateway = Gateway(tmp_path, text)
    gateway.prepare()
    gateway.start()
    key = gateway.make_key("--requests-per-minute", "1")
    ready = f"{gateway.url}/ready"
    eventually(lambda: "no backend serves" in requests.get(ready, timeout=10).text)
    assert [gateway.ask(key).status_code for _ in range(3)] == [503] * 3
    gateway.stop()


class BrokenWindows:
    """Windows that cannot be reached once a request has been admitted."""

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        raise Refusal(503, "service_unavailable", "Limits cannot be counted at the moment.")

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        return 0, 0.0, 0, 0.0


def test_tokens_that_cannot_be_counted_do_not_spoil_the_answer_and_the_place_is_free() -> None:
    async def ask_twice() -> None:
        leases = MemoryLeases()
        limiter = Limiter(BrokenWindows(), leases, Quotas(use_nothing, time.time))
        subjects = [Subject("key:a", Limits(parallel=1, tokens_per_minute=10))]
        for _ in range(2):
            admission = await limiter.admit(subjects, "lease")
            await admission.finish(5)
            await admission.finish(5)

    asyncio.run(ask_twice())


@pytest.mark.parametrize(
    "subjects",
    [
        [Subject("key:a", Limits(parallel=1, requests_per_minute=10))],
        [Subject("key:a", Limits(parallel=1)), Subject("owner:1", Limits(parallel=0))],
    ],
    ids=["when requests cannot be counted", "when another place is not free"],
)
def test_a_request_that_is_refused_holds_no_place(subjects: list[Subject]) -> None:
    async def ask_and_look() -> None:
        leases = MemoryLeases()
        limiter = Limiter(BrokenWindows(), leases, Quotas(use_nothing, time.time))
        with pytest.raises(Refusal):
            await limiter.admit(subjects, "lease")
        assert await leases.take("key:a", 1, "another")

    asyncio.run(ask_and_look())


async def use_nothing(_subject: str) -> Quota:
    return Quota(0, 0)


def test_one_request_id_takes_as_many_places_as_there_are_requests(
    gateway: Gateway, stubs: list[Stub]
) -> None:
    key = gateway.make_key("--parallel", "2")
    for stub in stubs:
        stub.pause = 0.3
    same = {"X-Request-Id": "mine"}
    with ThreadPoolExecutor(6) as pool:
        asked = [
            pool.submit(gateway.ask, key, json={"stream": True}, headers=same) for _ in range(6)
        ]
    assert 429 in [answer.result().status_code for answer in asked]


def test_who_has_an_answer_may_ask_again_at_once(gateway: Gateway) -> None:
    key = gateway.make_key("--parallel", "1")
    bodies = [{"stream": number % 2 == 0} for number in range(20)]
    assert {gateway.ask(key, json=body).status_code for body in bodies} == {200}
