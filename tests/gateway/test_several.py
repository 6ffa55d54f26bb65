"""Two processes that share PostgreSQL and Redis: one count, one news of a revoked key, and a copy
that can be restored.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.waiting import eventually

from .conftest import config_for
from .process import PASSWORD, Gateway, GatewayProcess
from .services import postgres, redis
from .stub import Stub, all_seen

pytestmark = pytest.mark.slow
TOKEN_KEYS = "one:" + "s" * 40
Pair = tuple[GatewayProcess, GatewayProcess]


@pytest.fixture(scope="module")
def pair(stubs: list[Stub], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with postgres() as database, redis() as (cache, _server):
        settings = {
            "FIRST_KEY": "x",
            "GATEWAY_DATABASE_URL": database,
            "GATEWAY_REDIS_URL": cache,
            "GATEWAY_REPLICAS": "2",
            "GATEWAY_PUBLIC_URL": "https://api.example.com",
            "GATEWAY_TOKEN_KEYS": TOKEN_KEYS,
        }
        folder = tmp_path_factory.mktemp("pair")
        pair = tuple(GatewayProcess(folder / name, config_for(stubs), **settings) for name in "ab")
        pair[0].prepare()
        for gateway in pair:
            gateway.start()
        yield pair[0], pair[1]
        for gateway in pair:
            gateway.stop()


@pytest.fixture(autouse=True)
def fresh(stubs: list[Stub]) -> None:
    for stub in stubs:
        stub.reset()


def test_both_count_one_limit(pair: Pair) -> None:
    key = pair[0].make_key("--requests-per-minute", "60")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: pair[number % 2].ask(key), range(61)))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(200), codes.count(429)) == (60, 1)


def test_both_count_parallel_requests(pair: Pair, stubs: list[Stub]) -> None:
    key = pair[0].make_key("--parallel", "2")
    for stub in stubs:
        stub.pause = 0.5

    def ask(number: int) -> int:
        return int(pair[number % 2].ask(key, json={"stream": True}).status_code)

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(ask, range(8)))
    assert 429 in codes
    assert eventually(lambda: pair[1].ask(key).status_code == 200)


def test_a_key_that_one_revokes_is_refused_by_the_other_within_a_second(
    pair: Pair,
) -> None:
    tries = (seconds_until_refused(pair) for _ in range(10))
    assert any(took < 1.0 for took in tries)  # a busy machine may be slow, but not each time


def seconds_until_refused(pair: Pair) -> float:
    """How long after a key was revoked both refuse it."""
    key = pair[0].make_key()
    assert [gateway.ask(key).status_code for gateway in pair] == [200, 200]
    pair[0].quickly("keys", "revoke", key.split("_")[2])
    began = time.monotonic()
    eventually(lambda: {gateway.ask(key).status_code for gateway in pair} == {401})
    return time.monotonic() - began


def test_a_token_of_one_is_a_token_of_the_other(
    pair: Pair,
) -> None:
    body = {"email": "awa@example.com", "password": PASSWORD}
    answer = requests.post(f"{pair[0].url}/auth/token", json=body, timeout=30)
    assert pair[1].ask(answer.json()["access_token"]).status_code == 200


def test_a_postgres_copy_is_restored_with_its_keys(
    pair: Pair, tmp_path: Path, stubs: list[Stub]
) -> None:
    key = pair[0].make_key()
    pair[0].quickly("backup", str(tmp_path / "copy"))
    with postgres() as database:
        other = Gateway(
            tmp_path / "other", config_for(stubs), FIRST_KEY="x", GATEWAY_DATABASE_URL=database
        )
        other.quickly("restore", str(tmp_path / "copy"))
        other.start()
        assert other.ask(key).status_code == 200
        other.stop()


def test_one_that_is_stopped_ends_its_streams_while_the_other_takes_what_is_new(
    pair: Pair, stubs: list[Stub]
) -> None:
    key = pair[0].make_key()
    for stub in stubs:
        stub.pause = 1.0

    def ask_who_listens() -> int:
        """As a proxy in front does: a refused connection is tried at the other."""
        try:
            return int(pair[1].ask(key).status_code)
        except requests.ConnectionError:
            return int(pair[0].ask(key).status_code)

    with ThreadPoolExecutor(21) as pool:
        streams = [pool.submit(pair[1].ask, key, json={"stream": True}) for _ in range(20)]
        eventually(lambda: len(all_seen(stubs)) == 20)
        stopping = pool.submit(pair[1].stop)
        codes = []
        while not stopping.done():
            codes.append(ask_who_listens())
        texts = [stream.result().text for stream in streams]
    assert set(codes) == {200}
    assert [text.endswith("data: [DONE]\n\n") for text in texts] == [True] * 20
    pair[1].start()


def test_one_that_is_killed_leaves_the_other_serving(
    pair: Pair,
) -> None:
    key = pair[0].make_key()
    pair[1].stop(signal.SIGKILL)
    assert pair[0].ask(key).status_code == 200
    pair[1].start()


@pytest.mark.parametrize(("choice", "code"), [("closed", 503), ("open", 200)])
def test_without_redis_requests_are_refused_or_let_through_as_chosen(
    stubs: list[Stub], tmp_path: Path, choice: str, code: int
) -> None:
    with redis() as (cache, server):
        gateway = Gateway(
            tmp_path,
            config_for(stubs),
            FIRST_KEY="x",
            GATEWAY_REDIS_URL=cache,
            GATEWAY_LIMITS_FAIL=choice,
        )
        gateway.prepare()
        gateway.start()
        key = gateway.make_key("--requests-per-minute", "100")
        assert gateway.ask(key).status_code == 200
        server.kill()
        server.wait()
        assert gateway.ask(key).status_code == code
        assert gateway.metric("gateway_limits_failed_total") > 0
        gateway.stop()
