"""What must hold after a deploy, and after the stop that follows it,
whatever went wrong on the way.
"""

from __future__ import annotations

import re

from podkit_sandbox.catalog import GPUS
from tests.reliability.transport import STOP_COMMAND, Outcome, Plan, Stage

CODES = {0, 1, 2, 75, 129, 130, 143}
LONGEST_SECONDS = 6 * 3600.0
"""Three hosts of three GPU types at 15 minutes each, then a boot that takes its 32 minutes,
and API faults.
"""


def broken_after_deploy(stage: Stage, outcome: Outcome, started: float) -> list[str]:
    """The guarantees that this deploy broke."""
    text = f"{outcome.said}\n{outcome.report}"
    broken = ended_badly(outcome)
    if stage.clock() - started > LONGEST_SECONDS:
        broken.append(f"it took {(stage.clock() - started) / 3600:.1f} hours")
    excused = _unseen_twins(stage, outcome)
    kept = []
    for pod_id, pod in stage.own.items():
        uncertain = may_exist(pod_id, pod.name, text)
        if pod_id in outcome.report:
            kept.append(pod_id)
            if f"${pod.rate:.2f}/h" not in text:
                broken.append(f"the price of {pod_id} is not said")
        elif not uncertain and pod_id not in excused:
            broken.append(f"{pod_id} ({pod.name}) lives and is not mentioned")
        if uncertain or pod_id in excused:
            kept = [other for other in kept if other != pod_id]
    if len(kept) > allowed(stage.plan, outcome):
        broken.append(f"pods beyond the one asked for: {kept}")
    broken += [
        f"{pod_id} costs more than quoted, and is kept"
        for pod_id in kept
        if _dear(stage, outcome, pod_id)
    ]
    return (
        broken
        + _overlapping_creates(stage, outcome)
        + _touched(stage)
        + _second_of_model(stage, outcome)
    )


def broken_after_stop(stage: Stage, outcome: Outcome, wanted: str) -> list[str]:
    """The guarantees that `./stop_pod.sh WANTED` broke."""
    broken = ended_badly(outcome)
    left = [pod_id for pod_id, pod in stage.own.items() if wanted == pod_id]
    if outcome.code == 0 and left:
        broken.append(f"stop said that {left} is gone")
    sure = (
        "MAY STILL BE RUNNING AND BILLED" in outcome.report and "https://console" in outcome.report
    )
    if outcome.code and not sure and (left or "no pod" not in outcome.report):
        broken.append(f"stop left without saying what may still run: {outcome.report}")
    return broken


def commands(outcome: Outcome) -> list[str]:
    """The ids and names for which the deploy printed a stop command."""
    return list(dict.fromkeys(STOP_COMMAND.findall(f"{outcome.report}\n{outcome.said}")))


def ended_badly(outcome: Outcome) -> list[str]:
    broken = [f"unexpected {outcome.crash}"] if outcome.crash else []
    return broken if outcome.code in CODES else [*broken, f"exit code {outcome.code}"]


def allowed(plan: Plan, outcome: Outcome) -> int:
    """How many pods of its own a deploy may knowingly leave."""
    interrupted = outcome.code > 128 and not plan.rm_on_interrupt
    return int(outcome.code == 0 or interrupted or plan.keep_failed)


def may_exist(pod_id: str, name: str, text: str) -> bool:
    return f"named {name} may exist" in text.replace("MAY EXIST", "may exist") or bool(
        re.search(rf"POD {pod_id} .* MAY STILL BE RUNNING", text)
    )


def clear(name: str, outcome: Outcome) -> bool:
    return f"looking for a pod named {name}" not in outcome.said


def _dear(stage: Stage, outcome: Outcome, pod_id: str) -> bool:
    """Whether a deploy that no signal ended should have ended this pod:
    it is over 1 % and 1 cent above its quote.
    """
    pod = stage.account.pods[pod_id]
    quoted = outcome.code <= 128 and "prices and stock are unknown" not in outcome.said
    return quoted and pod.rate > 1.0101 * GPUS[pod.gpu]["price"]["secure"] + 0.01


def _unseen_twins(stage: Stage, outcome: Outcome) -> set[str]:
    """Twins behind a clear 201 that no list showed before the deploy had left, or whose lists
    could not be read, which is said: nobody could know of them.
    """
    listed = set() if "could not sweep up" in outcome.said else stage.listed()
    first = {pod.name: pod.id for pod in reversed(stage.account.pods.values())}
    twins = {pod_id for pod_id, pod in stage.own.items() if first[pod.name] != pod_id}
    return {twin for twin in twins - listed if clear(stage.own[twin].name, outcome)}


def _overlapping_creates(stage: Stage, outcome: Outcome) -> list[str]:
    """Rule 4: a create may be sent only when nothing lives of the deploy's earlier ones,
    but twins never announced.
    """
    broken = []
    for name, alive, interrupted in stage.adapter.creates:
        broken += [f"{name} was created after the signal"] if interrupted else []
        earlier = [stage.account.pods[pod_id] for pod_id in alive - stage.others.keys()]
        names = [pod.name for pod in stage.account.pods.values()]
        alone = [
            pod for pod in earlier if names.count(pod.name) == 1 or not clear(pod.name, outcome)
        ]
        broken += [
            f"{name} was created while {pod.id} ({pod.name}) of this deploy lived" for pod in alone
        ]
    return broken


def _touched(stage: Stage) -> list[str]:
    pods = [stage.account.pods[pod_id] for pod_id in stage.others]
    return [f"somebody else's {pod.name} was touched" for pod in pods if pod.status != "RUNNING"]


def _second_of_model(stage: Stage, outcome: Outcome) -> list[str]:
    """Without --new, and once it has waited,
    a deploy ends on another laptop's older pod instead of its own.
    """
    plan = stage.plan
    blind = "could not look for pods made twice" in outcome.said
    if outcome.code or plan.new or not plan.wait or plan.other_laptop is None or blind:
        return []
    return (
        [f"a second pod of the model: {[*stage.own]}"]
        if stage.own.keys() - _unseen_twins(stage, outcome)
        else []
    )
