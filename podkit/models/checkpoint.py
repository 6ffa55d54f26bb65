"""What a checkpoint on the Hugging Face Hub needs of a GPU, from its config and the headers of its
weights.

For a model that no startup script declares. A few hundred kilobytes are read, never the weights,
and none of the repository's code is run. The id and all that is read are others' text: what cannot
be understood is an error here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, errors, hf_hub_url
from huggingface_hub.utils.tqdm import disable_progress_bars

from podkit.errors import PodkitError, UsageError
from podkit.models.fit import GIB, Needs

UTILIZATION = 0.90
"""The share of GPU memory that vLLM may take, as podkit's own startup scripts declare it."""
USUAL_LENGTH = 32_768
"""Tokens of the longest request if none is asked for and the config allows more."""
LOOK_UP_SECONDS = 5.0
"""How long the Hub may take to say whether the checkpoint is there. The library itself would try
again for 23 s without a network."""
QUANTIZED = "base_model:quantized:"
"""The Hub's own tag of a checkpoint whose card names its base, and that this one quantizes."""
KINDS = ("fp8", "awq", "gptq")
"""What vLLM loads of those, by their tags on the Hub."""
MOST_SIBLINGS = 5
REASONS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        errors.HFValidationError,
        "is not the id of a checkpoint",
        "one reads like Qwen/Qwen3-VL-8B-Instruct",
    ),
    (
        errors.GatedRepoError,
        "is gated",
        "accept its terms on its page, and put your Hugging Face token into HF_TOKEN",
    ),
    (
        errors.RepositoryNotFoundError,
        "is not there, or is private",
        "check the id; for a private one set HF_TOKEN",
    ),
    (
        errors.RevisionNotFoundError,
        "has no such revision",
        "leave out --revision for the newest one",
    ),
    (
        errors.RemoteEntryNotFoundError,
        "has no config.json",
        "name a checkpoint in the form that transformers reads",
    ),
    (
        errors.NotASafetensorsRepoError,
        "has no safetensors weights",
        "name one that has: vLLM loads them",
    ),
    (
        Exception,
        "could not be looked up",
        "check the network connection and HF_TOKEN, then try again",
    ),
)


def read_needs(
    api: HfApi, name: str, revision: str | None, max_len: int | None
) -> tuple[Needs, bool]:
    """The needs of checkpoint `name` for requests of `max_len` tokens, and whether its KV cache may
    be smaller.

    Without `max_len`: what the config allows, at most 32,768. Weights are counted as they are
    stored. Raises UsageError for what is no id, and PodkitError for a checkpoint that cannot be
    read or judged.
    """
    try:
        url = hf_hub_url(name, "config.json", revision=revision, endpoint=api.endpoint)
        api.get_hf_file_metadata(url=url, timeout=LOOK_UP_SECONDS)
        config = Path(api.hf_hub_download(name, "config.json", revision=revision)).read_bytes()
        files = api.get_safetensors_metadata(name, revision=revision).files_metadata.values()
    except Exception as error:  # the library lets those of its HTTP client through
        raise _failure(name, error) from None
    try:
        told = json.loads(config)
        text = told.get("text_config") or told
        length = max_len or _allowed_length(text)
        needs = Needs(_weights_gib(files), kv_bytes_per_token(text), length, UTILIZATION)
        return needs, _is_partial(text)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        what = f"the config.json of {name} does not tell the size of its KV cache"
        hint = "work it out by hand from its architecture; CLAUDE.md says where the numbers go"
        raise PodkitError(what, hint) from None


@dataclass(frozen=True)
class Sibling:
    """Another checkpoint of the same weights: its id, how they are stored, its downloads in the
    last month.
    """

    name: str
    kind: str
    downloads: int


def quantized_siblings(api: HfApi, name: str) -> list[Sibling]:
    """What the Hub says to be the same model in fewer bits, the most downloaded first.

    By the relations that the checkpoints' own cards declare, never by their names. Nothing takes
    the place of the checkpoint that was asked for. Empty if the Hub does not say.
    """
    try:
        tags = api.model_info(name, expand=["tags"], timeout=LOOK_UP_SECONDS).tags or []
        base = name
        for tag in tags:
            if tag.startswith(QUANTIZED):
                base = tag.removeprefix(QUANTIZED)
        relation = f"{QUANTIZED}{base}"
        related = api.list_models(
            filter=relation, sort="downloads", limit=50, expand=["tags", "downloads"]
        )
        found = [_sibling(one.id, one.tags or [], one.downloads or 0, relation) for one in related]
    except Exception:  # the library lets those of its HTTP client through
        return []
    return [one for one in found if one and one.name != name][:MOST_SIBLINGS]


def _sibling(name: str, tags: Sequence[str], downloads: int, relation: str) -> Sibling | None:
    kinds = [kind for kind in KINDS if kind in tags]
    if not kinds or relation not in tags or "gguf" in tags:
        return None
    return Sibling(name, kinds[0], downloads)


def kv_bytes_per_token(config: Mapping[str, Any]) -> int:
    """Bytes of KV cache per token: a key and a value of 2 bytes per element, in every layer.

    `config` is that of the language model. Raises LookupError, TypeError or ValueError where it
    says something else: a latent cache (MLA, `kv_lora_rank`) is not made of keys and values per
    head.
    """
    if config.get("kv_lora_rank"):
        raise ValueError("a latent KV cache")
    layers = index(config["num_hidden_layers"])
    heads = index(config["num_attention_heads"])
    size = config.get("head_dim") or index(config["hidden_size"]) // heads
    return 2 * 2 * layers * index(config.get("num_key_value_heads") or heads) * index(size)


def _failure(name: str, error: Exception) -> PodkitError:
    """What a failed look-up means, by the first of REASONS that applies."""
    _, what, hint = next(row for row in REASONS if isinstance(error, row[0]))
    message = f"{name} {what} ({type(error).__name__})"
    if isinstance(error, errors.HFValidationError):
        return UsageError(message, hint)
    return PodkitError(message, hint)


def _allowed_length(config: Mapping[str, Any]) -> int:
    return min(index(config.get("max_position_embeddings", USUAL_LENGTH)), USUAL_LENGTH)


def _is_partial(config: Mapping[str, Any]) -> bool:
    """Whether some layers keep less than a full KV cache."""
    kinds = set(config.get("layer_types") or ())
    return bool(kinds - {"full_attention"}) or "full_attention_interval" in config


def _weights_gib(files: Iterable[Any]) -> float:
    total = 0
    for file in files:
        for tensor in file.tensors.values():
            start, end = tensor.data_offsets
            total += end - start
    return total / GIB


def open_hub(token: str) -> HfApi:
    """A client of the Hub. A token that only pods can read is not sent: a secret of the account."""
    disable_progress_bars()
    is_readable = token and "{{" not in token
    return HfApi(token=token if is_readable else False)
