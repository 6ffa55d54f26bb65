"""What the account on paper is billed: by the second, for as long as things were there."""

import time

import pytest

from tests.sandbox.sandboxes import Paper

HOUR = 3600
MIDNIGHT = 1_795_046_400.0  # 2026-11-19T00:00:00Z
VOLUMES = "/billing/network-volumes"


@pytest.fixture
def evening(paper: Paper) -> Paper:
    """The account on paper, an hour before midnight."""
    paper.clock.now = MIDNIGHT - HOUR
    return paper


def bills(
    paper: Paper, query: str = "bucketSize=day", path: str = "/billing/pods"
) -> list[tuple[str, str, float]]:
    """(start, id, USD) of each record."""
    records = paper.json("GET", f"{path}?{query}")["records"]
    return [
        (one["startTime"], one.get("podId") or one["networkVolumeId"], one["totalAmount"])
        for one in records
    ]


def test_a_pod_is_billed_by_the_second_and_split_at_midnight(evening: Paper) -> None:
    pod = evening.create()["id"]
    evening.clock.now += 3 * HOUR
    assert bills(evening) == [
        ("2026-11-18T00:00:00.000Z", pod, 0.86),
        ("2026-11-19T00:00:00.000Z", pod, 1.72),
    ]


@pytest.mark.parametrize("end", ["stop", "terminate"])
def test_a_pod_that_was_ended_is_billed_up_to_then(evening: Paper, end: str) -> None:
    pod = evening.create()["id"]
    evening.clock.now += HOUR / 2
    evening.call("POST", f"/pods/{pod}/action", {"action": end})
    evening.clock.now += 24 * HOUR
    if end == "stop":
        evening.call("DELETE", f"/pods/{pod}")
    assert bills(evening) == [("2026-11-18T00:00:00.000Z", pod, 0.43)]


def test_a_query_chooses_window_bucket_and_pod(evening: Paper) -> None:
    one = evening.create()["id"]
    other = evening.create(name="podkit-test-000002")["id"]
    evening.clock.now += 3 * HOUR
    window = "startTime=2026-11-19T00:30:00Z&endTime=2026-11-19T02:00:00Z"
    hours = bills(evening, f"bucketSize=hour&podId={one}&{window}")
    assert hours == [
        ("2026-11-19T00:00:00.000Z", one, 0.86),
        ("2026-11-19T01:00:00.000Z", one, 0.86),
    ]
    day = bills(evening, "startTime=2026-11-18T00:00:00Z&endTime=2026-11-19T00:00:00Z")
    assert day == [("2026-11-18T00:00:00.000Z", id, 0.86) for id in (one, other)]
    assert bills(evening, "podId=nothing") == []


def test_the_metadata_sums_the_records_and_tells_the_widened_window(evening: Paper) -> None:
    pod = evening.create()["id"]
    evening.clock.now += 3 * HOUR
    window = "startTime=2026-11-18T12:00:00Z&endTime=2026-11-19T01:00:00Z"
    assert evening.json("GET", f"/billing/pods?{window}&podId={pod}")["metadata"] == {
        "query": {
            "startTime": "2026-11-18T00:00:00.000Z",
            "endTime": "2026-11-20T00:00:00.000Z",
            "bucketSize": "day",
            "podId": pod,
        },
        "recordCount": 2,
        "uniquePodCount": 1,
        "totals": {"totalAmount": 2.58, "gpuAmount": 2.58, "cpuAmount": 0, "diskAmount": 0},
    }


def test_a_volume_is_billed_from_its_making_by_its_size(paper: Paper) -> None:
    paper.clock.now += 100 * HOUR
    made = paper.json(
        "POST", "/network-volumes", {"name": "mine", "size": 1000, "dataCenter": "US-KS-2"}
    )["id"]
    paper.clock.now += 365 * HOUR
    billed: dict[str, float] = {}
    for _, id, usd in bills(paper, path=VOLUMES):
        billed[id] = billed.get(id, 0.0) + usd
    assert billed == {
        "podkit0vol": pytest.approx(7 * 465 / 730, abs=0.001),
        made: pytest.approx(35, abs=0.01),
    }


@pytest.mark.parametrize(
    "query", ["bucketSize=decade", "startTime=yesterday", "endTime=", "lastN=0"]
)
def test_a_query_that_is_not_understood_is_refused(paper: Paper, query: str) -> None:
    answer = paper.call("GET", f"/billing/pods?{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json")


@pytest.mark.parametrize(
    "query",
    [
        "startTime=2026-11-19T00:00:00Z",
        "endTime=2026-11-19T00:00:00Z",
        "startTime=2026-11-19T00:00:00Z&endTime=2026-11-18T00:00:00Z",
        "startTime=2026-11-18T00:00:00Z&endTime=2026-11-19T00:00:00Z&lastN=2",
    ],
)
def test_a_window_needs_both_its_ends_and_nothing_else(paper: Paper, query: str) -> None:
    assert paper.call("GET", f"/billing/pods?{query}").status == 400


def test_the_last_buckets_end_with_the_current_one(evening: Paper) -> None:
    pod = evening.create()["id"]
    evening.clock.now += 26 * HOUR
    days = bills(evening, "lastN=2")
    assert [row[:2] for row in days] == [
        ("2026-11-19T00:00:00.000Z", pod),
        ("2026-11-20T00:00:00.000Z", pod),
    ]


@pytest.mark.parametrize("bucket", ["week", "month", "year"])
def test_long_buckets_are_those_of_the_calendar(evening: Paper, bucket: str) -> None:
    evening.create()
    evening.clock.now += HOUR
    starts = {"week": "2026-11-16", "month": "2026-11-01", "year": "2026-01-01"}
    assert bills(evening, f"bucketSize={bucket}")[0][0].startswith(starts[bucket])


def test_a_window_of_centuries_is_answered_at_once(evening: Paper) -> None:
    evening.create()
    evening.clock.now += HOUR
    begun = time.process_time()
    window = "startTime=1900-01-01T00:00:00Z&endTime=9999-12-31T23:59:59Z"
    assert len(bills(evening, f"bucketSize=hour&{window}")) == 1
    assert len(bills(evening, "bucketSize=hour&lastN=999999999")) == 1
    assert time.process_time() - begun < 5


def test_bills_are_for_the_accounts_own_key(paper: Paper) -> None:
    pod = paper.create()["id"]
    assert paper.call("GET", "/billing/pods", key=paper.account.pods[pod].key).status == 403
    assert paper.call("GET", "/billing/pods", key="rpa_wrong").status == 401
