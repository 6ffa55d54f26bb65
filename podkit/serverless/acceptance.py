"""Whether a deployed service does what it promises: real jobs, a verdict for each promise.

The promises are those of services/. No check knows a translation: it looks at form, number, order
and errors, so that it holds for any model. It never spends more than it is allowed.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from podkit.errors import ApiError, Interrupted, PodkitError, UsageError
from podkit.jobs import JobCancelled, JobFailed, JobProblem, Jobs, JobState, SubmitUnclear
from podkit.serverless.timing import time_jobs

AT_ONCE = 20
OK = "ok"
FAILED = "failed"
SKIPPED = "skipped"
NO_LANGUAGE = "zzz_Zzzz"
FRENCH = ("fra_Latn", "fr", "fra")
SENTENCES = "Le marché ouvre à huit heures. Les enfants vont à l'école. Il pleut ce soir."
"""Three, for a service from French; of another language the test input is taken three times."""
DEFAULT_SENTENCE = "Bonjour."


class Unmet(Exception):
    """What a check expected, and got instead; never a text that was sent or given."""


class NotTried(Exception):
    """Why a check says nothing."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check: ok, failed or skipped; how long it took, and what was seen."""

    name: str
    outcome: str
    seconds: float
    detail: str


@dataclass(frozen=True)
class Trial:
    """What checks work with: the jobs, the service's test input, the time of a job, and the clock.

    `model` are the repository and revision that the config names, as far as it does. `follow` gives
    what is shown the states of the next job.
    """

    jobs: Jobs
    payload: Mapping[str, Any]
    timeout: float
    clock: Callable[[], float]
    model: Mapping[str, str]
    follow: Callable[[], Callable[[JobState], None]]

    def output(self, **changes: Any) -> Mapping[str, Any]:
        """What the service gives for its test input with these changes. Raises JobProblem, and
        Unmet for what is no object."""
        job_id = self.jobs.submit({**self.payload, **changes}, repeat_unclear=True)
        try:
            found = self.jobs.wait(
                job_id,
                timeout=self.timeout,
                cancel_on_timeout=True,
                look=self.follow(),
            )
        except Interrupted:
            with suppress(PodkitError):  # it may have ended
                self.jobs.cancel(job_id)
            raise
        if not isinstance(found, dict):
            raise Unmet(f"the output is no object but {type(found).__name__}")
        return found

    def refusal(self, **changes: Any) -> str:
        """The code with which the service refuses such an input. Raises Unmet if it does not."""
        try:
            self.output(**changes)
        except JobFailed as error:
            return _code(error)
        raise Unmet("the job completed, and was to be refused")


Check = Callable[[Trial], str]


def kind_of(payload: Mapping[str, Any]) -> str:
    """Which of services/ takes such an input: translation, transcription, speech, or `other`."""
    if {"src_lang", "tgt_lang"} <= set(payload):
        return "translation"
    if "audio_base64" in payload or "audio_url" in payload:
        return "transcription"
    return "speech" if isinstance(payload.get("text"), str) else "other"


def verdicts(trial: Trial, hourly: float, most_workers: int, limit: float) -> Iterator[Verdict]:
    """The verdict of each check in turn. Once `limit` USD may be spent, by so many workers at this
    price all the time, the rest is skipped."""
    started = trial.clock()
    dead = ""
    for name, check in checks_for(kind_of(trial.payload)):
        begun = trial.clock()
        spent = (begun - started) * most_workers * hourly / 3600
        if not dead and spent >= limit:
            dead = f"--cost-limit: up to ${spent:.4f} may be spent"
        if dead:
            yield Verdict(name, SKIPPED, 0.0, dead)
            continue
        outcome = FAILED
        try:
            detail = check(trial)
            outcome = OK
        except NotTried as reason:
            detail = str(reason)
            outcome = SKIPPED
        except Unmet as reason:
            detail = str(reason)
        except (JobProblem, SubmitUnclear, ApiError) as error:
            detail = error.message
        if name == "smoke" and outcome == FAILED:
            dead = "the smoke test failed"
        yield Verdict(name, outcome, round(trial.clock() - begun, 1), detail)


def checks_for(kind: str) -> Sequence[tuple[str, Check]]:
    """The checks of a kind of service by their names, in order."""
    own: dict[str, Sequence[tuple[str, Check]]] = {
        "translation": TRANSLATION,
        "transcription": TRANSCRIPTION,
        "speech": SPEECH,
    }
    return (*FIRST, *own.get(kind, ()), *LAST)


def _health(trial: Trial) -> str:
    found = trial.jobs.health()
    if not {"jobs", "workers"} <= set(found):
        raise Unmet("/health counts neither jobs nor workers")
    return "/health answers"


def _smoke(trial: Trial) -> str:
    found = trial.output()
    return "the test input gives " + (", ".join(sorted(found)) or "an empty object")


def _empty(trial: Trial) -> str:
    try:
        trial.jobs.submit({})
    except UsageError:
        return "an empty input is refused before it is sent"
    raise Unmet("an empty input was sent")


def _cancel(trial: Trial) -> str:
    job_id = trial.jobs.submit(dict(trial.payload), repeat_unclear=True)
    trial.jobs.cancel(job_id)
    try:
        trial.jobs.wait(job_id, timeout=trial.timeout, cancel_on_timeout=True)
    except JobCancelled:
        return "a job that is cancelled is CANCELLED"
    raise NotTried("the job was done before it could be cancelled")


