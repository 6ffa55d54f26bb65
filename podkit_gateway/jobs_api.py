"""/v1/translate, /v1/audio/* and /v1/jobs: quick jobs are answered, slow ones are given an id to
ask for.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from sqlalchemy.engine import RowMapping

from podkit_gateway.config import ModelConfig
from podkit_gateway.domain import Caller
from podkit_gateway.errors import Refusal
from podkit_gateway.jobs import BAD_INPUT, Jobs, Work
from podkit_gateway.openai import invalid, no_such_model
from podkit_gateway.web import (
    NO_STORE,
    body_deadline,
    find_caller,
    read_field,
    read_json,
    runtime_of,
)

WAIT_SECONDS = 20.0
LONGEST_WAIT = 90.0
LARGEST_AUDIO = 7_000_000
"""Bytes. As base64 in a job's input it must stay under the job API's 10 MB."""
AUDIO_TYPES = {
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
}
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
    body = await read_json(request)
    text = body.get("text")
    if not isinstance(text, (str, list)) or not text:
        raise invalid("`text` must be a text or a list of texts.", param="text")
    name = read_field(body, "model", str, "") or read_field(body, "model_id", str, "")
    model = find_model(request, caller, name, "translation")
    source = language_code(model, read_field(body, "src_lang", str, ""), "src_lang")
    target = language_code(model, read_field(body, "tgt_lang", str, ""), "tgt_lang")
    job_input = {"text": text, "src_lang": source, "tgt_lang": target}
    job_id = await run_job(request, caller, Work("translation", model, job_input))
    return await answer_job(request, caller, job_id)


@router.post("/v1/audio/transcriptions")
async def transcribe(request: Request) -> Response:
    """OpenAI's form: multipart with `file` and `model`; `response_format` json, text or
    verbose_json.
    """
    caller = await find_caller(request, "jobs")
    declared = request.headers.get("content-length", "")
    if not declared.isdecimal():
        raise Refusal(411, "invalid_request_error", "Send the length of the body: Content-Length.")
    if int(declared) > LARGEST_AUDIO + 100_000:
        raise too_long()
    async with body_deadline(request):
        form = await request.form(max_files=1, max_fields=10, max_part_size=64 * 1024)
    try:
        upload = form.get("file")
        if upload is None or isinstance(upload, str):
            raise invalid("`file` must be a file.", param="file")
        audio = await upload.read(LARGEST_AUDIO + 1)
        name = str(form.get("model", ""))
        language = str(form.get("language", ""))
        style = str(form.get("response_format", "json"))
    finally:
        await form.close()
    if len(audio) > LARGEST_AUDIO:
        raise too_long()
    model = find_model(request, caller, name, "transcription")
    job_input = {"audio_base64": base64.b64encode(audio).decode("ascii")}
    if language:
        job_input["language"] = language_code(model, language, "language")
    job_id = await run_job(request, caller, Work("transcription", model, job_input))
    return await answer_job(request, caller, job_id, style)


@router.post("/v1/audio/speech")
async def speak(request: Request) -> Response:
    """OpenAI's form: `input`, `model`, `voice`, `response_format`; answers with audio."""
    caller = await find_caller(request, "jobs")
    body = await read_json(request)
    text = read_field(body, "input", str, "")
    if not text:
        raise invalid("`input` must be a text.", param="input")
    style = read_field(body, "response_format", str, "mp3")
    if style not in AUDIO_TYPES:
        raise invalid(f"`response_format` is one of {', '.join(AUDIO_TYPES)}.")
    model = find_model(request, caller, read_field(body, "model", str, ""), "speech")
    job_input = {"text": text, "format": style}
    voice = read_field(body, "voice", str, "")
    if voice:
        job_input["voice"] = voice
    job_id = await run_job(request, caller, Work("speech", model, job_input))
    return await answer_job(request, caller, job_id, style)


async def run_job(request: Request, caller: Caller, work: Work) -> str:
    """Submits and waits as long as the client wants; the job's id."""
    jobs = jobs_of(request)
    async with admitted(request, caller, work.model):
        job_id = await jobs.start(caller, work)
        await jobs.wait(job_id, wanted_seconds(request))
    return job_id


@router.get("/v1/jobs/{job_id}")
async def show_job(request: Request, job_id: str) -> Response:
    caller = await find_caller(request, "jobs")
    row = await jobs_of(request).refresh(caller, job_id)
    return JSONResponse(describe(row, jobs_of(request).output(job_id)), headers=NO_STORE)


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
        shown["result"] = shape(row, output) if output is not None else None
    if row["error"]:
        shown["error"] = row["error"]
    return shown


def shape(row: RowMapping, output: Any) -> Any:
    """A worker's output in the form of our API."""
    if row["kind"] != "translation" or not isinstance(output, dict):
        return output
    texts = output.get("translations", [])
    usage = {"texts": len(texts), "sentences": output.get("sentences")}
    return {
        "text": texts[0] if len(texts) == 1 else texts,
        "model": row["model"],
        "src_lang": output.get("src_lang"),
        "tgt_lang": output.get("tgt_lang"),
        "usage": usage,
    }


async def answer_job(request: Request, caller: Caller, job_id: str, style: str = "") -> Response:
    """200 with the result, 202 while it runs. Raises Refusal if the job has failed."""
    jobs = jobs_of(request)
    row = await jobs.find(caller, job_id)
    headers = {**NO_STORE, "x-podkit-backend": row["backend"], "x-podkit-model": row["model"]}
    if row["status"] in {"queued", "running"}:
        headers |= {"location": f"/v1/jobs/{job_id}", "retry-after": "2"}
        return JSONResponse({"id": job_id, "status": row["status"]}, 202, headers)
    if row["status"] != "completed":
        raise failed(row)
    output = jobs.output(job_id)
    if row["kind"] == "speech" and isinstance(output, dict):
        audio = base64.b64decode(str(output.get("audio_base64", "")))
        return Response(audio, media_type=AUDIO_TYPES[style], headers=headers)
    if row["kind"] == "transcription" and isinstance(output, dict) and style != "verbose_json":
        text = str(output.get("text", ""))
        if style == "text":
            return PlainTextResponse(text, headers=headers)
        return JSONResponse({"text": text}, headers=headers)
    return JSONResponse(shape(row, output), headers=headers)


def failed(row: RowMapping) -> Refusal:
    """A failed job: 422 if its input was wrong, 502 if the worker failed; never a traceback."""
    code = row["error"]
    if code in BAD_INPUT:
        return Refusal(
            422, "invalid_request_error", f"The worker refused the input: {code}.", code=code
        )
    text = f"The job {row['id']} has ended: {row['status']}."
    return Refusal(502, "api_error", text, code="job_failed")


def too_long() -> Refusal:
    return Refusal(
        413,
        "invalid_request_error",
        f"The audio is larger than {LARGEST_AUDIO // 1_000_000} MB, which is what a job can hold.",
        code="request_too_large",
    )
