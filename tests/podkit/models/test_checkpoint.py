"""What is read of a checkpoint on the Hub, and what is made of it;
the Hub is a server on this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from podkit import ROOT
from podkit.errors import PodkitError, UsageError
from podkit.models.checkpoint import kv_bytes_per_token, read_needs
from podkit.models.fit import Needs
from podkit.models.spec import read_model
from tests.podkit.models.hub import LLAMA, LLAMA_ID, Hub, checkpoint, llama_tensors, shards

QWEN25_VL = {
    **LLAMA,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
}
QWEN3_VL = {
    "text_config": {
        **LLAMA,
        "num_hidden_layers": 36,
        "head_dim": 128,
        "max_position_embeddings": 262_144,
    }
}


def needs(
    hub: Hub, name: str = LLAMA_ID, revision: str | None = None, max_len: int | None = None
) -> tuple[Needs, bool]:
    return read_needs(HfApi(hub.url, token=False), name, revision, max_len)


def test_the_published_weights_of_llama_3_8b_follow_from_its_headers(hub: Hub) -> None:
    """8,030,261,248 parameters of bf16; vLLM's log says that they take 14.96 GiB (vllm-project/vllm
    issue 12330).
    """
    assert (
        sum(rows * (columns[0] if columns else 1) for _, (rows, *columns) in llama_tensors())
        == 8_030_261_248
    )
    found, at_most = needs(hub)
    assert (f"{found.weights_gib:.2f}", at_most) == ("14.96", False)
    assert found == Needs(8_030_261_248 * 2 / 2**30, 131_072, 8192, 0.9)


def test_of_16_gigabytes_only_headers_are_read_by_range(hub: Hub) -> None:
    needs(hub)
    assert sum(file.size for file in hub.repos[LLAMA_ID].values()) > 16e9
    assert hub.sent < 1e6
    ranges = [
        wanted
        for method, path, wanted in hub.asked
        if method == "GET" and path.endswith("-of-00004.safetensors")
    ]
    assert ranges == ["bytes=0-100000"] * 4


def test_a_header_longer_than_the_first_range_is_read_whole(hub: Hub) -> None:
    many: dict[str, tuple[str, tuple[int, ...]]] = {
        f"{'long' * 50}.{number}": ("F8_E4M3", (1024, 1024)) for number in range(1024)
    }
    hub.repos["org/long"] = checkpoint(LLAMA, [many])
    found, _ = needs(hub, "org/long")
    assert found.weights_gib == 1.0
    assert (
        len(
            [
                1
                for method, path, _ in hub.asked
                if method == "GET" and path.endswith(".safetensors")
            ]
        )
        == 2
    )
    assert hub.sent < 1e6


def test_each_type_of_number_counts_as_many_bytes_as_it_has(hub: Hub) -> None:
    hub.repos["org/mixed"] = checkpoint(
        LLAMA, [{"a": ("F8_E4M3", (2**30,)), "b": ("F32", (2**28,)), "c": ("BF16", ())}]
    )
    assert needs(hub, "org/mixed")[0].weights_gib == pytest.approx(2.0)


@pytest.mark.parametrize(("model", "config"), [("olmocr", QWEN25_VL), ("qwen3vl", QWEN3_VL)])
def test_what_podkits_own_models_declare_follows_from_their_architecture(
    hub: Hub, model: str, config: dict[str, Any]
) -> None:
    declared = read_model(ROOT / "startup", model).needs
    hub.repos["org/vl"] = checkpoint(config, shards(1))
    found, _ = needs(hub, "org/vl")
    assert declared
    assert found.kv_bytes_per_token == declared.kv_bytes_per_token
    assert found.utilization == declared.utilization


@pytest.mark.parametrize(
    ("longest", "asked", "taken"),
    [
        (8192, None, 8192),
        (262_144, None, 32_768),
        (262_144, 100_000, 100_000),
        (None, None, 32_768),
    ],
)
def test_the_longest_request_is_the_one_asked_for_or_a_usual_one(
    hub: Hub, longest: int | None, asked: int | None, taken: int
) -> None:
    config = {
        key: value for key, value in {**LLAMA, "max_position_embeddings": longest}.items() if value
    }
    hub.repos["org/long"] = checkpoint(config, [{"a": ("BF16", (9,))}])
    assert needs(hub, "org/long", max_len=asked)[0].max_len == taken


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({**LLAMA, "num_key_value_heads": None}, 4 * 131_072),
        ({key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}, 4 * 131_072),
        ({**LLAMA, "head_dim": None}, 131_072),
        ({**LLAMA, "head_dim": 256}, 2 * 131_072),
        ({**LLAMA, "kv_lora_rank": None}, 131_072),
    ],
)
def test_the_kv_cache_is_counted_per_layer_head_and_element(
    config: dict[str, Any], size: int
) -> None:
    assert kv_bytes_per_token(config) == size


@pytest.mark.parametrize(
    ("extra", "at_most"),
    [
        ({"layer_types": ["full_attention"] * 32}, False),
        ({"layer_types": None}, False),
        ({"layer_types": ["linear_attention", "full_attention"] * 16}, True),
        ({"layer_types": ["sliding_attention"] * 32}, True),
        ({"full_attention_interval": 4}, True),
    ],
)
def test_layers_without_a_full_cache_make_it_an_upper_bound(
    hub: Hub, extra: dict[str, Any], at_most: bool
) -> None:
    hub.repos["org/hybrid"] = checkpoint(
        {"text_config": {**LLAMA, **extra}}, [{"a": ("BF16", (9,))}]
    )
    found, said = needs(hub, "org/hybrid")
    assert (found.kv_bytes_per_token, said) == (131_072, at_most)


@pytest.mark.parametrize(
    "config",
    [
        {},
        [],
        "text",
        {"text_config": [1]},
        {**LLAMA, "kv_lora_rank": 512},
        {**LLAMA, "num_hidden_layers": None},
        {**LLAMA, "num_key_value_heads": [8] * 32},
        {**LLAMA, "num_attention_heads": 0},
        {**LLAMA, "num_hidden_layers": -32},
        {**LLAMA, "hidden_size": "4096"},
        {**LLAMA, "max_position_embeddings": "long"},
        {**LLAMA, "layer_types": [["full_attention"]]},
        {**LLAMA, "num_hidden_layers": 10**400},
    ],
)
def test_a_config_that_does_not_tell_is_an_error_with_a_next_step(hub: Hub, config: Any) -> None:
    hub.repos["org/odd"] = checkpoint(config, [{"a": ("BF16", (9,))}])
    with pytest.raises(PodkitError, match=r"config\.json of org/odd does not tell") as caught:
        needs(hub, "org/odd")
    assert caught.value.hint


def test_weights_of_no_size_are_no_checkpoint(hub: Hub) -> None:
    hub.repos["org/empty"] = checkpoint(LLAMA, [{"a": ("BF16", (0,))}])
    with pytest.raises(PodkitError, match="does not tell"):
        needs(hub, "org/empty")


@pytest.mark.parametrize(
    "name", ["no such id", "a/b/c", "../../etc/passwd", "", "a" * 200, "a/b?x=1", "a/b\n"]
)
def test_what_is_no_id_never_leaves_this_machine(hub: Hub, name: str) -> None:
    with pytest.raises(UsageError, match="is not the id of a checkpoint"):
        needs(hub, name)
    assert hub.asked == []


def without(*names: str) -> dict[str, Any]:
    files = checkpoint(LLAMA, shards(1))
    return {name: file for name, file in files.items() if name not in names}


@pytest.mark.parametrize(
    ("name", "revision", "what", "hint"),
    [
        ("org/none", None, "is not there, or is private", "HF_TOKEN"),
        (LLAMA_ID, "v3", "has no such revision", "--revision"),
        ("org/gated", None, "is gated", "accept its terms"),
        ("org/bare", None, r"has no config\.json", "transformers"),
        ("org/gguf", None, "has no safetensors", "vLLM"),
        ("org/junk", None, r"could not be looked up \(SafetensorsParsingError", "try again"),
    ],
)
def test_each_trouble_with_the_hub_has_its_own_next_step(
    hub: Hub, name: str, revision: str | None, what: str, hint: str
) -> None:
    hub.repos["org/gated"] = hub.repos[LLAMA_ID]
    hub.gated["org/gated"] = "Bearer hf_right"
    hub.repos["org/bare"] = without("config.json")
    hub.repos["org/gguf"] = without("model.safetensors")
    hub.repos["org/junk"] = {**without(), "model.safetensors": without()["config.json"]}
    with pytest.raises(PodkitError, match=f"{name} {what}") as caught:
        needs(hub, name, revision)
    assert hint in caught.value.hint


def test_a_revision_is_the_one_that_is_read(hub: Hub) -> None:
    needs(hub, revision="v2")
    assert {path.split("/")[4] for _, path, _ in hub.asked} == {"v2"}


def test_without_a_network_the_connection_is_named_within_five_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)  # the library would try again for 23 s
    with pytest.raises(PodkitError, match=r"could not be looked up") as caught:
        read_needs(HfApi("http://127.0.0.1:9", token=False), LLAMA_ID, None, None)
    assert "network" in caught.value.hint
    assert sum(naps) < 5
