"""What vLLM compiled, from pod to pod."""

from pathlib import Path

from boot.model_server import copy_cache


def test_a_cache_is_published_whole_and_never_over_another(tmp_path: Path) -> None:
    local = tmp_path / "local"
    shared = tmp_path / "shared"
    copy_cache(local, shared, "pod1")
    assert not shared.exists()
    local.mkdir()
    (local / "compiled").write_text("first")
    copy_cache(local, shared, "pod1")
    (local / "compiled").write_text("second")
    copy_cache(local, shared, "pod1")
    assert (shared / "compiled").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["local", "shared"]
