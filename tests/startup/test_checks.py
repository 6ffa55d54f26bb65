"""What is looked at before a boot, and what each lack is called."""

from collections.abc import Callable
from pathlib import Path

import pytest
from boot.checks import check_gpu, check_password, check_volume
from boot.failures import Fatal

from tests.startup.configurations import configured
from tests.startup.test_configuration import MODELS, exported

NvidiaSmi = Callable[..., None]


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvidiaSmi:
    """Puts a program of that name into PATH, with this header and this much GPU memory."""

    def put(header: str, mib: int = 46068) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        row = f"NVIDIA L40S, {mib}, 580.95.05"
        program.write_text(f"#!/bin/sh\n[ $# = 0 ] && echo '{header}' || echo '{row}'\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return put


def test_a_password_that_would_leave_the_door_open_is_refused() -> None:
    check_password("é" * 36)
    with pytest.raises(Fatal, match="72 bytes"):
        check_password("é" * 37)


@pytest.mark.parametrize(
    ("version", "reason"),
    [("CUDA Version: 12.8", "12.8, 13.0 is needed"), ("CUDA Version: N/A", "0, 13.0 is needed")],
)
def test_an_old_driver_is_refused(
    version: str, reason: str, nvidia_smi: NvidiaSmi, tmp_path: Path
) -> None:
    nvidia_smi(version)
    with pytest.raises(Fatal, match=reason):
        check_gpu(configured(tmp_path).model.needs, forced=False)


@pytest.mark.parametrize(
    "header", ["CUDA Version: 13.0", "CUDA Version: 13.10", "CUDA UMD Version: 13.1"]
)
def test_a_new_driver_is_taken(header: str, nvidia_smi: NvidiaSmi, tmp_path: Path) -> None:
    nvidia_smi(header)
    found = check_gpu(configured(tmp_path).model.needs, forced=False)
    assert str(found) == "NVIDIA L40S 580.95.05"


def test_a_pod_that_was_forced_goes_on_with_too_little_memory_and_says_so(
    nvidia_smi: NvidiaSmi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nvidia_smi("CUDA Version: 13.0", 8192)
    needs = configured(tmp_path).model.needs
    with pytest.raises(Fatal, match="8192 MiB of GPU memory are too few"):
        check_gpu(needs, forced=False)
    assert str(check_gpu(needs, forced=True)) == "NVIDIA L40S 580.95.05"
    told = "8192 MiB of GPU memory are too few for this model; going on because of --force"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("script", MODELS, ids=lambda path: path.stem)
def test_every_model_fits_every_gpu_of_the_default_list(
    script: Path, nvidia_smi: NvidiaSmi, tmp_path: Path
) -> None:
    needs = configured(tmp_path, **exported(script)).model.needs
    for mib in (24564, 46068, 81920):
        nvidia_smi("CUDA Version: 13.0", mib)
        assert check_gpu(needs, forced=False)
    nvidia_smi("CUDA Version: 13.0", 12 * 1024)
    with pytest.raises(Fatal, match="too few"):
        check_gpu(needs, forced=False)


def test_what_podkit_holds_on_the_volume_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = configured(tmp_path, RUNPOD_VOLUME_ID="vol1")
    volume = configuration.volume
    for folder, gib in (("hf_cache/model", 1.5), ("podkit/cache", 0.25), ("someone else's", 3)):
        (volume / folder).mkdir(parents=True)
        with open(volume / folder / "file", "wb") as file:
            file.truncate(int(gib * 2**30))  # sparse
    (volume / "hf_cache" / "gone").symlink_to("nowhere")
    check_volume(configuration)
    assert capsys.readouterr().out == "podkit: volume used_gib=1.8\n"
