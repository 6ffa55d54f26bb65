"""What an account is billed, in official shapes. Must never know a clock."""

import calendar
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from podkit_sandbox.shapes import parse_moment
from podkit_sandbox.wire import Problem, timestamp

VOLUME_GB_MONTH = 0.07  # USD, the provider's list price of a standard volume
HOURS_A_MONTH = 730
THIRTY_DAYS = 30 * 86_400.0
SECONDS = {"hour": 3600, "day": 86_400, "week": 7 * 86_400}
FIRST_MONDAY = 4 * 86_400  # 1970-01-05, from which weeks are counted
EARLIEST = 0.0  # nothing was billed before 1970
LATEST = 2e11  # in the year 8307; later moments are beyond what datetime can widen to buckets


@dataclass(frozen=True)
class Kind:
    """How one kind of thing appears in bills; `usual` are the amounts that its price counts for."""

    id: str
    count: str
    parts: tuple[str, ...]
    usual: tuple[str, ...]

    def counted_for(self, span: "Span") -> tuple[str, ...]:
        """The amounts that this span's price counts for."""
        return ("totalAmount", span.part) if span.part else self.usual


KINDS = {
    "pods": Kind(
        "podId",
        "uniquePodCount",
        ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount"),
        ("totalAmount", "gpuAmount"),
    ),
    "network-volumes": Kind(
        "networkVolumeId",
        "uniqueNetworkVolumeCount",
        ("totalAmount", "standardAmount", "highPerformanceAmount"),
        ("totalAmount", "standardAmount"),
    ),
    "serverless": Kind(
        "serverlessId",
        "uniqueServerlessCount",
        ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount", "feeAmount"),
        ("totalAmount", "gpuAmount"),
    ),
}


@dataclass(frozen=True)
class Span:
    """A pod, volume or worker while it is billed: seconds since 1970, USD per hour.

    Without `until` it still is. `part` names the amount that it counts as, "" for the usual one.
    """

    id: str
    since: float
    until: float | None
    rate: float
    part: str = ""


def bill(query: Mapping[str, Any], kind: str, spans: Iterable[Span], now: float) -> dict[str, Any]:
    """One record for each of `spans` in each bucket of the query's window.

    The window is widened to whole buckets, in UTC. Raises Problem 400 for a window that the
    service refuses: it wants `startTime` and `endTime` together (seen by three clients, 2026).
    """
    shape = KINDS[kind]
    bucket = query.get("bucketSize", "day")
    start, end = _window(query, bucket, now)
    wanted = query.get(shape.id)
    usd: dict[tuple[float, float, str], dict[str, float]] = {}
    for span in spans:
        if wanted in (None, span.id):
            _add(usd, span, shape, (start, end, bucket), now)
    records: list[dict[str, Any]] = []
    totals = dict.fromkeys(shape.parts, 0.0)
    for (since, until, id), amounts in sorted(usd.items(), key=lambda item: item[0][0]):
        record: dict[str, Any] = {
            "startTime": timestamp(since),
            "endTime": timestamp(until),
            shape.id: id,
        }
        for name, amount in amounts.items():
            record[name] = round(amount, 6)
            totals[name] = round(totals[name] + record[name], 6)
        records.append(record)
    asked = {
        "startTime": timestamp(start),
        "endTime": timestamp(end),
        "bucketSize": bucket,
        shape.id: wanted,
    }
    ids = {record[shape.id] for record in records}
    counts = {"recordCount": len(records), shape.count: len(ids)}
    return {"records": records, "metadata": {"query": asked, **counts, "totals": totals}}


def _add(
    usd: dict[tuple[float, float, str], dict[str, float]],
    span: Span,
    shape: Kind,
    window: tuple[float, float, str],
    now: float,
) -> None:
    """Adds what the span costs in each bucket of the window."""
    start, end, bucket = window
    span_end = now if span.until is None else span.until
    first = max(start, span.since)
    last = min(end, span_end)
    if last <= first:
        return
    for since, until in _buckets(first, last, bucket):
        seconds = min(until, last) - max(since, first)
        amounts = usd.setdefault((since, until, span.id), dict.fromkeys(shape.parts, 0.0))
        for name in shape.counted_for(span):
            amounts[name] += seconds * span.rate / 3600


def _window(query: Mapping[str, Any], bucket: str, now: float) -> tuple[float, float]:
    if ("startTime" in query) != ("endTime" in query):
        raise Problem(400, "startTime and endTime must be given together")
    if "lastN" in query:
        if "startTime" in query:
            raise Problem(400, "lastN excludes startTime and endTime")
        start, end = _bucket_of(now, bucket)
        for _ in range(min(query["lastN"], 100_000) - 1):
            if start <= EARLIEST:
                break
            start, _ = _bucket_of(start - 1, bucket)
        return start, end
    if "startTime" not in query:
        return _bucket_of(now - THIRTY_DAYS, bucket)[0], _bucket_of(now - 0.001, bucket)[1]
    start = parse_moment(query["startTime"])
    end = parse_moment(query["endTime"])
    if end <= start:
        raise Problem(400, "endTime must be after startTime")
    start = min(max(start, EARLIEST), LATEST)
    end = min(max(end, EARLIEST), LATEST)
    return _bucket_of(start, bucket)[0], _bucket_of(end - 0.001, bucket)[1]


def _buckets(first: float, last: float, bucket: str) -> Iterator[tuple[float, float]]:
    at = first
    while at < last:
        since, until = _bucket_of(at, bucket)
        yield since, until
        at = until


def _bucket_of(at: float, bucket: str) -> tuple[float, float]:
    """The bounds of the bucket that holds this moment; days, weeks and months as in UTC."""
    if bucket in SECONDS:
        size = SECONDS[bucket]
        offset = FIRST_MONDAY if bucket == "week" else 0
        since = (at - offset) // size * size + offset
        return since, since + size
    day = datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if bucket == "year":
        begun = day.replace(month=1, day=1)
        days = 366 if calendar.isleap(begun.year) else 365
    else:
        begun = day.replace(day=1)
        days = calendar.monthrange(begun.year, begun.month)[1]
    return begun.timestamp(), (begun + timedelta(days=days)).timestamp()
