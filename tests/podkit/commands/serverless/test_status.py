"""`serverless status`, `list`, `env` and `logs`: what there is, and whether it serves."""

from __future__ import annotations

import re

import pytest

from podkit.jobs import Jobs
from tests.podkit.commands.desk import failed
from tests.podkit.commands.serverless.shop import Shop
from tests.podkit.commands.serverless.test_json import DOCUMENTED
from tests.podkit.commands.test_documented_json import field_names
from tests.podkit.samples import KEY

NAME = "translation_endpoint"
SECRET = "hf_the-token"


@pytest.fixture
def served(shop: Shop) -> Shop:
    env = {"PODKIT_SERVICE": NAME, "HF_TOKEN": SECRET}
    shop.cloud.make(env=env, workers={"min": 0, "max": 1, "idleTimeout": 60})
    return shop


def test_every_endpoint_is_listed_with_its_service_and_no_value_of_its_environment(
    served: Shop,
) -> None:
    other = served.cloud.make("other")
    ended = served.done("list", "--json")
    first, second = ended.json["endpoints"]
    assert (first["service"], second["service"]) == (NAME, None)
    assert second["id"] == other
    assert SECRET not in ended.out
    assert other in served.done("list").out


def test_a_status_counts_workers_and_jobs_and_says_whether_it_serves(served: Shop) -> None:
    shown = served.done("status", NAME, "--check").out
    assert "no worker is there, and no job waits" in shown
    served.done("run")
    (told,) = served.done("status", NAME, "--json").json["endpoints"]
    assert told["workers"]["idle"] == 1
    assert told["jobs"]["completed"] == 1
    assert (told["version"], told["rolling_out"]) == (1, False)
    assert told["finding"]["code"] == "serving"


def test_without_a_service_every_endpoint_has_its_status(served: Shop) -> None:
    served.cloud.make("other")
    assert len(served.done("status", "--json").json["endpoints"]) == 2


def test_a_load_balancer_has_a_status_without_jobs(served: Shop) -> None:
    scaling = {"type": "REQUEST_COUNT", "requestCount": 1}
    served.cloud.make("web", type="LOAD_BALANCER", scaling=scaling)
    (told,) = served.done("status", "web", "--json").json["endpoints"]
    assert sum(told["jobs"].values()) == 0
    assert not [sent for sent in served.cloud.sent if str(sent.url).endswith("/health")]


def test_a_check_fails_for_what_cannot_serve_and_names_the_next_command(served: Shop) -> None:
    endpoint = served.cloud.only()
    served.cloud.ask("PATCH", f"/serverless/{endpoint.id}", {"workers": {"max": 0}})
    ended = failed(served.run, 1, "serverless", "status", NAME, "--check")
    assert "TROUBLE: max workers is 0" in ended.out
    assert "./podkit.sh serverless resume translation_endpoint" in ended.err
    shown = failed(served.run, 1, "serverless", "status", NAME, "--check", "--json").json
    assert shown["endpoints"][0]["finding"]["code"] == "paused"
    assert served.verb("status", NAME).code == 0


def test_the_lines_for_a_shell_lead_a_client_to_the_endpoint(served: Shop) -> None:
    ended = served.done("env")
    found = dict(re.findall(r"export (\w+)=(\S+)", ended.out))
    endpoint = served.cloud.only()
    assert found["TRANSLATION_ENDPOINT_ID"] == endpoint.id
    assert found["TRANSLATION_RUN_URL"].endswith(f"/v2/{endpoint.id}/run")
    jobs = Jobs.from_env(
        "TRANSLATION",
        {**found, "RUNPOD_API_KEY": KEY},
        session=served.cloud.session(),
        clock=served.cloud,
        sleep=served.cloud.sleep,
    )
    assert jobs.run({"n": 1}) == {"was": {"n": 1}}


def test_the_lines_of_all_workers_come_with_their_worker_and_of_one_job_alone(
    served: Shop,
) -> None:
    served.done("run")
    (worker,) = served.cloud.only().living()
    now = served.cloud()
    worker.lines += [
        (now, "container", '{"requestId": "j1", "message": "started"}'),
        (now, "container", '{"requestId": "j2", "message": "started"}'),
    ]
    shown = served.done("logs", NAME).out.splitlines()
    assert shown == [f"{worker.id}  {line}" for _, source, line in worker.lines[-2:]]
    assert served.done("logs", "--job", "j2").out.count("\n") == 1
    assert "create container" in served.done("logs", "--system").out
    assert "nothing to show" in served.done("logs", "--job", "unknown").err


VERBS = [
    ("list",),
    ("status", NAME),
    ("run",),
    ("env",),
    ("bench", "--jobs", "3", "--at-once", "1"),
    ("jobs", "submit"),
    ("jobs", "purge", "--yes"),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_field_that_programs_get_is_documented(served: Shop, verb: tuple[str, ...]) -> None:
    shown = served.done(*verb, "--json").json
    shown.pop("output", None)
    for endpoint in shown.get("endpoints", []):
        endpoint.pop("urls")
    assert field_names(shown) <= DOCUMENTED
