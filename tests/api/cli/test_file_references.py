"""`FileStore`: what a job's file reference leads to, and what a cut upload leaves behind."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.storage import job_files
from worker.jobs.storage.files import FileStore, NewFile
from worker.jobs.storage.paths import Home


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "sets").mkdir(parents=True)
    (root / "sets" / "chats.json").write_text("[]")
    (tmp_path / "secret.json").write_text("[]")
    return root


@pytest.fixture
def files(tmp_path: Path, data_root: Path) -> FileStore:
    return FileStore(Home(tmp_path / "home"), data_root)


NEW = NewFile(id="file-" + "0" * 26, filename="a.json", purpose="fine-tune")


def keep(files: FileStore, *chunks: bytes, max_bytes: int = 1000) -> str:
    new = NewFile.called(NEW.filename, purpose=NEW.purpose, owner="")
    return files.write(new, chunks=chunks, max_bytes=max_bytes).id


def test_a_file_id_leads_to_its_content(files: FileStore) -> None:
    path = files.resolve(keep(files, b"one ", b"two"))
    assert path.is_absolute()
    assert path.read_bytes() == b"one two"


@pytest.mark.parametrize("reference", ["sets/chats.json", "./sets/chats.json"])
def test_a_path_leads_into_the_data_root(files: FileStore, data_root: Path, reference: str) -> None:
    assert files.resolve(reference) == (data_root / "sets" / "chats.json").resolve()


def test_a_link_that_stays_inside_is_followed(files: FileStore, data_root: Path) -> None:
    (data_root / "link.json").symlink_to(data_root / "sets" / "chats.json")
    assert files.resolve("link.json").name == "chats.json"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("/etc/passwd", "not allowed"),
        ("../secret.json", "not allowed"),
        ("sets/../../secret.json", "not allowed"),
        ("link.json", "is outside the data root"),
        ("linked/secret.json", "is outside the data root"),
        ("sets", "not a regular file"),
        (".", "not allowed"),
        ("pipe", "not a regular file"),
        ("sets/chats.json\0.txt", "not allowed"),
        ("loop", "can't be opened"),
        ("x" * 5000, "can't be opened"),
    ],
)
def test_a_path_never_leaves_the_data_root(
    files: FileStore, data_root: Path, reference: str, reason: str
) -> None:
    (data_root / "link.json").symlink_to(data_root.parent / "secret.json")
    (data_root / "linked").symlink_to(data_root.parent)
    (data_root / "loop").symlink_to(data_root / "loop")
    os.mkfifo(data_root / "pipe")
    with pytest.raises(InvalidRequestError, match=reason):
        files.resolve(reference)


@pytest.mark.parametrize("reference", ["none.json", "sets/none.json", "file-" + "0" * 26])
def test_a_reference_to_nothing_says_so(files: FileStore, reference: str) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        files.resolve(reference)


def test_without_a_data_root_a_path_is_answered_with_what_is_expected(tmp_path: Path) -> None:
    files = FileStore(Home(tmp_path / "home"), None)
    with pytest.raises(NotFoundError, match="expected the id of an uploaded file"):
        files.resolve("sets/chats.json")


def test_a_file_over_the_limit_leaves_nothing_behind(files: FileStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="larger than 5 bytes"):
        keep(files, b"123", b"456", max_bytes=5)
    assert list((tmp_path / "home" / "files").iterdir()) == []
    assert keep(files, b"123", b"45", max_bytes=5)


def test_an_upload_that_breaks_off_leaves_nothing_behind(files: FileStore, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"123"
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        files.write(NEW, chunks=broken(), max_bytes=5)
    assert list((tmp_path / "home" / "files").iterdir()) == []


def test_a_deletion_that_was_killed_is_finished_at_once(
    files: FileStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone, kept = keep(files, b"1"), keep(files, b"2")

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("worker.jobs.storage.files.remove", killed)
        with pytest.raises(KeyboardInterrupt):
            files.delete(gone)
    assert [file.id for file in files.all()] == [kept]
    assert files.remove_abandoned() == (gone,)
    assert {path.name for path in (tmp_path / "home" / "files").iterdir()} == {kept}


def test_what_can_not_be_removed_is_logged_and_keeps_nothing_else_from_going(
    files: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, other = keep(files, b"1"), keep(files, b"2")
    remove = job_files.remove

    def refuses(path: Path) -> None:
        if path.name == stuck:
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    monkeypatch.setattr("worker.jobs.storage.files.remove", refuses)
    with pytest.raises(PermissionError):
        files.delete(stuck)
    files.delete(other)
    assert files.remove_abandoned() == ()
    assert f"cannot remove the remains of {stuck}" in caplog.text


def test_what_a_killed_upload_left_is_no_file_and_is_removed_after_a_day(
    files: FileStore, tmp_path: Path
) -> None:
    whole, cut, fresh = keep(files, b"1"), keep(files, b"2"), keep(files, b"3")
    directory = tmp_path / "home" / "files"
    for file_id in (cut, fresh):
        (directory / file_id / "meta.json").unlink()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(directory / cut, (long_ago, long_ago))
    os.utime(directory / whole, (long_ago, long_ago))

    assert [file.id for file in files.all()] == [whole]
    with pytest.raises(NotFoundError):
        files.get(cut)
    assert files.remove_abandoned() == (cut,)
    assert {path.name for path in directory.iterdir()} == {whole, fresh}
