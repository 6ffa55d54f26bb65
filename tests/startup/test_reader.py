"""A pod that reads a workspace in a bucket by itself, and ends."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from podkit.models.spec import FOR_THE_PAGE, pack
from podkit.ocr.documents import Document
from podkit.ocr.toolkit import install_toolkit
from podkit.ocr.workspace import InBucket, Workspace
from podkit.s3 import Bucket
from podkit.uploads import Uploads
from tests.pod_processes import command_lines
from tests.podkit.ocr.documents import short_pages
from tests.s3.servers import access, start_s3rver
from tests.startup.local_pod import STARTUP, Pod
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("poppler")]


def test_a_pod_reads_a_bucket_tells_no_key_and_ends_itself(pod: Pod, tmp_path: Path) -> None:
    process, url = start_s3rver(tmp_path / "s3rver")
    try:
        folder = pod.root.parent / "olmocr"  # where the sandbox's uv looks
        install_toolkit(folder, os.environ["PATH"], print)
        files = InBucket(Bucket(access(url, "S3RVER", "S3RVER"), "models"), "archive")
        workspace = Workspace("s3://models/archive", files)
        pdf = tmp_path / "a.pdf"
        pdf.write_bytes(short_pages(2))
        digest = hashlib.sha256(pdf.read_bytes()).hexdigest()
        document = Document(pdf, pdf.with_suffix(".md"), digest, 2)
        workspace.fill([document], Uploads(tmp_path / "uploads.json"))
        pod.env.update(
            PODKIT_MODEL="olmocr",
            PODKIT_WORKSPACE=workspace.place,
            PODKIT_S3_URL=url,
            PODKIT_S3_ACCESS_KEY="S3RVER",
            PODKIT_S3_SECRET_KEY="S3RVER",
            STARTUP_B64=pack(STARTUP, FOR_THE_PAGE),
        )
        pod.start()
        vllm = eventually(lambda: pod.find("shims.vllm", "serve"))[0].environ()
        pod.wait_for("processing work item")
        told = command_lines(pod.find()).splitlines()
        log = pod.ended()
        [(read, text)] = workspace.collect([document])
    finally:
        process.terminate()
        process.wait(10)
    assert not read.failures()
    assert "numéro 2" in text
    assert "the queue is done: the pod ends" in log
    assert "fatal" not in log
    assert not [
        word for word in (log, *told) if "S3RVER" in word or pod.env["PODKIT_API_KEY"] in word
    ]
    assert not [name for name in vllm if name.startswith(("AWS_", "PODKIT_S3_ACCESS", "OCR_KEY"))]
    assert not list(pod.local.glob("venv-webui"))
