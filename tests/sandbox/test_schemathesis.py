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

pytestmark = pytest.mark.slow

PATHS = (
    r"^/v2/(pods$|pods/\{id\}(/action)?$|network-volumes|registries(/\{id\})?$"
    r"|catalog/(gpus|cpus|datacenters)|billing/(pods|network-volumes|serverless)"
    r"|serverless(/\{id\}(/workers|/releases)?)?$)"
)
"""What is compared; log streams do not end, so their tests are their own."""
CURSOR = "$.cursor: not from a list of this API"
KNOWN = {
    # seen by three clients of the live service in 2026, whatever the document says
    "startTime and endTime must be given together": "GET /v2/billing/*",
    # 400 in the words of the parameters' own descriptions
    "lastN excludes startTime and endTime": "GET /v2/billing/*",
    "endTime must be after startTime": "GET /v2/billing/*",
    "include=AVAILABILITY and product need each other": "GET /v2/catalog/*",
    "countryCodes is valid with include=AVAILABILITY only": "GET /v2/catalog/*",
    # a cursor is opaque: only one that a list gave is understood
    CURSOR: "GET /v2/*",
    # the document leaves these to the service; it says so in its descriptions
    "exactly one of gpu and cpu is needed": "POST /v2/*",
    "is not a known GPU type": "POST /v2/pods",
    "unknown data center": "POST /v2/*",
    "no longer any instances available": "POST /v2/pods",
    "is no serverless pool": "POST /v2/serverless",
    "is not a known CPU flavor": "POST /v2/serverless",
    "must not exceed your workers quota": "POST /v2/serverless",
    "workers.min must not be above workers.max": "POST /v2/serverless",
    "does not apply to REQUEST_COUNT": "POST /v2/serverless",
    "a volume cannot become smaller": "PATCH /v2/network-volumes/{id}",
    # not every data center has every tier; the generator's names are of no data center
    " volumes": "POST /v2/network-volumes",
    "is unknown": "POST /v2/network-volumes",
    # the sandbox's own limits, in docs/sandbox.md
    "the sandbox has no CPU pods": "POST /v2/pods",
    "Missing documented methods: PATCH": "* /v2/pods/{id}",
}
"""Findings that are as they should be: words of the answer, and the operations they belong to."""


def is_known(operation: str, text: str) -> bool:
    for words, operations in KNOWN.items():
        shape = re.escape(operations).replace(r"\*", ".*")
        if words in text and re.fullmatch(shape, operation):
            return True
    return False


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
