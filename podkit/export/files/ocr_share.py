"""One share of a folder of PDFs, read by the olmOCR toolkit with the engine in this pod.

Pod number JOB_COMPLETION_INDEX of PODS takes every PDF of DOCUMENTS/in whose name falls to it, and
nobody else's: the toolkit's own queue loses what a pod that dies had in hand. A share that is
started again reads what is missing. Exit status 1 while something is: the Job starts it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ENGINE = "http://127.0.0.1:8000/v1"
AT_ONCE = 32
"""PDFs that the toolkit has open."""


def share(pdfs: list[Path], root: Path, index: int, pods: int) -> list[Path]:
    """The PDFs that fall to pod `index`, whatever others are added or taken away meanwhile."""
    mine = []
    for pdf in pdfs:
        digest = hashlib.sha256(pdf.relative_to(root).as_posix().encode()).digest()
        if int.from_bytes(digest[:8], "big") % pods == index:
            mine.append(pdf)
    return mine


def text_of(pdf: Path, documents: Path) -> Path:
    """Where a PDF's text is put."""
    return (documents / "out" / pdf.relative_to(documents / "in")).with_suffix(".md")


def collect(work: Path, documents: Path) -> None:
    """Puts the texts that the toolkit has finished into their places."""
    for result in sorted(work.glob("results/output_*.jsonl")):
        for line in result.read_text(encoding="utf-8").splitlines():
            try:
                answer = json.loads(line)
            except ValueError:  # it was being written when its pod died
                continue
            pdf = Path(answer["metadata"]["Source-File"])
            place = text_of(pdf, documents)
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_suffix(".part")
            part.write_text(answer["text"], encoding="utf-8")
            part.replace(place)
            failed = answer["metadata"].get("total-fallback-pages", 0)
            if failed:
                print(f"{pdf.name}: {failed} pages could not be read well", flush=True)


def toolkit(work: Path, pdfs: list[Path], model: str) -> list[str]:
    """The toolkit's command: a PDF is a work item of its own."""
    names = work / "pdfs.txt"
    names.write_text("\n".join(map(str, pdfs)), encoding="utf-8")
    command = [sys.executable, "-m", "olmocr.pipeline", str(work / "queue")]
    command += ["--pdfs", str(names), "--model", model, "--server", ENGINE]
    command += ["--pages_per_group", "1", "--max_page_error_rate", "1", "--workers", str(AT_ONCE)]
    return command


def main() -> int:
    documents = Path(os.environ["DOCUMENTS"])
    index = int(os.environ["JOB_COMPLETION_INDEX"])
    root = documents / "in"
    work = documents / ".work" / str(index)
    mine = share(sorted(root.rglob("*.pdf")), root, index, int(os.environ["PODS"]))
    collect(work / "queue", documents)
    missing = [pdf for pdf in mine if not text_of(pdf, documents).exists()]
    print(f"share {index}: {len(mine)} PDFs, {len(missing)} to read", flush=True)
    if missing:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        subprocess.run(toolkit(work, missing, os.environ["MODEL"]), check=False)
        collect(work / "queue", documents)
    missing = [pdf for pdf in mine if not text_of(pdf, documents).exists()]
    for pdf in missing:
        print(f"missing: {pdf.relative_to(root)}", flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
