"""Snapshots of the chats, and the lease that keeps two pods from writing them."""

import json
import sqlite3
from collections.abc import Set
from contextlib import closing
from pathlib import Path

import pytest
from chats import LEASE_SECONDS, Chats, is_sound, known_schemas

NOW = 1_800_000_000.0


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return tmp_path / "volume" / "podkit" / "open-webui" / "olmocr"


def pod(
    tmp_path: Path,
    volume: Path,
    name: str,
    now: float = NOW,
    chat: str = "",
    schemas: Set[str] = frozenset({""}),
) -> Chats:
    """A pod that has booted: its chats are restored, then `chat` is written."""
    data = tmp_path / name / "webui-data"
    data.mkdir(parents=True, exist_ok=True)
    chats = Chats(volume, data, name)
    chats.restore(now, schemas)
    chats.live = True
    write(chats, chat)
    return chats


def write(chats: Chats, chat: str) -> None:
    with closing(sqlite3.connect(chats.data / "webui.db")) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE IF NOT EXISTS chat (text)")
        if chat:
            db.execute("INSERT INTO chat VALUES (?)", [chat])


def write_schema(chats: Chats, revision: str) -> None:
    with closing(sqlite3.connect(chats.data / "webui.db")) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num)")
        db.execute("DELETE FROM alembic_version")
        db.execute("INSERT INTO alembic_version VALUES (?)", [revision])


def read(chats: Chats) -> list[str]:
    with closing(sqlite3.connect(chats.data / "webui.db")) as db:
        return [row[0] for row in db.execute("SELECT text FROM chat ORDER BY rowid")]


def upload(chats: Chats, name: str) -> Path:
    (chats.data / "uploads").mkdir(exist_ok=True)
    (chats.data / "uploads" / name).write_text(name)
    return chats.data / "uploads" / name


def test_chats_and_uploads_are_there_again_in_the_next_pod(tmp_path: Path, volume: Path) -> None:
    first = pod(tmp_path, volume, "a", chat="hello")
    upload(first, "page.png")
    first.keep(NOW + 1, last=True)
    second = pod(tmp_path, volume, "b", NOW + 2)
    assert read(second) == ["hello"]
    assert (second.data / "uploads" / "page.png").read_text() == "page.png"


def test_a_snapshot_is_taken_while_the_database_is_being_written(
    tmp_path: Path, volume: Path
) -> None:
    chats = pod(tmp_path, volume, "a", chat="committed")
    with closing(sqlite3.connect(chats.data / "webui.db")) as writer:
        writer.execute("INSERT INTO chat VALUES ('not committed')")
        chats.keep(NOW + 1, last=True)
    assert read(pod(tmp_path, volume, "b", NOW + 2)) == ["committed"]


def test_the_newest_two_are_kept_whole(tmp_path: Path, volume: Path) -> None:
    chats = pod(tmp_path, volume, "a")
    upload(chats, "page.png")
    for minute in range(1, 5):
        write(chats, f"chat {minute}")
        chats.keep(NOW + 60 * minute)
    older, newer = chats.snapshots()
    assert newer.name == "20270115T080400Z"
    assert (
        (older / "uploads/page.png").read_text()
        == (newer / "uploads/page.png").read_text()
        == "page.png"
    )
    assert not list(volume.glob(".incoming*"))


def test_two_snapshots_within_a_second_are_both_taken(tmp_path: Path, volume: Path) -> None:
    first = pod(tmp_path, volume, "a", chat="one")
    first.keep(NOW + 60)
    write(first, "two")
    first.keep(NOW + 60.5, last=True)
    second = pod(tmp_path, volume, "b", NOW + 61)
    assert read(second) == ["one", "two"]


