"""runpod-config.json: what is taken, what is said of what is not, and where secrets stay."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import podkit
from podkit.errors import UsageError
from podkit.secret import Secret
from podkit.serverless import problems
from podkit.serverless.config import (
    Service,
    choose_service,
    expand_env,
    missing_variables,
    parse_config,
)
from tests.podkit.serverless.configs import BLOCK, BROKEN, BROKEN_OTHERWISE, CPU, GOOD, block

SCHEMA = Path(problems.__file__).with_name("runpod-config.schema.json")
ALL_BROKEN = {**BROKEN, **BROKEN_OTHERWISE}


def parsed(document: Any, **options: Any) -> dict[str, Service]:
    return parse_config(json.dumps(document), **options)


def problems_of(document: Any, **options: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parsed(document, **options)
    found: list[str] = caught.value.fields["problems"]
    assert all(line in caught.value.message for line in found)
    return found


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_a_config_in_order_is_taken(document: dict[str, Any]) -> None:
    assert len(parsed(document)) == sum(
        "endpoint_name" in one for one in document.values() if isinstance(one, dict)
    )


@pytest.mark.parametrize(("document", "sentence"), ALL_BROKEN.values(), ids=ALL_BROKEN)
def test_a_broken_config_is_refused_with_one_sentence_that_names_the_field(
    document: dict[str, Any], sentence: str
) -> None:
    (found,) = [one for one in problems_of(document) if one.startswith(sentence)]
    assert found


def test_all_problems_are_told_at_once_and_no_value_with_them() -> None:
    secret = {"A": "${FIRST}", "PODKIT_B": "the-secret", "C": ["the-secret"]}
    document = {
        "a": block("image", idle_timout=1, env=secret),
        "b": {"extends": "a", "endpoint_name": "b", "scaling": {"max_workers": -1}},
        "c": {"extends": "z"},
    }
    found = problems_of(document)
    assert found == [
        "a.idle_timout is no field; did you mean idle_timeout?",
        "a.image is missing",
        "a.env.PODKIT_B is no name for a variable: letters, digits and _; "
        "PODKIT_ and RUNPOD_ names are reserved",
        "a.env.C must be a text, in quotes",
        "b.scaling.max_workers must be at least 0",
        "c.extends names no block of this file",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "the file is no JSON"),
        ("[]", "the file must be a block"),
        ('{"a": {"cpu": NaN}}', "the file is no JSON: NaN"),
        ('{"a": {"image": "a:1", "image": "b:1"}}', "image is there twice"),
        ("[" * 100_000, "the file is nested too deeply"),
    ],
)
def test_what_is_no_json_or_says_a_thing_twice_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_config(text)


def test_fields_that_are_left_out_have_their_defaults() -> None:
    service = parsed({"a": {"endpoint_name": "t", "image": "t:1", "cpu": CPU}})["a"]
    assert (service.min_workers, service.max_workers, service.queue_delay) == (0, 3, 4)
    assert (service.idle_timeout, service.execution_timeout, service.disk_gb) == (5, 300, 10)
    assert (service.flashboot, service.env, service.registry) == (True, {}, "")


def test_the_published_defaults_are_those_that_hold() -> None:
    service = parsed({"a": {"endpoint_name": "t", "image": "t:1", "cpu": CPU}})["a"]
    fields = problems.SCHEMA["$defs"]["block"]["properties"]
    told = {**fields, **fields["scaling"]["properties"]}
    defaults = {name: one["default"] for name, one in told.items() if "default" in one}
    assert defaults == {name: getattr(service, name) for name in defaults}


def test_a_variant_says_only_what_differs() -> None:
    base = block(env={"A": "1", "B": "2"}, scaling={"min_workers": 1, "max_workers": 2})
    variant = {
        "extends": "base",
        "endpoint_name": "small",
        "cpu": CPU,
        "scaling": {"max_workers": 4},
        "env": [{"key": "B", "value": "3"}],
    }
    found = parsed({"base": base, "small": variant})["small"]
    assert (found.image, found.min_workers, found.max_workers) == (BLOCK["image"], 1, 4)
    assert found.env == {"A": "1", "B": "3"}
    assert (found.gpu_types, found.cpu[0].vcpu) == ((), 4)


def test_variables_are_filled_in_from_the_environment_and_are_secret_from_then_on() -> None:
    env = {"TOKEN": "Bearer ${HF_TOKEN}", "PLAIN": "x", "KEPT": "{{ RUNPOD_SECRET_hf }}"}
    service = parsed({"a": block(env=env)})["a"]
    filled = expand_env("a", service.env, {"HF_TOKEN": "hf_the-token"})
    assert filled == {"TOKEN": Secret("Bearer hf_the-token"), "PLAIN": "x", "KEPT": env["KEPT"]}
    assert "hf_the-token" not in repr(filled)
    assert "HF_TOKEN" not in repr(service)


@pytest.mark.parametrize("environment", [{}, {"HF_TOKEN": ""}])
def test_a_variable_that_is_not_set_is_a_problem_of_the_block_that_needs_it(
    environment: dict[str, str],
) -> None:
    document = {"a": BLOCK, "b": block(endpoint_name="b", env={})}
    sentence = "a.env.HF_TOKEN needs HF_TOKEN, which is not set in the environment or .env"
    assert problems_of(document, environment=environment) == [sentence]
    services = parsed(document, environment=environment, block="b")
    assert missing_variables("a", services["a"].env, environment) == [sentence]
    with pytest.raises(UsageError, match=sentence):
        expand_env("a", services["a"].env, environment)


def test_a_service_is_named_or_the_only_one() -> None:
    services = parsed({"first": BLOCK, "second": block(endpoint_name="b")})
    assert choose_service(services, "second").endpoint_name == "b"
    with pytest.raises(UsageError, match=r"no service secnd; did you mean second\?"):
        choose_service(services, "secnd")
    with pytest.raises(UsageError, match="which service"):
        choose_service(services)
    assert choose_service({"first": services["first"]}).block == "first"


@pytest.mark.parametrize(
    ("image", "warned"),
    [
        ("ghcr.io/me/t:1", False),
        ("ghcr.io/me/t@sha256:0a", False),
        ("ghcr.io/me/t:latest", True),
        ("localhost:5000/t", True),
        ("t", True),
    ],
)
def test_an_image_that_may_change_under_its_name_is_warned_of(image: str, warned: bool) -> None:
    assert bool(parsed({"a": block(image=image)})["a"].warnings) == warned


def test_editors_and_check_jsonschema_judge_a_file_as_podkit_does(tmp_path: Path) -> None:
    documents = [*GOOD.values(), *(document for document, _ in BROKEN.values())]
    files = []
    for number, document in enumerate(documents):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(document))
    command = [sys.executable, "-m", "check_jsonschema", "-o", "json", "--schemafile", str(SCHEMA)]
    ended = subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, check=False
    )
    said = json.loads(ended.stdout)
    refused = {Path(error["filename"]).name for error in said["errors"]}
    assert said.get("parse_errors", []) == []
    assert refused == {f"{number}.json" for number in range(len(GOOD), len(documents))}


def test_every_field_of_a_block_is_in_the_documents_table() -> None:
    text = (podkit.ROOT / "docs/serverless.md").read_text(encoding="utf-8")
    table = text.split("## The config")[1].split("\n## ")[0]
    fields = problems.SCHEMA["$defs"]["block"]["properties"]
    assert {*fields} <= {*re.findall(r"`(\w+)`", table)}


def test_the_config_of_a_bare_clone_is_in_order_and_its_paths_are_there() -> None:
    file = podkit.ROOT / "runpod-config.json"
    service = parse_config(file.read_text(encoding="utf-8"))["translation_endpoint"]
    assert service.warnings == []
    assert (podkit.ROOT / service.test_payload).is_file()
    assert (podkit.ROOT / service.worker_folder / "src/handler.py").is_file()
    assert service.licence