def _many(trial: Trial) -> str:
    timings = time_jobs(trial.jobs, trial.payload, AT_ONCE, AT_ONCE, trial.clock, trial.timeout)
    if timings.failed:
        raise Unmet(f"{len(timings.failed)} of {AT_ONCE} failed; the first: {timings.failed[0]}")
    total = timings.percentiles("total")
    return f"{AT_ONCE} at once complete: p50 {total['p50']:.0f} ms, p95 {total['p95']:.0f} ms"


def _unknown_field(trial: Trial) -> str:
    return _expect("bad-input", trial.refusal(no_such_field=1))


def _model(trial: Trial) -> str:
    model = trial.output().get("model")
    if not isinstance(model, dict) or not (model.get("repo") and model.get("revision")):
        raise Unmet("the output does not name the model's repository and revision")
    for name, wanted in trial.model.items():
        if model.get(name) != wanted:
            raise Unmet(f"the model's {name} is {model.get(name)}, the config wants {wanted}")
    return f"{model['repo']} at {model['revision']}"


def _directions(trial: Trial) -> str:
    source = trial.payload["src_lang"]
    target = trial.payload["tgt_lang"]
    (there,) = _translations(trial.output(text=_text(trial)), 1)
    if not there.strip():
        raise Unmet(f"{source} to {target} gives nothing")
    back = trial.output(text=there, src_lang=target, tgt_lang=source)
    if not _translations(back, 1)[0].strip():
        raise Unmet(f"{target} to {source} gives nothing")
    return f"{source} and {target}, both ways"


def _list(trial: Trial) -> str:
    text = _text(trial)
    first, blank, last = _translations(trial.output(text=[text, "", text]), 3)
    if blank or not (first.strip() and last.strip()):
        raise Unmet("a list with a blank text in its middle does not come back in its order")
    return "a list of 3 keeps number and order; a blank text stays blank"


def _paragraph(trial: Trial) -> str:
    found = trial.output(text=_text(trial))
    sentences = found.get("sentences")
    if not isinstance(sentences, int) or sentences < 3:
        raise Unmet(f"a paragraph of 3 sentences gave {sentences}")
    return f"a paragraph of 3 sentences gives {sentences}"


def _language(trial: Trial) -> str:
    return _expect("unsupported-language", trial.refusal(tgt_lang=NO_LANGUAGE))


def _segments(trial: Trial) -> str:
    found = trial.output()
    if not isinstance(found.get("text"), str) or not isinstance(found.get("segments"), list):
        raise Unmet("the output has no text or no segments")
    last = 0.0
    for segment in found["segments"]:
        if not last <= segment["start"] <= segment["end"]:
            raise Unmet("the segments are not in the order of time")
        last = float(segment["start"])
    duration = float(found.get("duration") or 0)
    if duration <= 0:
        raise Unmet("the output has no duration")
    return f"{len(found['segments'])} segments of {duration:.1f} s, in the order of time"


def _bad_audio(trial: Trial) -> str:
    content = base64.b64encode(b"this is no sound").decode()
    changes = {"audio_base64": content}
    if "audio_url" in trial.payload:
        raise NotTried("the test input is an address")
    return _expect("bad-audio", trial.refusal(**changes))


def _sound(trial: Trial) -> str:
    found = trial.output(format="wav")
    try:
        sound = base64.b64decode(str(found.get("audio_base64")), validate=True)
    except binascii.Error:
        raise Unmet("audio_base64 is no base64") from None
    if sound[:4] != b"RIFF" or float(found.get("duration") or 0) <= 0:
        raise Unmet("format wav gives no RIFF file with a duration")
    return f"wav of {float(found['duration']):.1f} s"


def _no_text(trial: Trial) -> str:
    return _expect("bad-input", trial.refusal(text=""))


FIRST: Sequence[tuple[str, Check]] = (
    ("health", _health),
    ("smoke", _smoke),
    ("empty input", _empty),
)
TRANSLATION: Sequence[tuple[str, Check]] = (
    ("model", _model),
    ("both directions", _directions),
    ("list", _list),
    ("paragraph", _paragraph),
    ("unknown language", _language),
    ("unknown field", _unknown_field),
)
TRANSCRIPTION: Sequence[tuple[str, Check]] = (
    ("model", _model),
    ("segments", _segments),
    ("bad audio", _bad_audio),
    ("unknown field", _unknown_field),
)
SPEECH: Sequence[tuple[str, Check]] = (
    ("model", _model),
    ("sound", _sound),
    ("no text", _no_text),
    ("unknown field", _unknown_field),
)
LAST: Sequence[tuple[str, Check]] = (
    ("cancel", _cancel),
    ("20 at once", _many),
)


def _expect(wanted: str, code: str) -> str:
    if code != wanted:
        raise Unmet(f"refused with {code or 'no code'}, not with {wanted}")
    return f"refused with {wanted}"


def _code(error: JobFailed) -> str:
    """The code in what a worker of services/ says of a job that it refuses."""
    try:
        told = json.loads(error.error)
    except ValueError:
        return ""
    return str(told.get("code") or "") if isinstance(told, dict) else ""


def _text(trial: Trial) -> str:
    """Three sentences of the language from which the test input is translated."""
    if trial.payload["src_lang"] in FRENCH:
        return SENTENCES
    given = trial.payload.get("text")
    one = given if isinstance(given, str) and given.strip() else DEFAULT_SENTENCE
    return " ".join([one] * 3)


def _translations(found: Mapping[str, Any], count: int) -> list[str]:
    given = found.get("translations")
    if not isinstance(given, list) or len(given) != count:
        raise Unmet(f"the output has no list of {count} translations")
    return [str(one) for one in given]
