"""Network volumes that commands make and delete."""

from __future__ import annotations

from collections.abc import Callable

import requests_mock as mocking

from tests.podkit.commands.desk import Run, account, failed
from tests.podkit.samples import API, POD, VOLUME


def test_a_volume_is_made_when_asked_for_and_its_price_told(api: mocking.Mocker, run: Run) -> None:
    account(api, **{"network-volumes": {"json": {"networkVolumes": []}}})
    api.post(f"{API}/network-volumes", status_code=201, json=VOLUME)
    ended = run("volume", "create", "--size", "100")
    assert (ended.code, ended.out) == (0, "vol1\n")
    assert "about $7.00 a month" in ended.err
    assert api.request_history[-1].json() == {
        "name": "podkit",
        "size": 100,
        "dataCenter": "EU-RO-1",
    }


def test_a_volume_of_that_name_is_found_and_none_is_made(api: mocking.Mocker, run: Run) -> None:
    account(api)
    ended = run("volume", "create", "--size", "100")
    assert (ended.code, ended.out) == (0, "vol1\n")
    assert "is there already, nothing was made" in ended.err
    assert {request.method for request in api.request_history} == {"GET"}


def test_a_volume_is_deleted_once_its_name_is_typed(
    api: mocking.Mocker, run: Run, typing: Callable[[str], None]
) -> None:
    account(api)
    at = f"{API}/network-volumes/vol1"
    api.delete(at, status_code=204)
    typing("podkid")
    ended = run("volume", "delete", "vol1")
    assert ended.code == 2
    assert "nothing was deleted" in ended.err
    assert {sent.method for sent in api.request_history} == {"GET"}
    typing("podkit")
    assert run("volume", "delete", "vol1").code == 0
    assert [sent.url for sent in api.request_history if sent.method == "DELETE"] == [at]
    assert run("volume", "delete", "vol1", "--confirm", "podkit").code == 0


def test_a_volume_is_not_deleted_unseen_unknown_or_while_a_pod_uses_it(
    api: mocking.Mocker, run: Run
) -> None:
    account(api)
    ended = failed(run, 2, "volume", "delete", "vol1")
    assert "there is no terminal to ask on" in ended.err
    assert "--confirm podkit" in ended.err
    assert "no network volume 'vol9'" in failed(run, 1, "volume", "delete", "vol9").err
    account(api, POD)
    ended = failed(run, 2, "volume", "delete", "vol1", "--confirm", "podkit")
    assert f"./stop_pod.sh {POD['id']}" in ended.err
    assert {sent.method for sent in api.request_history} == {"GET"}
