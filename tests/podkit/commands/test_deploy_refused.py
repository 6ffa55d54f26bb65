"""A deploy that no place or GPU is found for: its exit code, and what it says to do next."""

from __future__ import annotations

from typing import Any

import pytest
import requests_mock as mocking

from tests.podkit.commands.desk import DEPLOY, NO_STOCK, Run, account, failed, failed_as, granted
from tests.podkit.samples import API, problem

WRONG_PLACES: list[tuple[tuple[str, ...], dict[str, Any], str, str]] = [
    (("--gpu", "NVIDIA L40"), {}, "unknown GPU type 'NVIDIA L40'", "did you mean 'NVIDIA L40S'?"),
    (("--data-center", "EU-R0-1"), {}, "unknown data center 'EU-R0-1'", "did you mean 'EU-RO-1'?"),
    (("--data-center", "US-KS-2"), {}, "no network volume in US-KS-2", "volume create --size 100"),
    (
        ("--volume", "vol1", "--data-center", "US-KS-2"),
        {},
        "lies in EU-RO-1",
        "--data-center EU-RO-1",
    ),
    (("--volume", "vol9"), {}, "no network volume 'vol9'", "volume list"),
]


@pytest.mark.parametrize(("options", "changes", "what", "hint"), WRONG_PLACES)
def test_a_place_that_does_not_exist_is_answered_with_one_that_does(
    api: mocking.Mocker,
    run: Run,
    options: tuple[str, ...],
    changes: dict[str, Any],
    what: str,
    hint: str,
) -> None:
    account(api, **changes)
    ended = failed(run, 2, "deploy", "--model", "mine", *options)
    assert what in ended.err
    assert hint in ended.err
    assert {sent.method for sent in api.request_history} == {"GET"}


def test_no_free_gpu_is_exit_75_with_each_refusal_in_the_providers_words(
    api: mocking.Mocker, run: Run
) -> None:
    account(api)
    api.post(f"{API}/pods", **problem(400, NO_STOCK))
    ended = failed(
        run,
        75,
        "deploy",
        "--model",
        "mine",
        "--gpu",
        "NVIDIA L40S",
        "--gpu",
        "NVIDIA A100 80GB PCIe",
        "--json",
    )
    assert ended.json["error"]["code"] == "no-capacity"
    assert (
        f"NVIDIA L40S, $0.86/h, stock LOW: refused ({NO_STOCK}; CUDA 12.8, 13.0 (full))"
        in ended.err
    )
    assert ended.err.count(NO_STOCK) == 2
    assert "./deploy_mine.sh --wait-for-stock" in ended.json["error"]["hint"]
    assert len([sent for sent in api.request_history if sent.method == "POST"]) == 2


def test_refusals_without_a_known_text_put_the_request_in_doubt(
    api: mocking.Mocker, run: Run
) -> None:
    account(api)
    api.post(f"{API}/pods", **problem(400, "mounts are not allowed"))
    assert "the request itself may be at fault" in failed(run, 1, *DEPLOY).err


CODES = {
    401: "unauthorized",
    402: "payment-required",
    404: "not-found",
    413: "invalid",
    422: "invalid",
}


@pytest.mark.parametrize(("status", "code"), CODES.items())
def test_what_no_other_gpu_cures_stops_at_the_first(
    api: mocking.Mocker, run: Run, status: int, code: str
) -> None:
    account(api)
    api.post(f"{API}/pods", **problem(status, "so it is"))
    gpus = ("--gpu", "NVIDIA L40S", "--gpu", "NVIDIA A100 80GB PCIe")
    failed_as(run, code, "deploy", "--model", "mine", *gpus)
    assert len([sent for sent in api.request_history if sent.method == "POST"]) == 1


def test_a_catalogue_that_cannot_be_read_does_not_stop_a_deploy(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, **{"catalog/gpus": problem(500)})
    granted(api)
    ended = run(*DEPLOY)
    assert ended.code == 0
    assert "prices and stock are unknown" in ended.err


def test_but_it_does_where_a_price_limit_is_set(api: mocking.Mocker, run: Run) -> None:
    account(api, **{"catalog/gpus": problem(500)})
    ended = failed(run, 1, *DEPLOY, "--max-price", "0.90")
    assert "prices could not be read" in ended.err
    assert {sent.method for sent in api.request_history} == {"GET"}
