"""Random deploys: fault schedules as hypothesis draws them,
within what docs/reliability.md says is guaranteed.

Left out, because no client can see through it: a refusal (4xx) of a create that was carried out all
the same, lists that lag by more than 20 seconds, and an API that goes on answering 404 for a pod
that lives.
"""

from __future__ import annotations

import signal
from itertools import chain
from typing import Any

from hypothesis import strategies as st

from tests.reliability.transport import GPUS, Plan

REFUSALS = [
    "400",
    "401",
    "402",
    "403",
    "404",
    "413",
    "422",
    "429",
    "500",
    "502",
    "503",
    "html403",
    "html502",
]
Rule = dict[str, Any]


def _fault(name: str, **options: st.SearchStrategy[Any]) -> st.SearchStrategy[Rule]:
    return st.fixed_dictionaries({"fault": st.just(name), **options})


seconds = st.floats(1, 20).map(lambda value: round(value, 1))
skew = _fault("clock-skew", seconds=st.sampled_from([-86400.0, -3600.0, 3600.0]))
refusals = st.one_of(
    st.sampled_from(REFUSALS).map(lambda name: {"fault": name}),
    st.just({"fault": "reset-before"}),
    _fault("429", retry_after=st.sampled_from([1, 30, 3600])),
    _fault(
        "400",
        detail=st.sampled_from(
            ["gpu.count: must be 1", "There are no instances currently available"]
        ),
    ),
)
carried_out = st.one_of(
    st.sampled_from(["500", "502", "503", "html502"]).map(
        lambda name: {"fault": name, "effect": True}
    ),
    st.sampled_from(["reset-after", "truncate", "garbage"]).map(lambda name: {"fault": name}),
)
slow = _fault("delay", seconds=st.sampled_from([2.0, 45.0, 150.0]))
pods = st.one_of(
    _fault("list-lag", seconds=seconds),
    _fault("twin", seconds=seconds),
    _fault("stuck"),
    _fault("stuck", seconds=st.sampled_from([100.0, 500.0]), pulling=st.booleans()),
    _fault("crash-loop", seconds=st.sampled_from([2.0, 7.0, 30.0])),
    _fault("restart", seconds=st.sampled_from([3.0, 40.0])),
    _fault("price", factor=st.sampled_from([0.5, 1.005, 1.1, 3.0])),
)


def _create(number: int) -> st.SearchStrategy[list[Rule]]:
    """What happens to the deploy's create of that number: how it is answered,
    and what becomes of its pod.
    """
    answer: st.SearchStrategy[Rule] = st.one_of(
        st.just({}), carried_out, carried_out, refusals, slow
    )
    once = {"call": "POST /pods", "after": number, "times": 1}
    return st.builds(
        lambda answer, fates: [{**once, **fault} for fault in (*fates, answer) if fault],
        answer,
        st.lists(pods, max_size=3, unique_by=lambda rule: rule["fault"]),
    )


@st.composite
def _other(draw: st.DrawFn) -> Rule:
    """A fault of any other call, now and then of all calls."""
    calls = ["GET /pods"] * 4 + ["DELETE /pods/{id}"] * 4 + ["GET /pods/{id}"] * 2
    call = draw(
        st.sampled_from(
            [*calls, "GET /pods/{id}/logs", "GET /network-volumes", "GET /catalog/gpus", "*"]
        )
    )
    fault = draw(st.one_of(refusals, refusals, carried_out, slow, skew))
    lasting = fault["fault"] not in ("404", "401", "403", "html403")
    return {
        "call": call,
        **fault,
        "probability": draw(st.sampled_from([1.0, 1.0, 0.5, 0.2])),
        "times": draw(st.sampled_from([1, 2, 3, 8, None] if lasting else [1, 2, 3])),
        "after": draw(st.integers(0 if call.startswith("DELETE") else 1, 8)),
    }


creates = st.integers(1, 5).flatmap(lambda count: st.tuples(*map(_create, range(count))))
rules = st.builds(
    lambda creates, others: (*chain.from_iterable(creates), *others),
    creates,
    st.one_of(st.just([]), st.lists(_other(), min_size=1, max_size=3)),
)
signals = st.tuples(
    st.sampled_from([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]),
    st.one_of(st.integers(1, 30), st.integers(1, 300)),
)
plans = st.builds(
    Plan,
    rules=rules,
    seed=st.integers(1, 10**6),
    stock=st.dictionaries(
        st.sampled_from(GPUS), st.sampled_from(["NONE", "LOW", "LOW", "HIGH"]), max_size=3
    ),
    gpus=st.sampled_from([GPUS] * 15 + [GPUS[:1]] * 4 + [("NVIDIA L4OS",)]),
    wait=st.booleans(),
    new=st.booleans(),
    keep_failed=st.sampled_from([False, False, True]),
    rm_on_interrupt=st.booleans(),
    other_laptop=st.sampled_from([None] * 6 + [0.0, 15.0, 15.0]),
    signal=st.one_of(st.none(), st.none(), signals),
)
