"""The script that makes the constraints again."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import lock_constraints
from podkit import ROOT

UV = Path(sys.executable).with_name("uv")


def package(*wheels: str, **more: Any) -> dict[str, Any]:
    listed = []
    for name in wheels:
        url = f"https://index.invalid/{name}"
        listed.append({"url": url, "hashes": {"sha256": f"hash-of-{name}"}})
    return {"name": "thing", "version": "1.0", "wheels": listed, **more}


@pytest.mark.parametrize(
    ("wheels", "best"),
    [
        (["thing-1.0-py3-none-any.whl"], 0),
        (["thing-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", "thing-1.0-py3-none-any.whl"], 1),
        (["thing-1.0-py3-none-any.whl", "thing-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"], 1),
        (
            [
                "thing-1.0-cp312-cp312-manylinux2014_x86_64.whl",
                "thing-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
                "thing-1.0-cp312-cp312-manylinux_2_41_x86_64.whl",
                "thing-1.0-cp312-cp312-manylinux_2_28_aarch64.whl",
            ],
            1,
        ),
        (["thing-1.0-cp39-abi3-manylinux1_x86_64.whl"], 0),
        (["thing-1.0-cp312-cp312-macosx_11_0_arm64.whl", "thing-1.0-py2.py3-none-any.whl"], 1),
    ],
)
def test_the_hash_is_that_of_the_wheel_that_a_pod_installs(wheels: list[str], best: int) -> None:
    found = lock_constraints.wheel_hash(package(*wheels), lock_constraints.pod_tags())
    assert found == f"hash-of-{wheels[best]}"


def test_a_package_that_a_pod_would_have_to_build_is_refused() -> None:
    mac = package("thing-1.0-cp312-cp312-macosx_11_0_arm64.whl")
    with pytest.raises(SystemExit, match=r"thing 1\.0 has no wheel for a pod"):
        lock_constraints.wheel_hash(mac, lock_constraints.pod_tags())


@pytest.mark.parametrize(
    ("marker", "line"),
    [
        ("sys_platform == 'win32'", ""),
        ("sys_platform == 'darwin'", 'thing==1.0 ; sys_platform == "darwin"'),
        ("python_version >= '3.11'", "thing==1.0 --hash=sha256:hash-of-thing-1.0-py3-none-any.whl"),
        (
            "python_version < '3.13'",
            'thing==1.0 ; python_version < "3.13" --hash=sha256:hash-of-thing-1.0-py3-none-any.whl',
        ),
    ],
)
def test_a_line_says_where_its_package_is_installed_and_has_a_hash_if_in_a_pod(
    marker: str, line: str
) -> None:
    thing = package("thing-1.0-py3-none-any.whl", marker=marker)
    tags = lock_constraints.pod_tags()
    assert lock_constraints.requirement(thing, lock_constraints.laptops(), tags) == line


def test_the_cut_off_is_the_pods() -> None:
    assert f"UV_EXCLUDE_NEWER={lock_constraints.CUTOFF}" in (ROOT / "startup/uv.env").read_text()


@pytest.mark.slow
def test_it_makes_the_same_file_again() -> None:
    """With the real uv and the package index."""
    file = ROOT / "startup/constraints-hf.txt"
    before = file.read_text()
    try:
        script = ROOT / "bench/lock_constraints.py"
        env = {**os.environ, "PATH": f"{UV.parent}:{os.environ['PATH']}"}
        subprocess.run([sys.executable, str(script), "hf"], check=True, env=env)
        assert file.read_text() == before
    finally:
        file.write_text(before)
