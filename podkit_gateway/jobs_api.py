"""/v1/translate and /v1/jobs, and what all jobs share: quick ones are answered, slow ones are given
an id to ask for.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.engine import RowMapping

from podkit_gateway.config import ModelConfig
from podkit_gateway.domain import Caller
from podkit_gateway.errors import Refusal
from podkit_gateway.incoming import read_headers
from podkit_gateway.jobs import REFUSALS, Jobs, Work
from podkit_gateway.openai import invalid, no_such_model
from podkit_gateway.runtime import person_of
from podkit_gateway.web import (
    NO_STORE,
    find_caller,
    read_field,
    read_json,
    runtime_of,
)

WAIT_SECONDS = 20.0
LONGEST_WAIT = 90.0
LARGEST_TEXT = 1_000_000
"""Bytes of a request; a worker takes 100,000 characters."""
router = APIRouter()


def jobs_of(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def find_model(request: Request, caller: Caller, name: str, kind: str) -> ModelConfig:
    """The model that is asked for, or the only one of this kind. Raises Refusal (404)."""
    config = runtime_of(request).backends.config
    for model in config.models.values():
        backend = config.backends[model.backends[0]]
        fits = backend.kind == "runpod-job" and model.task == kind and caller.may_use(model.name)
        if fits and name in {"", model.name}:
            return model
    raise no_such_model(name or kind)


def wanted_seconds(request: Request) -> float:
    """How long the client wants to wait: `Prefer: wait=30` (RFC 7240)."""
    match = re.search(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])", request.headers.get("prefer", ""))
    return WAIT_SECONDS if match is None else min(float(match[1]), LONGEST_WAIT)


@asynccontextmanager
async def admitted(request: Request, caller: Caller, model: ModelConfig) -> AsyncIterator[None]:
    """Counts the request against the caller's limits. Raises Refusal (429)."""
    limiter = runtime_of(request).limiter
    subjects = caller.subjects_for(model.name)
    admission = await limiter.admit(subjects, f"job_{uuid.uuid4().hex}")
    try:
        yield
    finally:
        await admission.finish(0)


def language_code(model: ModelConfig, name: str, param: str) -> str:
    """The model's code of a language. Raises Refusal (400) with the names that are known."""
    if not model.languages:
        return name
    if name in model.languages.values():
        return name
    code = model.languages.get(name.casefold())
    if code is None:
        known = ", ".join(sorted(model.languages))
        raise invalid(f"{param}: unknown language; known are {known}.", param=param)
    return code


@router.post("/v1/translate")
async def translate(request: Request) -> Response:
    """Translates `text` from `src_lang` to `tgt_lang`."""
    caller = await find_caller(request, "jobs")
    body = await read_json(request, LARGEST_TEXT)
    text = body.get("text")
    if not isinstance(text, (str, list)) or not text:
        raise invalid("`text` must be a text or a list of texts.", param="text")
    name = read_field(body, "model", str, "") or read_field(body, "model_id", str, "")
    model = find_model(request, caller, name, "translation")
    source = language_code(model, read_field(body, "src_lang", str, ""), "src_lang")
    target = language_code(model, read_field(body, "tgt_lang", str, ""), "tgt_lang")
    job_input = {"text": text, "src_lang": source, "tgt_lang": target}
    job_id = await run_job(request, caller, Work("translation", model, job_input))
    return await answer_job(request, caller, job_id, shape_translation)


async def run_job(request: Request, caller: Caller, work: Work) -> str:
    """Submits and waits as long as the client wants; the job's id."""
    jobs = jobs_of(request)
    person = person_of(caller, read_headers(request.scope))
    async with admitted(request, caller, work.model):
        job_id = await jobs.start(caller, replace(work, person=person))
        await jobs.wait(job_id, wanted_seconds(request))
    return job_id


@router.get("/v1/jobs/{job_id}")
async def show_job(request: Request, job_id: str) -> Response:
    caller = await find_caller(request, "jobs")
    jobs = jobs_of(request)
    row = await jobs.refresh(caller, job_id)
    output = await jobs.output(row) if row["status"] == "completed" else None
    return JSONResponse(describe(row, output), headers=NO_STORE)


@router.delete("/v1/jobs/{job_id}")
async def cancel_job(request: Request, job_id: str) -> Response:
    caller = await find_caller(request, "jobs")
    await jobs_of(request).cancel(caller, job_id)
    row = await jobs_of(request).find(caller, job_id)
    return JSONResponse(describe(row, None))


def describe(row: RowMapping, output: Any) -> dict[str, Any]:
    shown = {
        "id": row["id"],
        "object": "job",
        "kind": row["kind"],
        "model": row["model"],
        "status": row["status"],
        "created": int(row["created"]),
    }
    if row["status"] == "completed":
        shown["result"] = output
        if row["kind"] == "translation" and isinstance(output, dict):
            shown["result"] = translated(row, output)
    if row["error"]:
        shown["error"] = row["error"]
    return shown


def translated(row: RowMapping, output: dict[str, Any]) -> dict[str, Any]:
    """A translation in the form of our API."""
    texts = output.get("translations", [])
    usage = {"texts": len(texts), "sentences": output.get("sentences")}
    return {
        "text": texts[0] if len(texts) == 1 else texts,
        "model": row["model"],
        "src_lang": output.get("src_lang"),
        "tgt_lang": output.get("tgt_lang"),
        "usage": usage,
    }


def shape_translation(row: RowMapping, output: dict[str, Any]) -> Response:
    return JSONResponse(translated(row, output))


Shape = Callable[[RowMapping, dict[str, Any]], Response]


async def answer_job(request: Request, caller: Caller, job_id: str, shape: Shape) -> Response:
    """200 with what `shape` makes of the worker's output, 202 while it runs. Raises Refusal if the
    job has failed.
    """
    jobs = jobs_of(request)
    row = await jobs.find(caller, job_id)
    if row["status"] in {"queued", "running"}:
        answer: Response = JSONResponse({"id": job_id, "status": row["status"]}, 202)
        answer.headers["location"] = f"/v1/jobs/{job_id}"
        answer.headers["retry-after"] = "2"
    elif row["status"] == "completed":
        output = await jobs.output(row)
        if not isinstance(output, dict):
            raise Refusal(502, "api_error", f"The job {job_id} has no result.", code="job_failed")
        answer = shape(row, output)
    else:
        raise failed(row)
    answer.headers.update(NO_STORE)
    answer.headers["x-podkit-backend"] = row["backend"]
    answer.headers["x-podkit-model"] = row["model"]
    return answer


def failed(row: RowMapping) -> Refusal:
    """A failed job: 422 if its input was wrong, 502 if the worker failed; never a traceback."""
    code = row["error"]
    if code in REFUSALS:
        return Refusal(
            422, "invalid_request_error", f"The worker refused the input: {code}.", code=code
        )
    text = f"The job {row['id']} has ended: {row['status']}."
    return Refusal(502, "api_error", text, code="job_failed")


@router.post("/hooks/runpod/{hook}", status_code=204, include_in_schema=False)
async def hear_of_job(request: Request, hook: str) -> Response:
    """The provider calls this at a job's end. What it sends is not read; the job is asked for."""
    await jobs_of(request).take_news(hook)
    return Response(status_code=204)
