"""The digests of images, from what a cluster runs: its pods as `kubectl get pods -o json` lists
them. A tag may be moved by whoever owns it; a digest names the bytes that passed the smoke test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from podkit.errors import UsageError

DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")
ASKED = "kubectl get pods --all-namespaces -l podkit.dev/part -o json >pods.json"
"""The command that lists the pods of an export."""


def read_digests(file: Path) -> dict[str, str]:
    """The digest of each image that a pod of the list runs, by the image as the pod asked for it.

    Raises UsageError for a file that is no such list, and if one tag has two digests.
    """
    pairs: list[tuple[str, str]] = []
    try:
        for pod in json.loads(file.read_text(encoding="utf-8"))["items"]:
            pairs += images_of(pod)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} is no list of pods ({type(error).__name__})", ASKED) from None
    found: dict[str, str] = {}
    for image, digest in pairs:
        if found.setdefault(image, digest) != digest:
            raise UsageError(f"{file}: {image} is {found[image]} and {digest}", "restart its pods")
    return found


def images_of(pod: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each image of a pod, as its container asked for it, and the digest that runs."""
    asked = {}
    for kind in ("initContainers", "containers"):
        for container in pod["spec"].get(kind, []):
            asked[container["name"]] = container["image"].partition("@")[0]
    for kind in ("initContainerStatuses", "containerStatuses"):
        for status in pod.get("status", {}).get(kind, []):
            match = DIGEST.search(status["imageID"])
            if match:
                yield asked[status["name"]], match[1]
