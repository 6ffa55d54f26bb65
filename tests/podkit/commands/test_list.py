"""The list of pods, for people and for programs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import requests_mock as mocking

from podkit.commands import list_pods
from podkit.errors import PodkitError
from tests.podkit.commands.desk import Run, account
from tests.podkit.samples import FOREIGN, POD, Clock


def test_the_list_of_pods(api: mocking.Mocker, run: Run) -> None:
    account(api, POD, FOREIGN)
    table = run("list")
    assert table.code == 0
    assert table.err == ""
    assert "abc123def456gh  podkit-olmocr-0a1b2c  container  0.86" in table.out
    assert "    not podkit's" in table.out
    assert "total: $1.72/h" in table.out
    assert "their-secret" not in table.out
    assert f"not ready yet: ./podkit.sh wait {POD['id']}" in table.out
    said = run("list", "--json").json
    assert [pod["phase"] for pod in said["pods"]] == ["container", None]
    assert (said["schema"], said["ok"], said["command"]) == (1, True, "list")
    assert [pod["podkit"] for pod in said["pods"]] == [True, False]
    assert said["pods"][0]["api_url"] == f"https://{POD['id']}-8000.proxy.runpod.net/v1"
    assert said["pods"][0]["webui_url"] == f"https://{POD['id']}-3000.proxy.runpod.net"
    assert said["pods"][1]["api_url"] is None


def test_a_pod_that_reads_a_workspace_is_listed_with_that_and_without_a_page(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, {**POD, "env": {**POD["env"], "PODKIT_WORKSPACE": "volume/archive"}})
    api.get(f"https://{POD['id']}-8000.proxy.runpod.net/health", status_code=200)
    table = run("list").out
    told = "reads volume/archive: ./podkit.sh ocr status --workspace volume/archive"
    assert told in table
    assert "podkit-olmocr-0a1b2c  ready " in table
    assert "webui" not in table


def test_a_list_that_is_watched_is_shown_again_until_it_is_interrupted(
    api: mocking.Mocker, run: Run, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.naps) == 3:
            raise PodkitError("interrupted")

    monkeypatch.setattr(list_pods, "time", SimpleNamespace(sleep=interrupted))
    account(api, POD)
    assert run("list", "--watch").out.count("podkit-olmocr-0a1b2c") == 3
    assert clock.naps == [5.0, 5.0, 5.0]


def test_a_wide_list_has_the_volume_and_the_whole_gpu_type(api: mocking.Mocker, run: Run) -> None:
    account(api, POD)
    row = run("list", "--wide").out.splitlines()[1]
    assert "NVIDIA L40S" in row
    assert row.endswith("EU-RO-1      vol1")


def test_a_list_of_nothing_is_empty_data_and_a_word(api: mocking.Mocker, run: Run) -> None:
    account(api)
    ended = run("list")
    assert (ended.code, ended.out, ended.err) == (0, "", "no pods; ./deploy_olmocr.sh makes one\n")
    assert run("list", "--json").json["pods"] == []
