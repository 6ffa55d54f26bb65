"""How the pod ends itself, whatever the API answers."""

import ending
import pod_http
import pytest

ENV = {"RUNPOD_POD_ID": "pod1", "RUNPOD_API_KEY": "rp_secret"}


def answering(monkeypatch: pytest.MonkeyPatch, *statuses: int) -> list[str]:
    """What the API is asked, which answers `statuses` in turn to terminate."""
    asked: list[str] = []
    left = iter(statuses)

    def request(url: str, body: dict[str, str], key: str) -> tuple[int, str]:
        assert (url, key) == ("https://api.runpod.io/v2/pods/pod1/action", "rp_secret")
        asked.append(body["action"])
        return 200 if body["action"] == "stop" else next(left), ""

    monkeypatch.setattr(ending, "request", request)
    return asked


@pytest.mark.parametrize("last", [204, 200, 404])
def test_terminate_backs_off_until_the_pod_is_gone(
    monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    asked = answering(monkeypatch, 0, 500, 429, 409, last)
    slept: list[float] = []
    ending.terminate(ENV, slept.append)
    assert asked == ["terminate"] * 5
    assert slept == [5, 10, 20, 40]


def test_terminate_asks_for_a_stop_after_five_failures_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = answering(monkeypatch, *[500] * 7, 204)
    slept: list[float] = []
    ending.terminate(ENV, slept.append)
    assert asked == [*["terminate"] * 5, "stop", *["terminate", "stop"] * 2, "terminate"]
    assert slept[-1] == 60


def test_nobody_there_is_status_0() -> None:
    assert pod_http.request("http://127.0.0.1:9/metrics") == (0, "")
