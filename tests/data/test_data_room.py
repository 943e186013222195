"""Decoding more images than fit into memory, and going on with it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from mapped_pages import held, on_linux
from PIL import Image

from zoo.data import Options, decode_files, decoding_told, holdings, images, load, room
from zoo.errors import DataError
from zoo.registry import Registry


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for index in range(40):
        path = folder / f"class{index % 2}" / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5), (index, 0, 255 - index)).save(path)
    return folder


def as_files(folder: Path) -> list[images.ImageFile]:
    return [images.ImageFile(str(path), str(path)) for path in sorted(folder.rglob("*.png"))]


def stop_after(number: int) -> room.Report:
    def report(done: int, count: int) -> None:
        if done >= number:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("damaged", [(), (0, 7)])
def test_images_are_the_same_in_a_file_and_in_memory(
    files: Path, tmp_path: Path, *, grey: bool, damaged: tuple[int, ...]
) -> None:
    every = as_files(files)
    for path in (file.name for file in every if grey):
        with Image.open(path) as image:
            made = image.convert("L")
        made.save(path)
    for index in damaged:
        Path(every[index].name).write_bytes(b"no image")
    expected = decode_files(every, 40, skip_damaged=True)
    (tmp_path / "room").mkdir()
    with room.room_in(tmp_path / "room"):
        found = decode_files(every, 40, skip_damaged=True)
        part = room.taken(found.images, np.array([3, 1, 2]))
    assert isinstance(found.images, np.memmap)
    assert isinstance(part, np.memmap)
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(part, expected.images[[3, 1, 2]])
    assert (found.notes, found.damaged) == (expected.notes, expected.damaged)
    assert found.images.shape == (40 - len(damaged), 1 if grey else 3, 5, 6)


def test_what_lies_together_is_not_copied() -> None:
    array = np.zeros((5, 1, 2, 2), np.uint8)
    assert np.shares_memory(room.taken(array, np.array([1, 2, 3])), array)
    assert not np.shares_memory(room.taken(array, np.array([1, 3])), array)
    assert room.taken(array, np.array([], np.int64)).shape == (0, 1, 2, 2)


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_no_change_of_a_mapped_file_is_lost(tmp_path: Path, mode: Literal["r+", "c"]) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 1, 2, 2), np.uint8))
    array = np.load(tmp_path / "a.npy", mmap_mode=mode)
    array[1] = 7
    for part in room.chunks(3, array):
        assert array[part].any()
    assert array[1].all()


@on_linux
def test_images_of_the_cache_are_read_with_few_pages_held(files: Path, cache: Path, registry: Registry) -> None:
    data = load(f"folder:{files}", registry, Options(test=0.2, resize=200))
    assert data.train.mapped
    assert data.test.mapped
    assert held(cache, "_images.npy") == 0


def test_decoding_that_was_stopped_is_gone_on_with(
    files: Path, cache: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_AT_ONCE", 8)
    (files / "class1" / "003.png").write_bytes(b"no image")
    options = Options(test=0.25, skip_damaged=True)
    with decoding_told(stop_after(16)), pytest.raises(KeyboardInterrupt):
        load(f"folder:{files}", registry, options)
    (held,) = holdings()
    assert (held.content, held.dataset) == ("unfinished", "folder")
    opened = []
    decode = images.decode_file

    def counted(file: images.ImageFile, *others: object) -> object:
        opened.append(file.name)
        return decode(file, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "decode_file", counted)
    told: list[tuple[int, int]] = []
    with decoding_told(lambda done, count: told.append((done, count))):
        data = load(f"folder:{files}", registry, options)
    assert told == [(24, 40), (32, 40), (40, 40)]
    assert len(opened) == 24
    assert [held.content for held in holdings()] == ["decoded", "decoded"]
    monkeypatch.setenv("ZOO_CACHE", str(cache.with_name("another")))
    assert load(f"folder:{files}", registry, options).digest == data.digest


def test_what_was_decoded_of_other_files_is_not_gone_on_with(
    files: Path, cache: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_AT_ONCE", 8)
    with decoding_told(stop_after(16)), pytest.raises(KeyboardInterrupt):
        load(f"folder:{files}", registry, Options(test=0.25))
    os.utime(files / "class0" / "000.png", (0, 0))
    told: list[int] = []
    with decoding_told(lambda done, count: told.append(done)):
        load(f"folder:{files}", registry, Options(test=0.25))
    assert told == [8, 16, 24, 32, 40]


def test_an_error_leaves_nothing_unfinished(files: Path, cache: Path, registry: Registry) -> None:
    (files / "class1" / "003.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"003\.png cannot be read as an image"):
        load(f"folder:{files}", registry, Options(test=0.25))
    assert holdings() == []


def test_a_disk_without_room_for_the_images_is_one_clear_error(
    files: Path, cache: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.data.room.os.posix_fallocate", full)
    with pytest.raises(
        DataError, match=r"^cannot write to the cache folder .*/datasets: No space left on device\. Make room"
    ):
        load(f"folder:{files}", registry, Options(test=0.25))


def test_what_pillow_logs_is_not_printed() -> None:
    with images.quiet():
        assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("PIL").handlers)


def test_the_error_of_a_damaged_file_says_how_such_files_are_left_out(files: Path) -> None:
    every = as_files(files)
    for damaged in (3, 0):  # one is met in the threads, the other where the first shape is looked for
        Path(every[damaged].name).write_bytes(b"no image")
        with pytest.raises(DataError) as error:
            decode_files(every, 40)
        assert str(error.value).startswith(f"{every[damaged].name} cannot be read as an image: ")
        assert str(error.value).endswith("`sets={'data.skip_damaged': True}` leaves such files out")
