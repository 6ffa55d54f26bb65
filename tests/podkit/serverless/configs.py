"""Configs that are in order, and broken ones with what is said of each."""

from __future__ import annotations

from typing import Any

BLOCK: dict[str, Any] = {
    "endpoint_name": "translation",
    "description": "French and Mooré",
    "image": "ghcr.io/me/translation:3f2a1b",
    "gpu_types": ["NVIDIA RTX A4000", "NVIDIA RTX A6000"],
    "scaling": {"min_workers": 0, "max_workers": 1},
    "idle_timeout": 5,
    "execution_timeout": 90,
    "env": [
        {"key": "HF_TOKEN", "value": "${HF_TOKEN}"},
        {"key": "RUNPOD_INIT_TIMEOUT", "value": "800"},
    ],
}
CPU = [{"flavor": "cpu5c", "vcpu": 4}]


def block(*without: str, **changes: Any) -> dict[str, Any]:
    """The sample block with some of its fields changed, or left out."""
    return {name: value for name, value in {**BLOCK, **changes}.items() if name not in without}


GOOD: dict[str, dict[str, Any]] = {
    "a block of every usual field": {"$schema": "x.json", "translation_endpoint": BLOCK},
    "no block": {},
    "cpu": {"a": block("gpu_types", cpu=CPU)},
    "pools": {"a": block("gpu_types", gpu_pools=["ADA_24"], gpu_excluded=[], min_cuda="12.8")},
    "env as a table": {"a": block(env={"A": "1", "B": "{{ RUNPOD_SECRET_b }}"})},
    "requests": {"a": block("idle_timeout", scaling={"requests_per_worker": 2})},
    "priority": {"a": block(flashboot="priority")},
    "a variant": {"a": BLOCK, "b": {"extends": "a", "endpoint_name": "b"}},
    "a base": {
        "base": {"image": "a:1", "cpu": CPU},
        "b": {"extends": "base", "endpoint_name": "b"},
    },
}
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt field": (
        {"a": block(idle_timout=5)},
        "a.idle_timout is no field; did you mean idle_timeout?",
    ),
    "a misspelt inner field": (
        {"a": block(scaling={"max_worker": 1})},
        "a.scaling.max_worker is no field; did you mean max_workers?",
    ),
    "no image": ({"a": block("image")}, "a.image is missing"),
    "a number for a text": ({"a": block(image=3)}, "a.image must be an image"),
    "spaces": ({"a": block(image="a b:1")}, "a.image must be an image"),
    "a text for a number": (
        {"a": block(scaling={"max_workers": "1"})},
        "a.scaling.max_workers must be a whole number",
    ),
    "no compute": ({"a": block("gpu_types")}, "a needs exactly one of gpu_types"),
    "two kinds of compute": ({"a": block(cpu=CPU)}, "a needs exactly one of gpu_types"),
    "no power of two": (
        {"a": block("gpu_types", cpu=[{"flavor": "cpu5c", "vcpu": 6}])},
        "a.cpu.0.vcpu must be one of 2, 4, 8",
    ),
    "too long idle": ({"a": block(idle_timeout=3601)}, "a.idle_timeout must be at most 3600"),
    "too short a job": (
        {"a": block(execution_timeout=1)},
        "a.execution_timeout must be at least 5",
    ),
    "idle with requests": (
        {"a": block(scaling={"requests_per_worker": 2})},
        "a has idle_timeout, which does not apply with scaling.requests_per_worker",
    ),
    "both scalings": (
        {"a": block("idle_timeout", scaling={"requests_per_worker": 2, "queue_delay": 4})},
        "a.scaling must not have both",
    ),
    "exclusions alone": ({"a": block(gpu_excluded=["X"])}, "a has gpu_excluded, which holds for"),
    "one type twice": ({"a": block(gpu_types=["X", "X"])}, "a.gpu_types names one thing twice"),
    "no type": ({"a": block(gpu_types=[])}, "a.gpu_types must not be empty"),
    "flashboot": (
        {"a": block(flashboot="fast")},
        'a.flashboot must be one of true, false, "priority"',
    ),
    "a reserved name": (
        {"a": block(env={"RUNPOD_POD_ID": "x"})},
        "a.env.RUNPOD_POD_ID is no name for a variable",
    ),
    "a reserved name in a list": (
        {"a": block(env=[{"key": "PODKIT_X", "value": "x"}])},
        "a.env.0.key is no name for a variable",
    ),
    "a number in env": ({"a": block(env={"N": 5})}, "a.env.N must be a text, in quotes"),
    "no value": ({"a": block(env=[{"key": "N"}])}, "a.env.0.value is missing"),
    "a stray field": ({"version": 1}, "version must be a block in { }"),
    "no cuda version": ({"a": block(min_cuda="12")}, "a.min_cuda must be a CUDA version"),
}
"""What the schema itself refuses."""
BROKEN_OTHERWISE: dict[str, tuple[dict[str, Any], str]] = {
    "min over max": (
        {"a": block(scaling={"min_workers": 2, "max_workers": 1})},
        "a.scaling.min_workers is more than max_workers",
    ),
    "min over the default max": (
        {"a": block(scaling={"min_workers": 4})},
        "a.scaling.min_workers is more than max_workers",
    ),
    "an unknown base": (
        {"base": BLOCK, "a": {"extends": "bas", "endpoint_name": "a"}},
        "a.extends names no block of this file; did you mean base?",
    ),
    "a circle": (
        {"a": block(extends="b"), "b": block(extends="a")},
        "a.extends goes in a circle: a -> b -> a",
    ),
    "a name of two": (
        {"a": BLOCK, "b": {"extends": "a", "image": "b:1"}},
        "b.endpoint_name is that of a",
    ),
    "no name": ({"a": block("endpoint_name")}, "a.endpoint_name is missing"),
    "a variant that lacks compute": (
        {"base": {"image": "a:1"}, "b": {"extends": "base", "endpoint_name": "b"}},
        "b needs exactly one of gpu_types",
    ),
    "a variable twice": (
        {"a": block(env=[{"key": "A", "value": "1"}, {"key": "A", "value": "2"}])},
        "a.env names one variable twice",
    ),
    "an open variable": ({"a": block(env={"A": "${HF"})}, "a.env.A has a ${ that is not ${NAME}"),
    "a variable elsewhere": (
        {"a": block(command=["${X}"])},
        "a.command has ${NAME}, which is filled in only in env",
    ),
}
"""What only podkit refuses: rules that the schema does not express."""
