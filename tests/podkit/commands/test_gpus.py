"""What `gpus` shows: the catalogue as it was recorded, with the price, the stock and how each model
fits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests_mock as mocking
from click.testing import CliRunner, Result

from podkit import ROOT
from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.errors import PodkitError
from tests import contract
from tests.podkit.samples import API, GPU, KEY, problem


def offered(id: str, memory: int, price: float, cuda: str = "13.0", **stock: str) -> dict[str, Any]:
    """A GPU type of the catalogue; `cuda` marks versions without a free host by !, `stock` writes _
    for -.
    """
    places = [(place.replace("_", "-"), level) for place, level in stock.items()]
    return {
        **{key: value for key, value in GPU.items() if key not in ("dataCenters", "availability")},
        **{
            "id": id,
            "memory": memory,
            "price": {"secure": price, "community": 0.0},
            "secure": price > 0,
        },
        **{
            "cudaVersions": [
                {"version": one.strip("!"), "available": "!" not in one} for one in cuda.split()
            ]
        },
        **(
            {"dataCenters": [{"id": id, "name": id, "availability": level} for id, level in places]}
            if places
            else {}
        ),
    }


CATALOG = [
    offered("NVIDIA L40S", 48, 0.86, "13.0 13.1 13.2!", EU_RO_1="MEDIUM", US_KS_2="HIGH"),
    offered("NVIDIA GeForce RTX 4090", 24, 0.69, US_TX_3="LOW", EU_RO_1="HIGH"),
    offered("NVIDIA RTX 2000 Ada Generation", 16, 0.24, EU_RO_1="NONE"),
    offered("NVIDIA A100 80GB PCIe", 80, 1.39, "", EU_RO_1="LOW"),
    offered("NVIDIA GeForce RTX 3080", 10, 0.0),
    offered("NVIDIA H200", 141, 3.59),
]
GOLDEN = """\
GPU             MEMORY  $/H   olmocr    qwen3vl   STOCK
RTX 2000 Ada    16 GB   0.24  tight x2  no        NONE
RTX 4090        24 GB   0.69  fits x9   tight x1  HIGH
L40S            48 GB   0.86  fits x32  fits x6   MEDIUM
A100 80GB PCIe  80 GB   1.39  fits x63  fits x12  LOW
"""
ALL = """\
GPU             MEMORY  $/H   FIT       STOCK
RTX 2000 Ada    16 GB   0.24  no        NONE
RTX 4090        24 GB   0.69  tight x1  EU-RO-1, +1
L40S            48 GB   0.86  fits x6   EU-RO-1, +1
A100 80GB PCIe  80 GB   1.39  fits x12  EU-RO-1 LOW
H200            141 GB  3.59  fits x23  NONE
"""


@pytest.fixture(autouse=True)
def catalog(api: mocking.Mocker) -> None:
    api.get(f"{API}/catalog/gpus", json={"gpus": CATALOG})
    api.get(
        f"{API}/catalog/datacenters", json={"dataCenters": [{"id": "EU-RO-1"}, {"id": "EU-CZ-1"}]}
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two of podkit's own models; others that are added change no table here."""
    (tmp_path / "startup").mkdir()
    for name in ("start.sh", "startup_olmocr.sh", "startup_qwen3vl.sh", "constraints-vllm.txt"):
        (tmp_path / "startup" / name).symlink_to(ROOT / "startup" / name)
    return tmp_path


def gpus(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["gpus", *arguments], obj=App(root, {"RUNPOD_API_KEY": KEY}))


def hint(shown: Result) -> str:
    """What the error that ended a command says to do next."""
    assert isinstance(shown.exception, PodkitError)
    return shown.exception.hint


def test_the_recorded_catalogue_is_one_the_provider_may_send() -> None:
    contract.check_answer(contract.needed(), "GET", "/catalog/gpus", {"gpus": CATALOG})


def test_the_gpu_types_of_a_data_center_cheapest_first_after_one_request(
    root: Path, api: mocking.Mocker
) -> None:
    shown = gpus(root)
    assert (shown.exit_code, shown.stdout) == (0, GOLDEN)
    assert "stock is a hint" in shown.stderr
    assert [sent.query for sent in api.request_history] == [
        "include=availability&product=pod&count=1&cloud=secure&mincudaversion=13.0"
    ]


