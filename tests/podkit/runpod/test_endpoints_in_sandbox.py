"""The calls about serverless endpoints, against the sandbox's control plane through a socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from podkit import errors
from podkit.runpod.client import RunpodClient
from podkit.runpod.http import growing_backoff
from podkit.runpod.session import bounded_session
from podkit.secret import Secret
from podkit_sandbox import control

pytestmark = pytest.mark.slow

BODY = {
    "name": "translation",
    "type": "QUEUE",
    "image": "ghcr.io/me/translation:1",
    "gpu": {"pools": ["AMPERE_48"], "excludedTypes": ["NVIDIA A40"]},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
}


@pytest.fixture
def account(tmp_path: Path) -> Iterator[RunpodClient]:
    connection = control.start(tmp_path)
    yield RunpodClient(
        bounded_session(),
        connection.api_url,
        Secret(connection.api_key),
        clock=lambda: datetime.now(UTC).timestamp(),
        sleep=lambda _seconds: None,
        backoff=growing_backoff(lambda: 0.0),
    )
    control.stop(tmp_path)


def test_an_endpoint_lives_and_changes_under_one_id(account: RunpodClient) -> None:
    made = account.create_endpoint(BODY)
    assert made.urls["run"].endswith(f"/v2/{made.id}/run")
    assert account.list_endpoints() == [made] == [account.get_endpoint(made.id)]

    changed = account.change_endpoint(made.id, {"image": "ghcr.io/me/translation:2"})
    assert (changed.id, changed.settings["image"]) == (made.id, "ghcr.io/me/translation:2")
    newest = account.list_releases(made.id)[0]
    assert [change.name for change in newest.changes] == ["template.imageName"]
    rollout = account.get_rollout(made.id)
    assert (rollout.version, rollout.in_progress, rollout.workers) == (2, False, 0)

    assert account.list_workers(made.id) == []
    with pytest.raises(errors.NotFound):
        list(account.worker_log(made.id, "none", "container", 10))
    a6000 = next(gpu for gpu in account.list_worker_gpus() if gpu.id == "NVIDIA RTX A6000")
    assert (a6000.pool, bool(a6000.price)) == ("AMPERE_48", True)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    charges = account.list_endpoint_charges(yesterday)
    assert {charge.endpoint_id for charge in charges} <= {made.id}

    account.delete_endpoint(made.id)
    with pytest.raises(errors.NotFound):
        account.get_endpoint(made.id)
