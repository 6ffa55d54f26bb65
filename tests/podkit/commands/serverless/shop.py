"""What tests of the verbs of `serverless` share: a platform on paper, and a checkout with a
config."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.podkit.commands.desk import Ended, Run
from tests.podkit.serverless.cloud import Cloud

TOKEN = "hf_the-token"
BLOCK: dict[str, Any] = {
    "endpoint_name": "translation",
    "licence": "CC-BY-NC-4.0",
    "image": "ghcr.io/me/translation:1",
    "cpu": [{"flavor": "cpu5c", "vcpu": 4}],
    "env": {"HF_TOKEN": "${HF_TOKEN}", "BEAM_SIZE": "4"},
    "test_payload": "test_input.json",
}
LOOK = "GET /serverless"
CREATE = "POST /serverless"
CHANGE = "PATCH /serverless/{id}"


@dataclass(frozen=True)
class Shop:
    """A checkout with one service, and the platform that its verbs talk to."""

    root: Path
    cloud: Cloud
    run: Run

    def write(self, *without: str, **changes: Any) -> None:
        """Set the block's fields to these."""
        block = {name: one for name, one in {**BLOCK, **changes}.items() if name not in without}
        (self.root / "runpod-config.json").write_text(json.dumps({"translation_endpoint": block}))

    def verb(self, *arguments: str) -> Ended:
        """The end of `./podkit.sh serverless ARGUMENTS`."""
        return self.run("serverless", *arguments)

    def done(self, *arguments: str) -> Ended:
        """verb(), which must succeed."""
        ended = self.verb(*arguments)
        assert ended.code == 0, ended.err
        return ended

    def deployed(self) -> str:
        """The id of the endpoint after a deploy."""
        return self.done("deploy").out.split()[0]