def test_every_gpu_type_that_is_sold_and_where_it_is_in_stock(root: Path) -> None:
    shown = gpus(root, "--all", "--model", "qwen3vl")
    assert (shown.exit_code, shown.stdout) == (0, ALL)


def test_a_wide_table_has_whole_names_and_every_data_center(root: Path) -> None:
    shown = gpus(root, "--wide", "--all").stdout
    assert "NVIDIA GeForce RTX 4090" in shown
    assert "EU-RO-1 HIGH, US-TX-3 LOW" in shown
    assert shown.splitlines()[0].split()[-1] == "CUDA"


def test_no_table_is_wider_than_80_columns(root: Path, api: mocking.Mocker) -> None:
    long = "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"
    one = offered(long, 96, 12.34, CA_MTL_1="MEDIUM", EU_RO_1="MEDIUM", US_KS_2="LOW")
    api.get(f"{API}/catalog/gpus", json={"gpus": [one, *CATALOG]})
    for options in ([], ["--all"], ["--model", "qwen3vl"], ["--model", "qwen3vl", "--all"]):
        shown = gpus(root, *options).stdout
        assert "RTX PRO 6000 Max-Q" in shown
        assert max(map(len, shown.splitlines())) <= 80


def test_the_same_for_programs(root: Path) -> None:
    said = json.loads(gpus(root, "--model", "qwen3vl", "--json").stdout)
    assert {**said, "gpus": len(said["gpus"])} == {
        "schema": 1,
        "ok": True,
        "command": "gpus",
        "data_center": "EU-RO-1",
        "gpus": 4,
    }
    assert said["gpus"][0]["fit"]["qwen3vl"] == {
        "verdict": "no",
        "kv_tokens": 11_294,
        "context": 11_294,
        "at_once": 0,
        "missing_gib": pytest.approx(3.28, abs=0.01),
        "overhead_gib": 2.0,
        "measured": "",
    }
    assert said["gpus"][2] == {
        "id": "NVIDIA L40S",
        "memory": 48,
        "price": 0.86,
        "stock": {"EU-RO-1": "MEDIUM", "US-KS-2": "HIGH"},
        "cuda_versions": [["13.0", True], ["13.1", True], ["13.2", False]],
        "fit": {
            "qwen3vl": {
                "verdict": "fits",
                "kv_tokens": 202_965,
                "context": 32768,
                "at_once": 6,
                "missing_gib": 0,
                "overhead_gib": 2.5,
                "measured": "",
            }
        },
    }
    assert json.loads(gpus(root, "--all", "--json").stdout)["data_center"] is None


def test_an_unknown_data_center_names_the_nearest(root: Path) -> None:
    shown = gpus(root, "--data-center", "EU-RO-2")
    assert str(shown.exception) == "no data center 'EU-RO-2'"
    assert hint(shown) == "did you mean 'EU-RO-1'?"
    assert "EU-CZ-1" in hint(gpus(root, "--data-center", "mars"))


def test_a_data_center_with_nothing_on_offer_is_no_error_and_points_elsewhere(root: Path) -> None:
    shown = gpus(root, "--data-center", "EU-CZ-1")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "nothing with CUDA 13.0 is on offer in EU-CZ-1; ./podkit.sh gpus --all" in shown.stderr
    assert json.loads(gpus(root, "--data-center", "EU-CZ-1", "--json").stdout)["gpus"] == []


def test_a_price_that_is_not_known_comes_last_and_is_not_taken_for_free(
    root: Path, api: mocking.Mocker
) -> None:
    free = offered("NVIDIA A40", 48, 0.0, EU_RO_1="HIGH")
    api.get(f"{API}/catalog/gpus", json={"gpus": [free, *CATALOG]})
    assert gpus(root).stdout.splitlines()[-1].split()[:4] == ["A40", "48", "GB", "-"]


def test_an_unknown_model_and_a_wrong_key_say_what_to_do(root: Path, api: mocking.Mocker) -> None:
    assert "models: olmocr, qwen3vl" in hint(gpus(root, "--model", "llama"))
    assert not api.called
    api.get(f"{API}/catalog/gpus", **problem(401))
    assert "RUNPOD_API_KEY" in hint(gpus(root))
