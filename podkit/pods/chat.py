"""A question to a pod, its images beside it, and the answer as it is written: the shortest proof
that a pod works.

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
from podkit.events import read_events
from podkit.pods.access import Access
from podkit.pods.pod_http import post
from podkit.private_files import write_private

Message = dict[str, Any]
"""A turn of a conversation, as the OpenAI API has it."""
LOOK_AT_LOG = "./podkit.sh logs shows what the pod says"
IMAGE_TYPES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}
"""Kinds of images by their first bytes."""
CHAT_TIMEOUT = (10.0, 100.0)
"""Seconds: the provider's proxy cuts what has had no answer for 100 (provider documentation,
2026)."""


def data_url(image: Path) -> str:
    """The image as a `data:` URL. Raises UsageError for a file that cannot be read, or that no
    vision model takes."""
    try:
        data = image.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {image}: {error.strerror}", "give the path of an image"
        ) from None
    for start, kind in IMAGE_TYPES.items():
        if data.startswith(start):
            return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    hint = "give a PNG, JPEG, WebP or GIF"
    if data.startswith(b"%PDF"):
        hint = "./ocr_pdfs.sh reads PDFs"
    raise UsageError(f"{image} is not an image that models read", hint)


def message(text: str, images: Sequence[Path]) -> Message:
    """A person's turn. Raises UsageError for an image that cannot go along."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for image in images:
        content.append({"type": "image_url", "image_url": {"url": data_url(image)}})
    return {"role": "user", "content": content}


def answer(
    session: requests.Session,
    where: Access,
    question: str,
    images: Sequence[Path],
    **fields: float,
) -> Iterator[str]:
    """The answer to one question, piece by piece. See answer_to()."""
    yield from answer_to(session, where, [message(question, images)], **fields)


def answer_to(
    session: requests.Session, where: Access, messages: Sequence[Message], **fields: float
) -> Iterator[str]:
    """The answer to a conversation, piece by piece; `fields` go into the request, such as
    temperature=0.

    Raises PodkitError when the pod refuses, is not up, or breaks off.
    """
    url = f"{where.api_url}/chat/completions"
    body = {"model": where.model, "stream": True, "messages": list(messages), **fields}
    try:
        with post(session, url, body, where.key, CHAT_TIMEOUT, stream=True) as response:
            if response.status_code != 200:
                raise _refusal(response)
            # a larger piece would wait for the next event to fill it
            for event in read_events(response.iter_content(chunk_size=1)):
                if event.data == "[DONE]":
                    return
                yield _piece(event.data)
    except requests.RequestException as error:
        what = f"the pod does not answer ({type(error).__name__})"
        raise PodkitError(what, "./podkit.sh wait says why") from None
    raise PodkitError("the answer broke off", f"ask again; {LOOK_AT_LOG}")


class Conversation:
    """The last conversation of this checkout, in a file that its owner alone may read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def messages(self) -> list[Message]:
        """Its turns so far; none if there was none, or if the file cannot be understood."""
        try:
            said = json.loads(self._file.read_text(encoding="utf-8"))["messages"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return said if isinstance(said, list) else []

    def keep(self, messages: Sequence[Message]) -> None:
        """Raises UsageError if the file cannot be written."""
        try:
            write_private(self._file, json.dumps({"messages": list(messages)}))
        except OSError as error:
            what = f"cannot keep the conversation in {self._file}: {error.strerror}"
            raise UsageError(what, "make the folder writable") from None


def _piece(data: str) -> str:
    """The text that one event adds."""
    try:
        event = json.loads(data)
        if error := event.get("error"):
            raise PodkitError(f"the answer broke off: {error}", LOOK_AT_LOG)
        choices = event.get("choices") or [{}]
        return str(choices[0].get("delta", {}).get("content") or "")
    except (ValueError, AttributeError):
        raise PodkitError("the pod sent what is no answer", LOOK_AT_LOG) from None


def _refusal(response: requests.Response) -> PodkitError:
    """What a status other than 200 means: the server's own words if it is vLLM's, else "not up
    yet"."""
    try:
        said = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        what = f"the pod is not up (HTTP {response.status_code})"
        return PodkitError(what, "./podkit.sh wait waits until it is, and says what is wrong")
    hint = "the reason is above: a shorter question or fewer images may do"
    if response.status_code == 401:
        hint = "./podkit.sh wait says what is wrong"
    return PodkitError(f"the pod refuses ({response.status_code}): {said}", hint)
