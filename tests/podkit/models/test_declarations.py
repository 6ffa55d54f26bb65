"""What is said of a startup script that a pod would not understand."""

from __future__ import annotations

import pytest

from podkit.models.declarations import wrong_declarations

GOOD = {
    "MODEL_REPO": "org/model",
    "MODEL_REVISION": "abc123",
    "MODEL_SERVED_NAMES": "mine org/model",
    "MODEL_WEIGHTS_GIB": "9.5",
    "MODEL_KV_BYTES_PER_TOKEN": "1000",
    "MODEL_MAX_LEN": "2000",
    "MODEL_GPU_UTILIZATION": "0.90",
    "MODEL_PROBE": "text",
}


@pytest.mark.parametrize("more", [{}, {"MODEL_SOURCES": "s3 hf"}, {"MODEL_PROBE": "image"}])
def test_nothing_is_wrong_with_what_a_pod_understands(more: dict[str, str]) -> None:
    assert wrong_declarations({**GOOD, **more}) == []


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"MODEL_PROBE"}))
def test_what_is_missing_is_named(name: str) -> None:
    assert wrong_declarations({**GOOD, name: ""}) == [f"{name} is missing"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_WEIGHTS_GIB", "much"),
        ("MODEL_WEIGHTS_GIB", "nan"),
        ("MODEL_WEIGHTS_GIB", "-1"),
        ("MODEL_GPU_UTILIZATION", "1.5"),
        ("MODEL_KV_BYTES_PER_TOKEN", "1e3"),
    ],
)
def test_a_number_that_cannot_be_is_named_with_its_value(name: str, value: str) -> None:
    told = f"{name} is {value!r}, which is not such a number"
    assert wrong_declarations({**GOOD, name: value}) == [told]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MODEL_PROBE", "txt", "it takes image or text"),
        ("MODEL_PROBE", "image text", "it takes image or text"),
        ("MODEL_PROBE", "", "it takes image or text"),
        ("MODEL_SOURCES", "volum hf", "it takes some of volume s3 hf"),
        ("MODEL_SOURCES", "", "it takes some of volume s3 hf"),
    ],
)
def test_a_word_that_no_pod_understands_is_named_with_those_it_does(
    name: str, value: str, told: str
) -> None:
    assert wrong_declarations({**GOOD, name: value}) == [f"{name} is {value!r}; {told}"]
