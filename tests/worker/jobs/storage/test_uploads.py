"""`UploadStore`: what a kill leaves on disk, and what time does to an upload."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.jobs.errors import InvalidRequestError, NotFoundError, StorageFullError
from worker.jobs.storage.files import FILE_IDS, FileStore
from worker.jobs.storage.paths import Home
from worker.jobs.storage.upload import AnnouncedFile, Upload, UploadDirectory, UploadStatus
from worker.jobs.storage.uploads import UploadLimits, UploadStore, remove_old_uploads

DAY_SECONDS = 24 * 3600.0
TALKS = AnnouncedFile(filename="a", purpose="fine-tune", mime_type="text/plain", num_bytes=6)


class Shelf:
    """A store, its files, and a hand that changes what lies there."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        self.files = FileStore(self.home, None)
        limits = UploadLimits(max_bytes=1000, seconds=3600)
        self.store = UploadStore(self.home, self.files, limits)

    def begun(self, *parts: bytes) -> tuple[Upload, list[str]]:
        upload = self.store.create(TALKS, owner="")
        return upload, [
            self.store.add_part(upload.id, owner="", chunks=[part]).id for part in parts
        ]

    def directory(self, upload: Upload) -> UploadDirectory:
        return UploadDirectory(self.home.uploads / upload.id)

    def change(self, upload: Upload, **fields: object) -> None:
        directory = self.directory(upload)
        directory.write(directory.read().model_copy(update=fields))

    def file_names(self) -> list[str]:
        return [path.name for path in self.home.files.glob("*")]

    def num_parts(self, upload: Upload) -> int:
        return len(list((self.directory(upload).path / "parts").iterdir()))

    def clean(self) -> list[str]:
        return [upload_id for upload_id in remove_old_uploads(self.home.uploads) if upload_id]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_completion_killed_in_the_middle_of_the_file_goes_on_with_the_same_file(
    shelf: Shelf,
) -> None:
    upload, part_ids = shelf.begun(b"abc", b"def")
    file_id = FILE_IDS.new()
    shelf.change(upload, file_id=file_id, part_ids=tuple(part_ids))
    (shelf.home.files / file_id).mkdir(parents=True)
    (shelf.home.files / file_id / "content").write_bytes(b"ab")
    assert shelf.store.get(upload.id, owner="").status is UploadStatus.PENDING
    done = shelf.store.complete(upload.id, owner="", part_ids=part_ids)
    assert (done.status, done.file_id) == (UploadStatus.COMPLETED, file_id)
    assert shelf.files.content_path(file_id).read_bytes() == b"abcdef"


def test_a_completion_killed_behind_the_file_is_one(shelf: Shelf) -> None:
    upload, part_ids = shelf.begun(b"abc", b"def")
    done = shelf.store.complete(upload.id, owner="", part_ids=part_ids)
    shelf.change(upload, status=UploadStatus.PENDING, expires_at=1.0)
    assert shelf.store.get(upload.id, owner="") == done.model_copy(update={"expires_at": 1.0})
    again = shelf.store.complete(upload.id, owner="", part_ids=part_ids)
    assert again.file_id == done.file_id
    assert shelf.file_names() == [done.file_id]


def test_a_part_that_breaks_off_or_was_killed_is_none(shelf: Shelf) -> None:
    def broken() -> Iterator[bytes]:
        yield b"ab"
        raise ConnectionResetError("the client went away")

    upload, (part_id,) = shelf.begun(b"abc")
    with pytest.raises(ConnectionResetError):
        shelf.store.add_part(upload.id, owner="", chunks=broken())
    parts = shelf.directory(upload).path / "parts"
    assert shelf.num_parts(upload) == 1
    (parts / f"{part_id}.draft").write_bytes(b"def")  # what a kill leaves
    assert [part.id for part in shelf.store.parts(upload.id, owner="")] == [part_id]


def test_a_part_whose_upload_ends_while_it_comes_is_refused(shelf: Shelf) -> None:
    upload, _ = shelf.begun()

    def slow() -> Iterator[bytes]:
        yield b"ab"
        shelf.store.cancel(upload.id, owner="")
        yield b"c"

    with pytest.raises(InvalidRequestError, match="is cancelled"):
        shelf.store.add_part(upload.id, owner="", chunks=slow())
    assert shelf.num_parts(upload) == 0


def test_a_disk_that_fills_up_is_told_and_leaves_no_half(shelf: Shelf) -> None:
    def full() -> Iterator[bytes]:
        yield b"ab"
        raise OSError(errno.ENOSPC, "No space left on device")

    upload, _ = shelf.begun()
    with pytest.raises(StorageFullError, match="no disk space for the part"):
        shelf.store.add_part(upload.id, owner="", chunks=full())
    assert shelf.num_parts(upload) == 0


def test_an_expired_upload_takes_nothing_more_and_loses_its_parts(shelf: Shelf) -> None:
    upload, part_ids = shelf.begun(b"abc", b"def")
    other, _ = shelf.begun(b"abc")
    shelf.change(upload, expires_at=upload.created_at)
    assert shelf.store.get(upload.id, owner="").status is UploadStatus.EXPIRED
    with pytest.raises(InvalidRequestError, match="is expired"):
        shelf.store.complete(upload.id, owner="", part_ids=part_ids)
    with pytest.raises(InvalidRequestError, match="is expired"):
        shelf.store.cancel(upload.id, owner="")
    assert shelf.clean() == [upload.id]
    assert (shelf.num_parts(upload), shelf.num_parts(other)) == (0, 1)
    assert shelf.clean() == []
    assert shelf.store.get(upload.id, owner="").status is UploadStatus.EXPIRED


def test_a_day_after_its_expiry_nothing_is_left_of_an_upload_but_its_file(shelf: Shelf) -> None:
    upload, part_ids = shelf.begun(b"abc", b"def")
    done = shelf.store.complete(upload.id, owner="", part_ids=part_ids)
    pending, _ = shelf.begun(b"abc")
    for each in (upload, pending):
        shelf.change(each, expires_at=upload.created_at - DAY_SECONDS)
    assert shelf.clean() == [upload.id, pending.id]
    assert list(shelf.home.uploads.iterdir()) == []
    with pytest.raises(NotFoundError, match="it was removed"):
        shelf.store.complete(upload.id, owner="", part_ids=part_ids)
    assert shelf.file_names() == [done.file_id]


def test_what_somebody_works_on_is_not_removed(shelf: Shelf) -> None:
    upload, _ = shelf.begun(b"abc")
    shelf.change(upload, expires_at=upload.created_at - DAY_SECONDS)
    with shelf.store._locked(shelf.directory(upload)):
        assert shelf.clean() == []
    assert shelf.clean() == [upload.id]