def test_a_last_snapshot_that_fails_gives_the_lease_back(
    tmp_path: Path, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pod(tmp_path, volume, "a", chat="one")
    first.keep(NOW + 60)
    write(first, "two")
    with monkeypatch.context() as full:
        full.setattr("shutil.copyfile", failing)
        first.keep(NOW + 120, last=True)
    second = pod(tmp_path, volume, "b", NOW + 121, chat="three")
    second.keep(NOW + 180, last=True)
    assert read(pod(tmp_path, volume, "c", NOW + 181)) == ["one", "three"]


def failing(*_: object) -> None:
    raise OSError("no space left on device")


def test_nothing_new_makes_no_snapshot(tmp_path: Path, volume: Path) -> None:
    chats = pod(tmp_path, volume, "a", chat="hello")
    chats.keep(NOW + 60)
    chats.keep(NOW + 120)
    assert len(chats.snapshots()) == 1


def test_a_link_among_the_uploads_brings_no_file_of_the_pod_to_the_volume_or_back(
    tmp_path: Path, volume: Path
) -> None:
    """The page may write there, the boot may read more than the page."""
    secret = tmp_path / "secret"
    secret.write_text("the pod's key")
    chats = pod(tmp_path, volume, "a", chat="hello")
    (chats.data / "uploads").mkdir(exist_ok=True)
    (chats.data / "uploads" / "page.png").symlink_to(secret)
    chats.keep(NOW + 60, last=True)
    assert (chats.snapshots()[-1] / "uploads/page.png").is_symlink()
    second = pod(tmp_path, volume, "b", NOW + 70)
    assert (second.data / "uploads/page.png").is_symlink()


def test_a_deleted_upload_is_gone_from_the_next_snapshot(tmp_path: Path, volume: Path) -> None:
    chats = pod(tmp_path, volume, "a", chat="hello")
    page = upload(chats, "page.png")
    chats.keep(NOW + 60)
    page.unlink()
    chats.keep(NOW + 120)
    assert not (chats.snapshots()[-1] / "uploads/page.png").exists()


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\0 and then nonsense" * 100])
def test_a_damaged_snapshot_is_set_aside_for_the_one_before(
    tmp_path: Path, volume: Path, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    chats = pod(tmp_path, volume, "a", chat="one")
    chats.keep(NOW + 60)
    write(chats, "two")
    chats.keep(NOW + 120, last=True)
    (chats.snapshots()[-1] / "webui.db").write_bytes(damage)
    second = pod(tmp_path, volume, "b", NOW + 130)
    assert read(second) == ["one"]
    assert [path.name for path in volume.glob("damaged-*")] == ["damaged-20270115T080200Z"]
    assert f"20270115T080200Z is damaged: kept as {volume}/damaged-" in capsys.readouterr().out
    write(second, "three")
    second.keep(NOW + 200)
    assert read(pod(tmp_path, volume, "c", NOW + 210)) == ["one", "three"]


def test_with_every_snapshot_damaged_it_starts_empty(tmp_path: Path, volume: Path) -> None:
    chats = pod(tmp_path, volume, "a", chat="one")
    chats.keep(NOW + 60, last=True)
    (chats.snapshots()[0] / "webui.db").unlink()
    assert read(pod(tmp_path, volume, "b", NOW + 70)) == []


def test_chats_of_another_program_are_kept_aside_and_said(
    tmp_path: Path, volume: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pod(tmp_path, volume, "a", chat="of the sandbox's light page").keep(NOW + 60, last=True)
    second = Chats(volume, tmp_path / "b/webui-data", "b")
    second.restore(NOW + 70, {"3ff2c63645b8", "0bd252b206fb"})
    assert not (second.data / "webui.db").exists()
    (aside,) = volume.glob("foreign-*")
    assert is_sound(aside / "webui.db")
    assert f"is of another chat page or a newer one: kept as {aside}" in capsys.readouterr().out


def test_chats_of_a_newer_open_webui_make_room_for_the_ones_before(
    tmp_path: Path, volume: Path
) -> None:
    chats = pod(tmp_path, volume, "a", chat="one")
    write_schema(chats, "known")
    chats.keep(NOW + 60)
    write(chats, "two")
    write_schema(chats, "made tomorrow")
    chats.keep(NOW + 120, last=True)
    second = Chats(volume, tmp_path / "b/webui-data", "b")
    second.restore(NOW + 130, {"known"})
    assert read(second) == ["one"]


def test_chats_set_aside_are_never_deleted(tmp_path: Path, volume: Path) -> None:
    pod(tmp_path, volume, "a", chat="old").keep(NOW + 60, last=True)
    second = pod(tmp_path, volume, "b", NOW + 70, schemas={"another"})
    for minute in range(2, 7):
        write(second, f"chat {minute}")
        second.keep(NOW + 60 * minute)
    assert len(second.snapshots()) == 2
    assert len(list(volume.glob("foreign-*"))) == 1


def test_an_environments_schemas_are_those_of_its_open_webuis_migrations(tmp_path: Path) -> None:
    versions = tmp_path / "lib/python3.12/site-packages/open_webui/migrations/versions"
    versions.mkdir(parents=True)
    (versions / "3ff2c63645b8_reshape_config_to_per_key_rows.py").touch()
    (versions / "0bd252b206fb_add_missing_auth_rows.py").touch()
    assert known_schemas(tmp_path) == {"3ff2c63645b8", "0bd252b206fb"}
    assert known_schemas(tmp_path / "without") == {""}


def test_a_second_pod_reads_the_chats_but_says_that_its_own_are_not_kept(
    tmp_path: Path, volume: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = pod(tmp_path, volume, "a", chat="first")
    first.keep(NOW + 1)
    second = pod(tmp_path, volume, "b", NOW + 2, chat="second")
    assert read(second) == ["first", "second"]
    for minute in (1, 2):
        second.keep(NOW + 60 * minute)
    assert capsys.readouterr().out.count("chats of this pod are not kept") == 1
    second.keep(NOW + 180, last=True)
    assert json.loads((volume / "lease.json").read_text())["pod"] == "a"
    assert len(first.snapshots()) == 1


def test_a_pod_that_missed_anothers_chats_never_overwrites_them(
    tmp_path: Path, volume: Path
) -> None:
    first = pod(tmp_path, volume, "a", chat="first")
    second = pod(tmp_path, volume, "b", NOW + 1, chat="second")
    first.keep(NOW + 2, last=True)
    for minute in (10, 20, 30):
        second.keep(NOW + 60 * minute)
    assert read(pod(tmp_path, volume, "c", NOW + 3600)) == ["first"]


def test_the_lease_of_a_pod_that_vanished_is_taken_over_when_it_expires(
    tmp_path: Path, volume: Path
) -> None:
    pod(tmp_path, volume, "a", chat="never saved")
    second = pod(tmp_path, volume, "b", NOW + 10, chat="second")
    second.keep(NOW + LEASE_SECONDS - 1)
    assert not second.snapshots()
    second.keep(NOW + LEASE_SECONDS + 1)  # taken: written only once it proves to be ours
    assert not second.snapshots()
    second.keep(NOW + LEASE_SECONDS + 121)
    assert len(second.snapshots()) == 1


def test_of_two_pods_that_take_a_free_lease_at_once_only_the_last_writes(
    tmp_path: Path, volume: Path
) -> None:
    first = pod(tmp_path, volume, "a", chat="first")
    second = pod(tmp_path, volume, "b", chat="second")
    (volume / "lease.json").unlink()
    assert not first.holds_lease(NOW)
    (volume / "lease.json").unlink()  # the other had read before the first wrote
    assert not second.holds_lease(NOW)
    first.keep(NOW + 120)
    second.keep(NOW + 120)
    assert read(pod(tmp_path, volume, "c", NOW + 3600)) == ["second"]


def test_a_restarted_container_of_the_same_pod_keeps_its_lease(
    tmp_path: Path, volume: Path
) -> None:
    pod(tmp_path, volume, "a", chat="one").keep(NOW + 1)
    again = pod(tmp_path, volume, "a", NOW + 5, chat="two")
    again.keep(NOW + 6)
    assert read(pod(tmp_path, volume, "c", NOW + 3600)) == ["one", "two"]


def test_what_open_webui_never_served_does_not_replace_a_snapshot(
    tmp_path: Path, volume: Path
) -> None:
    chats = pod(tmp_path, volume, "a", chat="broken by a failed upgrade")
    chats.live = False
    chats.keep(NOW + 60, last=True)
    assert not chats.snapshots()


def test_before_the_restore_there_is_nothing_to_keep(tmp_path: Path, volume: Path) -> None:
    Chats(volume, tmp_path / "data", "a").keep(NOW, last=True)
    assert not volume.exists()


def test_what_cannot_be_saved_is_said_and_does_not_end_the_boot(
    tmp_path: Path, volume: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats = pod(tmp_path, volume, "a", chat="hello")
    (chats.data / "webui.db").write_bytes(b"SQLite format 3\0 and then nonsense" * 100)
    chats.keep(NOW + 60)
    assert "podkit: chats could not be saved: " in capsys.readouterr().out
    assert not chats.snapshots()
