"""Scripted faults: each one does what docs/sandbox.md says."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from podkit_sandbox.account import Cut, Scenario
from podkit_sandbox.scenario import FAULTS
from tests.sandbox.sandboxes import Paper, request_for

Faulty = Callable[..., Paper]


@pytest.mark.parametrize(
    "status", ["400", "401", "402", "403", "404", "413", "422", "429", "500", "502", "503"]
)
def test_an_http_error_comes_before_the_effect_and_as_often_as_asked(
    faulty: Faulty, status: str
) -> None:
    paper = faulty(
        "POST /pods", status, times=1, after=1, detail="because", errors=["$.x"], retry_after=7
    )
    paper.create()
    answer = paper.call("POST", "/pods", request_for())
    problem = json.loads(answer.body)
    assert (answer.status, problem["status"], problem["detail"]) == (
        int(status),
        int(status),
        "because",
    )
    assert answer.headers["Retry-After"] == "7"
    assert len(paper.account.pods) == 1
    paper.create()


@pytest.mark.parametrize("fault", ["500", "502", "503", "html502"])
def test_a_5xx_can_come_after_the_effect(faulty: Faulty, fault: str) -> None:
    paper = faulty("POST /pods", fault, effect=True)
    assert paper.call("POST", "/pods", request_for()).status >= 500
    assert len(paper.account.pods) == 1


def test_the_edge_answers_html(faulty: Faulty) -> None:
    for fault, status in (("html403", 403), ("html502", 502)):
        answer = faulty("*", fault).call("GET", "/pods")
        assert answer.status == status
        assert "text/html" in answer.headers["Content-Type"]


@pytest.mark.parametrize(("fault", "pods"), [("reset-before", 0), ("reset-after", 1)])
def test_a_reset_comes_before_or_after_the_effect(faulty: Faulty, fault: str, pods: int) -> None:
    paper = faulty("POST /pods", fault)
    with pytest.raises(Cut):
        paper.call("POST", "/pods", request_for())
    assert len(paper.account.pods) == pods


def test_an_answer_can_be_late_cut_in_half_or_no_json(faulty: Faulty) -> None:
    assert faulty("GET /pods", "delay", seconds=3).call("GET", "/pods").delay == 3
    half = faulty("POST /pods", "truncate").call("POST", "/pods", request_for())
    assert (half.status, int(half.headers["Content-Length"]) // 2) == (201, len(half.body))
    garbage = faulty("POST /pods", "garbage").call("POST", "/pods", request_for())
    assert garbage.status == 201
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(garbage.body)


def test_a_new_pod_can_be_missing_for_a_while(faulty: Faulty) -> None:
    paper = faulty("POST /pods", "list-lag", seconds=5)
    path = f"/pods/{paper.create()['id']}"
    assert paper.json("GET", "/pods")["pods"] == []
    assert paper.call("GET", path).status == 404
    paper.clock.now += 5
    assert len(paper.json("GET", "/pods")["pods"]) == 1
    assert paper.call("GET", path).status == 200


def test_a_create_can_make_twins_of_which_one_shows_late(faulty: Faulty) -> None:
    paper = faulty("POST /pods", "twin", seconds=5)
    name = paper.create()["name"]
    assert [pod["name"] for pod in paper.json("GET", "/pods")["pods"]] == [name]
    paper.clock.now += 5
    assert [pod["name"] for pod in paper.json("GET", "/pods")["pods"]] == [name, name]


def test_a_stuck_pod_has_no_runtime_and_may_show_an_image_pull(faulty: Faulty) -> None:
    paper = faulty("POST /pods", "stuck", seconds=600, pulling=True)
    path = f"/pods/{paper.create()['id']}"
    paper.clock.now += 300
    assert (paper.json("GET", path)["status"], paper.json("GET", path)["runtime"]) == (
        "RUNNING",
        None,
    )
    assert paper.call("GET", f"{path}/logs?source=system").body.count(b"pulling image") == 15
    paper.clock.now += 310
    assert paper.json("GET", path)["runtime"]["uptime"] == 10
    for_ever = faulty("POST /pods", "stuck")
    path = f"/pods/{for_ever.create()['id']}"
    for_ever.clock.now += 1e6
    assert for_ever.json("GET", path)["runtime"] is None


def test_a_crash_loop_shows_as_falling_uptime_and_repeated_system_lines(faulty: Faulty) -> None:
    paper = faulty("POST /pods", "crash-loop", seconds=10)
    path = f"/pods/{paper.create()['id']}"
    paper.clock.now += 19
    assert paper.json("GET", path)["runtime"]["uptime"] == 9
    paper.clock.now += 12
    assert paper.json("GET", path)["runtime"]["uptime"] == 1
    assert paper.call("GET", f"{path}/logs").body.count(b"exited") == 3


def test_a_container_can_restart_once(faulty: Faulty) -> None:
    paper = faulty("POST /pods", "restart", seconds=10)
    path = f"/pods/{paper.create()['id']}"
    paper.clock.now += 100
    assert paper.json("GET", path)["runtime"]["uptime"] == 90
    assert paper.call("GET", f"{path}/logs").body.count(b"exited") == 1


def test_price_and_clock_can_be_other_than_expected(faulty: Faulty) -> None:
    assert faulty("POST /pods", "price", factor=2).create()["cost"] == 1.72
    usual = Paper().call("GET", "/pods")
    skewed = faulty("*", "clock-skew", seconds=86_400).call("GET", "/pods")
    assert usual.headers["Date"] != skewed.headers["Date"]


def test_a_read_can_be_answered_by_a_redirect_a_timeout_or_a_friendly_page(faulty: Faulty) -> None:
    redirect = faulty("GET /pods", "302").call("GET", "/pods")
    assert (redirect.status, redirect.headers["Location"]) == (302, "/login")
    assert faulty("GET /pods", "408").call("GET", "/pods").status == 408
    page = faulty("GET /pods", "html200").call("GET", "/pods")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=UTF-8")


def test_a_date_can_be_absurd_or_wrong_on_error_pages_alone(faulty: Faulty) -> None:
    absurd = faulty("*", "date", text="Mon, 32 Foo 9999").call("GET", "/pods")
    assert absurd.headers["Date"] == "Mon, 32 Foo 9999"
    once = {"call": "*", "times": 1}
    year = {**once, "fault": "clock-skew", "seconds": 31_536_000}
    paper = Paper({"rules": [{**once, "fault": "html502"}, year]})
    page = paper.call("GET", "/pods")
    assert page.status == 502
    assert "2027" in page.headers["Date"]
    assert "2026" in paper.call("GET", "/pods").headers["Date"]


def test_a_list_can_hold_what_others_made_in_any_shape(faulty: Faulty) -> None:
    paper = faulty("GET /pods", "foreign")
    paper.create()
    assert [pod["name"] for pod in paper.json("GET", "/pods")["pods"]] == ["", "podkit-test-000001"]
    odd = faulty("GET /pods", "foreign", items=[{}, 7, None])
    assert odd.json("GET", "/pods")["pods"] == [{}, 7, None]


def test_a_delete_can_answer_404_while_the_pod_lives(faulty: Faulty) -> None:
    paper = faulty("DELETE /pods/{id}", "404", times=1)
    path = f"/pods/{paper.create()['id']}"
    assert paper.call("DELETE", path).status == 404
    assert paper.call("GET", path).status == 200
    assert paper.call("DELETE", path).status == 204


def test_a_host_can_have_a_runtime_of_uptime_0_for_hours(faulty: Faulty) -> None:
    paper = faulty("POST /pods", "zero-uptime")
    path = f"/pods/{paper.create()['id']}"
    paper.clock.now += 23 * 3600
    assert paper.json("GET", path)["runtime"] == {"uptime": 0, "ports": []}
    assert b"exited" in paper.call("GET", f"{path}/logs").body


def test_an_image_pull_can_fail_again_and_again(faulty: Faulty) -> None:
    paper = faulty("POST /pods", "pull-failed", seconds=60)
    path = f"/pods/{paper.create()['id']}"
    paper.clock.now += 59
    assert paper.json("GET", path)["runtime"] is None
    assert paper.call("GET", f"{path}/logs").body.count(b"error pulling image") == 2
    paper.clock.now += 2
    assert paper.json("GET", path)["runtime"]["uptime"] == 1


@pytest.mark.parametrize(("when", "pods"), [("before", 0), ("after", 1)])
def test_a_signal_reaches_the_process_of_the_pid_file(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, pods: int
) -> None:
    sent = []
    file = tmp_path / "pid"
    file.write_text("4711\n")
    paper = faulty("POST /pods", "signal", signal="SIGTERM", pid_file=str(file), when=when)
    monkeypatch.setattr("os.kill", lambda *kill: sent.append((*kill, len(paper.account.pods))))
    paper.create()
    assert sent == [(4711, signal.SIGTERM, pods)]
    file.unlink()
    paper.create()


def test_a_rule_can_be_about_one_gpu_type_only(faulty: Faulty) -> None:
    paper = faulty("POST /pods", "500", gpu="NVIDIA A40")
    paper.create()
    assert (
        faulty("POST /pods", "500", gpu="NVIDIA L40S").call("POST", "/pods", request_for()).status
        == 500
    )


def test_the_same_seed_gives_the_same_faults() -> None:
    rules = [{"call": "GET /pods", "fault": "500", "probability": 0.5}]
    runs = []
    for seed in (1, 1, 2):
        paper = Paper({"seed": seed, "rules": rules})
        runs.append([paper.call("GET", "/pods").status for _ in range(50)])
    assert runs[0] == runs[1] != runs[2]
    assert 10 < runs[0].count(500) < 40


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"bogus": 1},
        {"rules": [{"call": "GET /pods", "fault": "418"}]},
        {"rules": [{"call": "*", "fault": "500", "time": 1}]},
        {"rules": [{"call": "*", "fault": "signal", "signal": "SIGNOTHING"}]},
    ],
)
def test_a_scenario_that_cannot_be_meant_is_refused(content: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Scenario.parse(content)


def test_every_fault_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    assert [fault for fault in sorted(FAULTS) if f"`{fault}`" not in text] == []
