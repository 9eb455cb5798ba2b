"""The demo's files: found, named so that JSON can carry them, hashed."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from jobengine import NO_TENANT, Job, Reject
from jobengine.demo.files import decoded, find, hash_file, version_of
from jobengine.demo.worker import hash_one

ODD = [b"a b", b"100%", b"%41", "ü".encode(), b"\xff\xfe", b"a\nb", b"'\""]


def hash_job(path: str) -> Job:
    now = datetime.now(UTC)
    return Job(
        request=1,
        job_id=uuid4(),
        tenant_id=NO_TENANT,
        queue="demo",
        job_type="hash_file",
        priority=5,
        input={"folder": "/", "path": path},
        meta={},
        run_at=now,
        attempt=1,
        max_attempts=5,
        lease_epoch=1,
        lease_expires_at=now,
        lease_seconds=60,
        started_at=now,
        delivery="at_least_once",
        expires_at=None,
        created_at=now,
    )


def test_regular_files_are_found_folder_by_folder(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/x/y", "c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [Path(file.path).relative_to(tmp_path) for file in find(tmp_path)] == [
        Path(name) for name in ("c", "a/x/y", "b/1", "b/2")
    ]
    assert {file.folder for file in find(tmp_path)} == {
        str(tmp_path / name) for name in ("", "a/x", "b")
    }


def test_dot_folders_links_and_what_is_no_file_are_left_out(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".hidden").write_text("a file may be hidden")
    (tmp_path / "link").symlink_to(tmp_path / ".hidden")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [Path(file.path).name for file in find(tmp_path)] == [".hidden"]


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert list(find(tmp_path / "nowhere")) == []


@pytest.mark.parametrize("name", ODD, ids=repr)
def test_any_name_survives_json(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(b"content")
    (found,) = find(tmp_path)
    sent = orjson.loads(orjson.dumps(found.path))
    assert decoded(sent) == path
    assert found.version == version_of(path)
    assert hash_file(sent).bytes == 7


def test_a_hash_is_the_first_63_bits_of_sha_256(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(data)
    hashed = hash_file(str(tmp_path / "file"))
    assert hashed.bytes == len(data)
    assert hashed.digest == int(hashlib.sha256(data).hexdigest()[:16], 16) >> 1


def test_a_version_tells_a_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    before = version_of(str(file))
    assert before is not None
    file.write_text("three")
    assert version_of(str(file)) != before
    file.unlink()
    assert version_of(str(file)) is None


@pytest.mark.parametrize("what", ["nothing", "a folder"])
def test_what_cannot_be_read_fails_for_good(tmp_path: Path, what: str) -> None:
    path = tmp_path if what == "a folder" else tmp_path / "gone"
    result: Any = hash_one(hash_job(str(path)))
    assert isinstance(result, Reject)
    assert result.code == "unreadable"
    assert str(path) in result.message


def test_what_can_be_read_is_hashed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result: Any = hash_one(hash_job(str(tmp_path / "file")))
    assert result.keys() == {"bytes", "digest"}
