"""What time it is: whose clock is believed, and how long a pod may then live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests_mock as mocking

from podkit.errors import ServerFault, UsageError
from podkit.runpod.client import RunpodClient
from tests.podkit.samples import API, CREATED, POD, Clock, problem

PODS = f"{API}/pods"


def dated(moment: datetime) -> dict[str, Any]:
    """An answer that carries this moment."""
    return {"json": {"pods": []}, "headers": {"Date": format_datetime(moment, usegmt=True)}}


def hear(api: mocking.Mocker, client: RunpodClient, *moments: datetime) -> None:
    for moment in moments:
        api.get(PODS, **dated(moment))
        client.list_pods()


def test_the_time_is_the_apis_own_within_ten_minutes_of_this_machines(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    assert client.now() == CREATED
    there = CREATED + timedelta(minutes=9)
    for date in (format_datetime(there, usegmt=True), "yesterday", ""):
        api.get(PODS, json={"pods": []}, headers={"Date": date})
        client.list_pods()
        assert client.now() == there
    clock.now += 60
    assert client.now() == there + timedelta(minutes=1)
    assert clock.said == []


def test_one_answer_from_another_year_is_not_believed(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    hear(api, client, CREATED + timedelta(days=365), CREATED + timedelta(days=30))
    assert client.now() == CREATED
    assert clock.said == []


@pytest.mark.parametrize(
    ("skew", "words"),
    [(timedelta(hours=2), "120 min behind"), (-timedelta(days=1), "1440 min ahead")],
)
def test_two_answers_that_agree_are_believed_and_the_user_is_told_once(
    api: mocking.Mocker, client: RunpodClient, clock: Clock, skew: timedelta, words: str
) -> None:
    hear(api, client, *[CREATED + skew] * 4)
    assert client.now() == CREATED + skew
    assert len(clock.said) == 1
    assert words in clock.said[0]


@pytest.mark.parametrize(
    "moment", [datetime(9999, 12, 31, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)]
)
def test_an_absurd_date_is_never_believed_however_often_it_comes(
    api: mocking.Mocker, client: RunpodClient, moment: datetime
) -> None:
    hear(api, client, *[moment] * 3)
    assert client.now() == CREATED


def test_an_error_page_tells_no_time(api: mocking.Mocker, client: RunpodClient) -> None:
    late = dated(CREATED + timedelta(minutes=5))["headers"]
    answer = problem(500)
    api.get(f"{PODS}/{POD['id']}", **{**answer, "headers": {**answer["headers"], **late}})
    with pytest.raises(ServerFault):
        client.get_pod(POD["id"])
    assert client.now() == client.earliest_now()


@pytest.mark.parametrize(
    ("skew", "start"),
    [
        (timedelta(minutes=5), timedelta(0)),
        (-timedelta(minutes=5), -timedelta(minutes=5)),
        (timedelta(minutes=30), timedelta(0)),
        (-timedelta(days=1), -timedelta(days=1)),
    ],
)
def test_a_lifetime_is_counted_from_the_earlier_of_both_clocks(
    api: mocking.Mocker, client: RunpodClient, skew: timedelta, start: timedelta
) -> None:
    hear(api, client, *[CREATED + skew] * 2)
    assert client.earliest_now() == CREATED + start


def test_a_machine_that_is_hours_behind_is_told_so_before_a_pod_ends_at_once(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    hear(api, client, *[CREATED + timedelta(hours=25)] * 2)
    with pytest.raises(UsageError, match="25 h behind"):
        client.earliest_now()
