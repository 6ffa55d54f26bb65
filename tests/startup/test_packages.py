"""What a pod installs: pinned wheels with the pinned hash, by the real uv."""

import base64
import hashlib
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from boot.configuration import Configuration, read_configuration
from boot.failures import Fatal
from boot.packages import PACKAGES, install
from boot.services import Services

from tests.startup.configurations import STARTUP, WHOLE

pytestmark = pytest.mark.slow

UV = Path(sysconfig.get_path("scripts"), "uv")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder with one package, as good as an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    write_wheel(folder, "print('the pinned one')")
    return folder


def write_wheel(folder: Path, text: str) -> str:
    """Writes huggingface_hub 2.4.0 with this module only. Returns the wheel's SHA-256."""
    wheel = folder / "huggingface_hub-2.4.0-py3-none-any.whl"
    info = "huggingface_hub-2.4.0.dist-info"
    files = {
        "huggingface_hub.py": text,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: huggingface-hub\nVersion: 2.4.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest())
            record += f"{name},sha256={digest.decode().rstrip('=')},{len(content)}\n"
            archive.writestr(name, content)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def pod(tmp_path: Path, index: Path, sha256: str) -> Configuration:
    """A pod whose constraints have this hash and whose only index is that folder."""
    startup = tmp_path / "startup"
    startup.mkdir()
    for name in ("uv.env", "failures.json"):
        shutil.copy(STARTUP / name, startup)
    line = f"{PACKAGES['hf']} --hash=sha256:{sha256}\n"
    (startup / "constraints-hf.txt").write_text(line)
    config = tmp_path / "uv.toml"
    config.write_text(f"no-index = true\nfind-links = ['{index}']\n")
    python = Path(sys.executable).resolve().parent
    environment = {
        **WHOLE,
        "PATH": f"{UV.parent}:{python}:/usr/bin:/bin",
        "PODKIT_LOCAL": str(tmp_path / "local"),
        "UV_CONFIG_FILE": str(config),
    }
    return read_configuration(environment, startup)


def installed(configuration: Configuration) -> Path:
    return install(Services(configuration), configuration, "hf")


def test_the_package_with_the_pinned_hash_is_installed(tmp_path: Path, index: Path) -> None:
    sha256 = hashlib.sha256(next(index.iterdir()).read_bytes()).hexdigest()
    binaries = installed(pod(tmp_path, index, sha256))
    assert list(binaries.parent.rglob("huggingface_hub.py"))


def test_a_package_that_was_replaced_in_the_index_does_not_get_in(
    tmp_path: Path, index: Path
) -> None:
    sha256 = hashlib.sha256(next(index.iterdir()).read_bytes()).hexdigest()
    write_wheel(index, "print('the replaced one')")
    with pytest.raises(Fatal, match="a package is not the one that was pinned") as caught:
        installed(pod(tmp_path, index, sha256))
    assert caught.value.step == "install"
    assert not list((tmp_path / "local").rglob("huggingface_hub.py"))


def test_nothing_is_built_from_source(tmp_path: Path, index: Path) -> None:
    wheel = next(index.iterdir())
    source = index / "huggingface_hub-2.4.0.tar.gz"
    wheel.rename(source)
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    with pytest.raises(Fatal):
        installed(pod(tmp_path, index, sha256))


def test_every_package_of_a_pod_has_one_hash() -> None:
    for name in PACKAGES:
        for line in (STARTUP / f"constraints-{name}.txt").read_text().splitlines():
            if not line.startswith("#") and " ;" not in line:
                assert line.count(" --hash=sha256:") == 1
