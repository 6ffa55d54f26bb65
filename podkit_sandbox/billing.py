"""What an account is billed, in official shapes. Must never know a clock: the moment is an argument."""

from collections import namedtuple
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from podkit_sandbox.wire import CATALOG

Span = namedtuple(
    "Span", "id since until rate"
)  # of a pod or volume: seconds since 1970, None: still; USD per hour
THIRTY_DAYS = 30 * 86_400.0


def bill(query: Mapping[str, str], kind: str, spans: Iterable[Span], now: float) -> dict[str, Any]:
    """One record for each of `spans` in each bucket of the query's window. Raises ValueError or KeyError for no query.

    The window is widened to whole buckets, in UTC, as days are since 1970.
    """
    shape, bucket = CATALOG["billing"][kind], query.get("bucketSize", "day")
    key, seconds = shape["id"], CATALOG["billing"]["seconds"][bucket]
    start = int(_asked(query, "startTime", now - THIRTY_DAYS) // seconds * seconds)
    end = int(-(-_asked(query, "endTime", now) // seconds) * seconds)
    records = []
    for at in range(start, end, seconds):
        bounds = {"startTime": moment(at), "endTime": moment(at + seconds)}
        for span in spans:
            billed = min(at + seconds, now if span.until is None else span.until) - max(
                at, span.since
            )
            if billed > 0 and query.get(key, span.id) == span.id:
                usd = billed * span.rate / 3600
                parts = {name: round(usd * part, 6) for name, part in shape["parts"].items()}
                records.append({**bounds, key: span.id, **parts})
    totals = {name: round(sum(record[name] for record in records), 6) for name in shape["parts"]}
    window = {
        "startTime": moment(start),
        "endTime": moment(end),
        "bucketSize": bucket,
        key: query.get(key),
    }
    count = {"recordCount": len(records), shape["count"]: len({record[key] for record in records})}
    return {"records": records, "metadata": {"query": window, **count, "totals": totals}}


def moment(at: float) -> str:
    """Seconds since 1970 in RFC 3339."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _asked(query: Mapping[str, str], name: str, default: float) -> float:
    return datetime.fromisoformat(query[name]).timestamp() if name in query else default
