"""What a boot teaches: vLLM's figures, and nothing of a boot that failed but a GPU too small."""

import json
from pathlib import Path

import pytest
from boot.checks import Gpu
from boot.failures import Fatal
from boot.fit import Needs, flags_hash
from boot.learned import keep, lesson, lesson_of_failure

from podkit.models.learned import read_boot
from tests.startup.configurations import configured
from tests.startup.local_pod import Pod

L40S = Gpu("NVIDIA L40S", 46068.0, "580.95.05")
LOG = """\
(EngineCore pid=7) INFO 11-20 10:00:01 [gpu_model_runner.py:1] Model loading took 9.37 GiB memory and 21.532414 seconds
(EngineCore pid=7) INFO 11-20 10:00:31 [gpu_worker.py:1] Available KV cache memory: 28.61 GiB
(EngineCore pid=7) INFO 11-20 10:00:31 [kv_cache_utils.py:1] GPU KV cache size: 535,696 tokens, Maximum concurrency for 16,384 tokens per request: 32.70x
"""  # noqa: E501 - as vLLM 0.32.0 writes them


def test_the_three_figures_of_vllm_with_what_they_belong_to(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    line = lesson(configuration, L40S, LOG)
    assert line["memory"] == {
        "gpu": "NVIDIA L40S",
        "gpu_mib": 46068.0,
        "vllm": "0.32.0",
        "flags": flags_hash(configuration.model.flags, configuration.model.needs),
        "utilization": 0.9,
        "weights_gib": 9.37,
        "load_seconds": 21.532414,
        "kv_gib": 28.61,
        "kv_tokens": 535_696.0,
    }
    boot = read_boot(json.dumps(line))
    assert boot
    assert boot.overhead_gib == pytest.approx(46068 / 1024 * 0.9 - 9.37 - 28.61, abs=0.001)


def test_other_words_of_vllm_teach_nothing_and_end_nothing(tmp_path: Path) -> None:
    assert read_boot(json.dumps(lesson(configured(tmp_path), L40S, "all is well"))) is None


def test_a_failed_boot_teaches_only_that_the_gpu_was_too_small(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    other = Fatal("r", "f", output="CUDA error: an illegal memory access")
    assert lesson_of_failure(configuration, L40S, other) is None
    small = Fatal("r", "f", output="No available memory for the cache blocks.")
    line = lesson_of_failure(configuration, L40S, small)
    assert line
    boot = read_boot(json.dumps(line))
    assert boot
    assert boot.is_least
    left = 46068 / 1024 * 0.9 - 9.37 - 16_384 * 57_344 / 2**30
    assert boot.overhead_gib == pytest.approx(left, abs=0.001)


def test_a_volume_that_cannot_be_written_ends_no_boot(tmp_path: Path) -> None:
    keep(configured(tmp_path), {"at": "now"})  # there is no folder podkit on it


@pytest.mark.slow
def test_a_boot_leaves_its_figures_in_the_log_and_on_the_volume(pod: Pod) -> None:
    log = pod.start().ready().log.read_text()
    told = [row for row in log.splitlines() if row.startswith("podkit: learned ")]
    row = (pod.volume / "podkit/boots.jsonl").read_text()
    boot = read_boot(row)
    assert boot
    assert boot == read_boot(told[0].removeprefix("podkit: learned "))
    assert (boot.model, boot.gpu, boot.vllm) == ("qwen3vl", "NVIDIA L40S", "0.32.0")
    assert boot.overhead_gib == pytest.approx(1.75, abs=0.01)


def test_flags_are_the_same_however_they_are_broken_into_lines() -> None:
    needs = Needs(9.37, 57_344, 16_384, 0.9)
    assert flags_hash("--a 1\n  --b 2", needs) == flags_hash("--a 1 --b 2", needs)
    assert flags_hash("--a 1", needs) != flags_hash("--a 1", Needs(9.37, 57_344, 8192, 0.9))
