"""The images of a request: taken from `data:` URLs, never fetched."""

import base64
import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from podkit_sandbox.shims import ocr
from podkit_sandbox.shims.vllm.flags import Options
from podkit_sandbox.shims.vllm.protocol import Message
from podkit_sandbox.shims.vllm.refusals import Refusal

MOST_OF_A_URL = 2000
"""What is looked at to see what kind of URL it is: the rest of an image need not be parsed."""
PATCH = 28
"""The side of what becomes one token, in pixels (Qwen2.5-VL: patches of 14, merged two by two)."""


@dataclass(frozen=True)
class Picture:
    """An image file and its size in pixels."""

    data: bytes
    width: int
    height: int

    def tokens(self, max_pixels: int) -> int:
        """How many tokens a model would see."""
        pixels = min(self.width * self.height, max_pixels)
        return math.ceil(pixels / PATCH**2)


def pictures_of(messages: list[Message], options: Options) -> list[Picture]:
    """The images of all turns, in order. Raises Refusal for other media, too many, and what is no
    image.
    """
    urls = []
    for message in messages:
        for part in message.parts:
            urls += _image_urls(part.type, part.image_url, options)
    limit = options.limits.get("image", 999)
    if len(urls) > limit:
        raise Refusal(f"At most {limit} image(s) may be provided in one prompt.")
    return [load(url, options.media_domains) for url in urls]


def _image_urls(kind: str | None, image: object, options: Options) -> list[str]:
    if kind in (None, "text", "refusal") and image is None:
        return []
    if image is not None:
        return [str(getattr(image, "url", image))]
    if kind == "video_url" and options.limits.get("video", 999) == 0:
        raise Refusal("At most 0 video(s) may be provided in one prompt.")
    raise Refusal(f"Unknown part type: {kind}")


def load(url: str, domains: tuple[str, ...]) -> Picture:
    """The image of a base64 `data:` URL. Raises Refusal for every other URL, and for what is no
    image.
    """
    try:
        parts = urlsplit(url[:MOST_OF_A_URL])
        host = parts.hostname
    except ValueError as error:
        raise Refusal(f"Failed to parse: {error}") from error
    if parts.scheme in ("http", "https"):
        raise Refusal(_not_fetched(host, domains))
    if parts.scheme == "file":
        raise Refusal("Cannot load local files without `--allowed-local-media-path`.")
    if parts.scheme != "data":
        raise Refusal("The URL must be either a HTTP, data or file URL.")
    form, comma, encoded = url.partition(",")
    if not comma or form.rpartition(";")[2] != "base64":
        raise Refusal("Only base64 data URLs are supported for now.")
    try:
        data = base64.b64decode(encoded, validate=True)
        return Picture(data, *ocr.size(data))
    except ValueError as error:
        reason = str(error)
        if not reason.startswith("Failed to load image"):
            reason = f"Failed to load image: {reason}"
        raise Refusal(reason) from error


def _not_fetched(host: str | None, domains: tuple[str, ...]) -> str:
    if domains and host not in domains:
        allowed = list(domains)
        return (
            f"The URL must be from one of the allowed domains: {allowed}. Input URL domain: {host}"
        )
    return "the sandbox's stand-in fetches no image: send it as a data: URL"
