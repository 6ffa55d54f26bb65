"""One question to a pod, its images beside it, and the answer as it is written: the shortest proof that a pod works.

The key goes in a header, to the pod's own URL alone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import requests

from podkit.errors import PodkitError, UsageError
from podkit.pods.access import Access
from podkit.pods.pod_http import post

IMAGE_TYPES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}
"""Kinds of images by their first bytes."""
CHAT_TIMEOUT = (10.0, 100.0)
"""Seconds: the provider's proxy cuts what has had no answer for 100 (provider documentation, 2026)."""


def data_url(image: Path) -> str:
    """The image as a `data:` URL. Raises UsageError for a file that cannot be read, or that no vision model takes."""
    try:
        data = image.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {image}: {error.strerror}", "give the path of an image"
        ) from None
    for start, kind in IMAGE_TYPES.items():
        if data.startswith(start):
            return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    hint = (
        "./ocr_pdfs.sh reads PDFs" if data.startswith(b"%PDF") else "give a PNG, JPEG, WebP or GIF"
    )
    raise UsageError(f"{image} is not an image that models read", hint)


def answer(
    session: requests.Session, where: Access, question: str, images: Sequence[Path], **fields: float
) -> Iterator[str]:
    """The answer, piece by piece; `fields` go into the request, such as temperature=0.

    Raises PodkitError when the pod refuses, is not up, or breaks off.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": question}]
    content += [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in images]
    body = {
        "model": where.model,
        "stream": True,
        "messages": [{"role": "user", "content": content}],
        **fields,
    }
    try:
        with post(
            session, f"{where.api_url}/chat/completions", body, where.key, CHAT_TIMEOUT, stream=True
        ) as response:
            if response.status_code != 200:
                raise _refusal(response)
            for line in response.iter_lines(chunk_size=1):
                data = line.decode("utf-8", "replace").removeprefix("data: ")
                if data == "[DONE]":
                    return
                if data:
                    yield _piece(data)
    except requests.RequestException as error:
        raise PodkitError(
            f"the pod does not answer ({type(error).__name__})", "./podkit.sh wait says why"
        ) from None
    raise PodkitError("the answer broke off", "ask again; ./podkit.sh logs shows what the pod says")


def _piece(data: str) -> str:
    """The text that one event adds."""
    try:
        event = json.loads(data)
        if error := event.get("error"):
            raise PodkitError(
                f"the answer broke off: {error}", "./podkit.sh logs shows what the pod says"
            )
        choices = event.get("choices") or [{}]
        return str(choices[0].get("delta", {}).get("content") or "")
    except (ValueError, AttributeError):
        raise PodkitError(
            "the pod sent what is no answer", "./podkit.sh logs shows what it says"
        ) from None


def _refusal(response: requests.Response) -> PodkitError:
    """What a status other than 200 means: the server's own words if it is vLLM's, else "not up yet"."""
    try:
        said = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        what = f"the pod is not up (HTTP {response.status_code})"
        return PodkitError(what, "./podkit.sh wait waits until it is, and says what is wrong")
    hint = (
        "./podkit.sh wait says what is wrong"
        if response.status_code == 401
        else "the reason is above: a shorter question or fewer images may do"
    )
    return PodkitError(f"the pod refuses ({response.status_code}): {said}", hint)
