"""One model server for all tests of the stand-ins that need nothing special of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import openai

GUARD = """
class Guard:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send):
        given = dict(scope.get("headers", [])).get(b"authorization")
        if scope["type"] == "http" and given != b"Bearer key":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            return await send({"type": "http.response.body"})
        await self.app(scope, receive, send)
"""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.sandbox.shims.stand_ins import run

    folder = tmp_path_factory.mktemp("hub") / "a model"
    download = ["download", "some/model", "--revision", "abc", "--local-dir", folder]
    run("hf", *download).check_returncode()
    return folder


@pytest.fixture(scope="session")
def served(checkpoint: Path) -> Iterator[tuple[str, int]]:
    """The URL and the process id of a server of olmOCR's command line: at most one image, 16384
    tokens, the key `key`.
    """
    from tests.sandbox.shims.stand_ins import serving_model

    (checkpoint.parent / "guarding.py").write_text(GUARD)
    flags = ["--served-model-name", "olmocr", "allenai/olmOCR", "--middleware", "guarding.Guard"]
    flags += ["--limit-mm-per-prompt", '{"image":1,"video":0}', "--max-model-len", "16384"]
    flags += ["--mm-processor-kwargs", '{"max_pixels":1658944}']
    flags += ["--allowed-media-domains", "none.invalid"]
    with serving_model(checkpoint, *flags, PYTHONPATH=str(checkpoint.parent)) as url_and_pid:
        yield url_and_pid


@pytest.fixture(scope="session")
def url(served: tuple[str, int]) -> str:
    return served[0]


@pytest.fixture(scope="session")
def client(url: str) -> openai.OpenAI:
    import openai

    return openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0)
