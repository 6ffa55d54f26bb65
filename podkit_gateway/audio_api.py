"""/v1/audio/transcriptions and /v1/audio/speech in OpenAI's forms, as jobs of the workers in
services/.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from sqlalchemy.engine import RowMapping
from starlette.datastructures import FormData, UploadFile

from podkit_gateway.errors import Refusal
from podkit_gateway.jobs import Work
from podkit_gateway.jobs_api import answer_job, find_model, jobs_of, language_code, run_job
from podkit_gateway.openai import invalid
from podkit_gateway.uploads import PATH
from podkit_gateway.web import body_deadline, find_caller, read_field, read_json, runtime_of

LARGEST_INLINE = 7_000_000
"""Bytes. As base64 in a job's input it must stay under the job API's 10 MB."""
FORM_BYTES = 100_000
"""What the other fields of a form may add."""
STYLES = ("json", "text", "srt", "verbose_json", "vtt")
AUDIO_TYPES = {"mp3": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/wav"}
"""What the speech worker makes."""
router = APIRouter()


@dataclass(frozen=True)
class Wanted:
    """The fields of a transcription's form."""

    model: str
    language: str
    style: str
    words: bool


@router.post("/v1/audio/transcriptions")
async def transcribe(request: Request) -> Response:
    """OpenAI's form: multipart with `file`, or ours: `audio_url`, an https address that the worker
    fetches.
    """
    caller = await find_caller(request, "jobs")
    largest = largest_upload(request)
    declared = request.headers.get("content-length", "")
    if not declared.isdecimal():
        raise Refusal(411, "invalid_request_error", "Send the length of the body: Content-Length.")
    if int(declared) > largest + FORM_BYTES:
        raise too_long(request, largest)
    async with body_deadline(request):
        form = await request.form(max_files=1, max_fields=10, max_part_size=64 * 1024)
    try:
        wanted = read_wanted(form)
        model = find_model(request, caller, wanted.model, "transcription")
        job_input: dict[str, Any] = {"progress": False, "words": wanted.words}
        if wanted.language:
            job_input["language"] = language_code(model, wanted.language, "language")
        if wanted.style in {"srt", "vtt"}:
            job_input["subtitles"] = wanted.style
        upload = await add_audio(request, form, job_input)
    finally:
        await form.close()
    work = Work("transcription", model, job_input, upload)
    try:
        job_id = await run_job(request, caller, work)
    except Refusal:
        jobs_of(request).forget_upload(upload)
        raise

    def shape(_row: RowMapping, output: dict[str, Any]) -> Response:
        return shape_transcription(output, wanted.style)

    return await answer_job(request, caller, job_id, shape)


def largest_upload(request: Request) -> int:
    """Bytes of audio that this gateway takes."""
    settings = runtime_of(request).settings
    return LARGEST_INLINE if settings.uploads is None else settings.max_upload


def read_wanted(form: FormData) -> Wanted:
    """What the form asks for. Raises Refusal (400)."""
    style = str(form.get("response_format", "json"))
    if style not in STYLES:
        raise invalid(f"`response_format` is one of {', '.join(STYLES)}.", param="response_format")
    granularities = form.getlist("timestamp_granularities[]")
    return Wanted(
        model=str(form.get("model", "")),
        language=str(form.get("language", "")),
        style=style,
        words="word" in granularities,
    )


async def add_audio(request: Request, form: FormData, job_input: dict[str, Any]) -> str:
    """Puts the audio into the job's input, or where the worker finds it; the name of a file that is
    kept for it. Raises Refusal.
    """
    url = form.get("audio_url")
    file = form.get("file")
    if isinstance(url, str) and url and file is None:
        job_input["audio_url"] = url
        return ""
    if file is None or isinstance(file, str):
        raise invalid("`file` must be a file, or send `audio_url` instead.", param="file")
    size = file.size or 0
    largest = largest_upload(request)
    if size > largest:
        raise too_long(request, largest)
    if size > LARGEST_INLINE:
        return await keep_upload(request, file, job_input)
    job_input["audio_base64"] = base64.b64encode(await file.read()).decode("ascii")
    return ""


async def keep_upload(request: Request, file: UploadFile, job_input: dict[str, Any]) -> str:
    uploads = jobs_of(request).uploads
    if uploads is None:
        raise too_long(request, LARGEST_INLINE)
    name = await uploads.keep(file.file)
    job_input["audio_url"] = uploads.url(name)
    return name


def too_long(request: Request, largest: int) -> Refusal:
    text = f"The audio is larger than {largest / 1_000_000:g} MB."
    if runtime_of(request).settings.uploads is None:
        text += " Send its https address as `audio_url`, or have an admin set GATEWAY_UPLOADS."
    return Refusal(413, "invalid_request_error", text, code="request_too_large")


def shape_transcription(output: dict[str, Any], style: str) -> Response:
    """A worker's output in the form that was asked for."""
    if style == "verbose_json":
        return JSONResponse({"task": "transcribe", **output})
    if style == "json":
        return JSONResponse({"text": str(output.get("text", ""))})
    return PlainTextResponse(str(output.get(style, "")))


@router.post("/v1/audio/speech")
async def speak(request: Request) -> Response:
    """OpenAI's form: `input`, `model`, `response_format`, `speed`. A `voice` changes nothing: each
    model has one.
    """
    caller = await find_caller(request, "jobs")
    body = await read_json(request)
    text = read_field(body, "input", str, "")
    if not text:
        raise invalid("`input` must be a text.", param="input")
    style = read_field(body, "response_format", str, "mp3")
    if style not in AUDIO_TYPES:
        choices = ", ".join(AUDIO_TYPES)
        raise invalid(f"`response_format` is one of {choices}.", param="response_format")
    model = find_model(request, caller, read_field(body, "model", str, ""), "speech")
    job_input = {"text": text, "format": style}
    speed = body.get("speed")
    if speed is not None:
        job_input["speed"] = speed
    job_id = await run_job(request, caller, Work("speech", model, job_input))

    def shape(_row: RowMapping, output: dict[str, Any]) -> Response:
        audio = base64.b64decode(str(output.get("audio_base64", "")))
        return Response(audio, media_type=AUDIO_TYPES[style])

    return await answer_job(request, caller, job_id, shape)


@router.get(PATH + "{name}", include_in_schema=False)
async def fetch_upload(request: Request, name: str) -> Response:
    """The audio of a job for its worker, who alone was told the name."""
    uploads = jobs_of(request).uploads
    path = uploads.find(name) if uploads is not None else None
    if path is None:
        raise Refusal(404, "invalid_request_error", "There is nothing at this address.")
    return FileResponse(path, media_type="application/octet-stream")
