"""Files to and from an S3 server that obeys the provider's limits, and breaks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from podkit.errors import S3Failed
from podkit.s3 import Bucket, sha256_of
from podkit.uploads import Uploads
from tests.s3.servers import Door, Fault, access

pytestmark = pytest.mark.slow


def ignore(_: int) -> None:
    pass


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / ".podkit/uploads.json")


def test_a_small_file_there_and_back(bucket: Bucket, uploads: Uploads, tmp_path: Path) -> None:
    file = tmp_path / "a file.pdf"
    file.write_bytes(b"%PDF")
    assert bucket.find("pdfs/a file.pdf") is None
    assert bucket.put(file, "pdfs/a file.pdf", uploads, ignore) == "md5"
    stored = bucket.find("pdfs/a file.pdf")
    assert stored
    assert bucket.get(stored, tmp_path / "out/copy.pdf", ignore) == "md5"
    assert (tmp_path / "out/copy.pdf").read_bytes() == b"%PDF"


def test_a_large_file_goes_in_parts_below_the_limit(
    bucket: Bucket, door: Door, uploads: Uploads, large: Path, tmp_path: Path
) -> None:
    door.largest = 6 * 2**20
    moved: list[int] = []
    assert bucket.put(large, "large.bin", uploads, moved.append) == "md5"
    assert sum(moved) == large.stat().st_size
    assert [one.size for one in door.asked if "partNumber" in one.path] != []
    assert max(one.size for one in door.asked) <= 5 * 2**20
    stored = bucket.find("large.bin")
    assert stored
    proof = bucket.get(stored, tmp_path / "back.bin", ignore, sha256_of(large))
    assert proof == "sha256"
    assert bucket.get(stored, tmp_path / "again.bin", ignore) == "md5"


def test_an_upload_that_broke_off_goes_on_with_the_missing_parts(
    bucket: Bucket, door: Door, uploads: Uploads, large: Path
) -> None:
    door.faults.append(Fault("PUT", "partNumber=3", "404"))
    with pytest.raises(S3Failed, match=r"large\.bin"):
        bucket.put(large, "large.bin", uploads, ignore)
    before = len(door.asked)
    assert bucket.put(large, "large.bin", uploads, ignore) == "md5"
    sent = [one.path for one in door.asked[before:] if "partNumber" in one.path]
    assert len(sent) == 1
    assert "partNumber=3" in sent[0]
    assert uploads.read() == {}


def test_a_file_that_has_changed_since_is_sent_again(
    bucket: Bucket, door: Door, uploads: Uploads, large: Path
) -> None:
    door.faults.append(Fault("PUT", "partNumber=3", "404"))
    with pytest.raises(S3Failed):
        bucket.put(large, "large.bin", uploads, ignore)
    large.write_bytes(large.read_bytes()[::-1])
    assert bucket.put(large, "large.bin", uploads, ignore) == "md5"


def test_502s_are_asked_again(bucket: Bucket, door: Door, uploads: Uploads, tmp_path: Path) -> None:
    door.faults.append(Fault("PUT", "a.txt", "502", times=8))
    (tmp_path / "a.txt").write_text("text")
    assert bucket.put(tmp_path / "a.txt", "a.txt", uploads, ignore) == "md5"


def test_a_server_whose_etag_is_no_checksum_is_read_back(
    bucket: Bucket, door: Door, uploads: Uploads, large: Path
) -> None:
    door.hides_etags = True
    assert bucket.put(large, "large.bin", uploads, ignore) == "read back"


def test_what_was_damaged_on_its_way_is_not_taken_for_whole(
    bucket: Bucket, door: Door, uploads: Uploads, tmp_path: Path
) -> None:
    door.hides_etags = True
    door.faults.append(Fault("GET", "a.txt", "flip"))
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(S3Failed, match="is not what was sent"):
        bucket.put(tmp_path / "a.txt", "a.txt", uploads, ignore)


def test_a_fetch_that_breaks_off_goes_on_where_it_was(
    bucket: Bucket, door: Door, uploads: Uploads, large: Path, tmp_path: Path
) -> None:
    bucket.put(large, "large.bin", uploads, ignore)
    stored = bucket.find("large.bin")
    assert stored
    door.faults.append(Fault("GET", "large.bin", "reset", times=2))
    assert bucket.get(stored, tmp_path / "b.bin", ignore, sha256_of(large)) == "sha256"
    ranges = [one.headers.get("Range") for one in door.asked if one.method == "GET"]
    assert ranges[0] == "bytes=0-"
    assert len(set(ranges)) == 3


def test_a_wrong_byte_is_refused_and_leaves_nothing(
    bucket: Bucket, door: Door, uploads: Uploads, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("text")
    bucket.put(tmp_path / "a.txt", "a.txt", uploads, ignore)
    stored = bucket.find("a.txt")
    assert stored
    door.faults.append(Fault("GET", "a.txt", "flip"))
    with pytest.raises(S3Failed, match="SHA-256"):
        bucket.get(stored, tmp_path / "out.txt", ignore, hashlib.sha256(b"text").hexdigest())
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_a_plain_etag_that_is_not_the_md5_has_a_fetched_file_read_twice(
    bucket: Bucket, door: Door, uploads: Uploads, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("text")
    bucket.put(tmp_path / "a.txt", "a.txt", uploads, ignore)
    door.hides_etags = True
    stored = bucket.find("a.txt")
    assert stored
    assert bucket.get(stored, tmp_path / "out.txt", ignore) == "read back"
    door.faults.append(Fault("GET", "a.txt", "flip"))
    with pytest.raises(S3Failed, match="differently twice"):
        bucket.get(stored, tmp_path / "again.txt", ignore)
    assert not [path.name for path in tmp_path.iterdir() if "again" in path.name]


def test_a_listing_that_repeats_itself_is_asked_again(
    bucket: Bucket, door: Door, uploads: Uploads, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("text")
    for key in ("a.txt", "hf_cache/m/config.json", "pdfs/b.pdf"):
        bucket.put(tmp_path / "a.txt", key, uploads, ignore)
    door.bad_listings = 3
    files, folders = bucket.folder("")
    assert ([one.key for one in files], folders) == (["a.txt"], ["hf_cache/", "pdfs/"])
    door.bad_listings = 99
    with pytest.raises(S3Failed, match="repeats itself") as caught:
        bucket.folder("")
    assert "computing checksums" in caught.value.hint


def test_keys_are_in_no_error(door: Door, volume_id: str, tmp_path: Path) -> None:
    door.faults.append(Fault("HEAD", "x", "502", times=99))
    closed = Bucket(access("http://127.0.0.1:9", "user_abc", "rps_def", "sts_ghi"), volume_id)
    missing = Bucket(access(door.url, "user_abc", "rps_def", "sts_ghi"), "no-such-bucket")
    for bucket in (closed, missing):
        with pytest.raises(S3Failed) as caught:
            bucket.read("x")
        shown = f"{caught.value.message} {caught.value.hint} {caught.value!r}"
        assert not [word for word in ("user_abc", "rps_def", "sts_ghi") if word in shown]


def test_a_session_token_goes_with_the_keys(door: Door, volume_id: str) -> None:
    Bucket(access(door.url, token="sts_ghi"), volume_id).find("x")
    assert door.asked[-1].headers["X-Amz-Security-Token"] == "sts_ghi"


def test_nothing_of_the_machine_s_own_configuration_is_used(
    door: Door, volume_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    Bucket(access(door.url), volume_id).find("x")
    assert "X-Amz-Security-Token" not in door.asked[-1].headers


def test_the_same_on_a_server_without_checksums(
    s3rver: str, uploads: Uploads, large: Path, tmp_path: Path
) -> None:
    poor = Bucket(access(s3rver, "S3RVER", "S3RVER"), "models")
    assert poor.put(large, "a/large.bin", uploads, ignore) in ("md5", "read back")
    stored = poor.find("a/large.bin")
    assert stored
    assert poor.get(stored, tmp_path / "back.bin", ignore, sha256_of(large)) == "sha256"
    assert [one.key for one in poor.folder("a/")[0]] == ["a/large.bin"]
