"""Generated calls to the sandbox's API, compared with the provider's document by schemathesis."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from podkit_sandbox import control
from tests import contract

PATHS = (
    r"^/v2/(pods$|pods/\{id\}(/action)?$|network-volumes|registries(/\{id\})?$"
    r"|catalog/(gpus|cpus|datacenters)|billing/(pods|network-volumes|serverless)"
    r"|serverless(/\{id\}(/workers|/releases)?)?$)"
)
"""What is compared; log streams do not end, so their tests are their own."""
NEED_EACH_OTHER = "400 without its partner, as the parameter's own description says"
KNOWN = {
    ("GET /v2/billing/*", "valid"): "startTime and endTime need each other, as clients saw (2026)",
    ("GET /v2/catalog/*", "valid"): f"include and product: {NEED_EACH_OTHER}",
    ("GET /v2/pods", "valid"): "a cursor is opaque: only one from a list is understood",
    ("GET /v2/network-volumes", "valid"): "a cursor is opaque: only one from a list is understood",
    ("GET /v2/registries", "valid"): "a cursor is opaque: only one from a list is understood",
    ("POST /v2/pods", "valid"): "exactly one of gpu and cpu; no stock; no CPU pods here",
    ("POST /v2/network-volumes", "valid"): "not every data center has every tier of volumes",
    ("PATCH /v2/network-volumes/{id}", "valid"): "a volume cannot become smaller",
    ("* /v2/pods/{id}", "allow"): "changing a pod (PATCH) is not in the sandbox",
}
"""Findings that are as they should be: the operation, what was found, and why it stays."""
FINDINGS = {
    "Schema-valid request rejected": "valid",
    "Allow header mismatch": "allow",
}


def is_known(operation: str, text: str) -> bool:
    for (pattern, kind), _ in KNOWN.items():
        shape = re.escape(pattern).replace(r"\*", ".*")
        if re.fullmatch(shape, operation) and any(
            words in text for words, named in FINDINGS.items() if named == kind
        ):
            return True
    return False


@pytest.mark.slow
def test_generated_calls_find_nothing_that_is_not_listed(tmp_path: Path) -> None:
    contract.needed()
    report = tmp_path / "report.xml"
    connection = control.start(tmp_path / "sandbox")
    command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
    command += [os.environ["RUNPOD_OPENAPI"], "--url", connection.api_url.removesuffix("/v2")]
    command += ["-H", f"Authorization: Bearer {connection.api_key}"]
    command += ["--include-path-regex", PATHS, "--phases", "coverage,fuzzing"]
    command += ["--exclude-operation-id", "updatePod", "--seed", "1", "--max-examples", "2"]
    command += ["--continue-on-failure", "--request-timeout", "20", "--no-color"]
    command += ["--report-junit-path", str(report)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False
        )
    finally:
        control.stop(tmp_path / "sandbox")
    cases = ElementTree.parse(report).getroot().iter("testcase")  # noqa: S314 - our own
    tested = 0
    unlisted = []
    for case in cases:
        tested += 1
        for found in [*case.findall("failure"), *case.findall("error")]:
            text = f"{found.get('message')} {found.text}"
            for part in re.split(r"\n(?=\d+\. Test Case)", text):
                if not is_known(str(case.get("name")), part):
                    unlisted.append(f"{case.get('name')}: {part}")
    assert unlisted == [], done.stdout[-3000:]
    assert tested > 15, done.stdout[-3000:]
