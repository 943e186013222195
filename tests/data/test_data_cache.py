from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_fakes import FakeSource, arrays

from zoo.data import Options, cache_dir, data_dir, discard, holdings, load, named, scratch, size_on_disk
from zoo.data.prepare import content_digest
from zoo.errors import DataError
from zoo.registry import Registry


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "datasets").iterdir())


def test_the_environment_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    assert data_dir() == tmp_path / "here" / "downloads"
    monkeypatch.setenv("ZOO_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_dir().name == "zoo"
    assert not (tmp_path / "here").exists(), "naming the cache must not make it"


def test_an_entry_is_decoded_once(fake: FakeSource, registry: Registry, cache: Path) -> None:
    first, second = load("fake", registry), load("fake", registry)
    assert fake.decoded == 1
    assert first.digest == second.digest
    np.testing.assert_array_equal(first.train.images, second.train.images)
    assert len(entries(cache)) == 1
    load("fake", registry, Options(resize=3))
    assert fake.decoded == 2
    load("fake", registry, Options(validation=0.25))
    load("fake", registry, Options(validation=0.5))
    assert fake.decoded == 2, "a validation part is split off the entry that is there"
    assert len(entries(cache)) == 4


def test_new_content_or_new_code_is_decoded(
    fake: FakeSource, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load("fake", registry)
    fake.version = "2"
    load("fake", registry)
    assert fake.decoded == 2
    edited = tmp_path / "edited.py"
    edited.write_text("# another decode()")
    monkeypatch.setattr(sys.modules[FakeSource.__module__], "__file__", str(edited))
    load("fake", registry)
    assert fake.decoded == 3


@pytest.mark.parametrize("name", ["train_images.npy", "test_labels.npy", "entry.json"])
@pytest.mark.parametrize("damage", ["removed", "truncated", "emptied"])
def test_a_damaged_entry_is_decoded_again(
    name: str, damage: str, fake: FakeSource, registry: Registry, cache: Path
) -> None:
    before = load("fake", registry)
    file = entries(cache)[0] / name
    content = file.read_bytes()
    # The mapped file itself must stay whole, or reading the first data set would be a bus error.
    file.unlink()
    if damage != "removed":
        file.write_bytes(content[:-1] if damage == "truncated" else b"")
    after = load("fake", registry)
    assert fake.decoded == 2
    np.testing.assert_array_equal(before.train.images, after.train.images)
    load("fake", registry)
    assert fake.decoded == 2, "the entry is whole again"
    assert len(entries(cache)) == 1, "nothing is left of the damaged one"


def flipped(position: int) -> Callable[[bytes], bytes]:
    """Flip one bit of a byte."""
    return lambda content: content[:position] + bytes([content[position] ^ 1]) + content[position:][1:]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train_images.npy", flipped(-30)),
        ("train_labels.npy", flipped(-16)),
        ("test_labels.npy", lambda content: content.replace(b"<i8", b">i8")),
        ("test_images.npy", lambda content: content.replace(b"|u1", b"|i1")),
        ("test_images.npy", lambda content: content.replace(b"{'", b"[[", 1)),
        ("train_images.npy", flipped(0)),
        ("entry.json", lambda content: b"[]"),
        ("entry.json", lambda content: b"[" * len(content)),
        ("entry.json", lambda content: content.replace(b'"bee"', b'"bed"')),
        ("entry.json", lambda content: content.replace(b'"digest": "', b'"digest": "0')),
        ("entry.json", lambda content: content.replace(b'"parts": [', b'"parts": [7, ')),
    ],
)
def test_other_content_of_the_same_size_is_damage_and_said(
    name: str, damage: Callable[[bytes], bytes], fake: FakeSource, registry: Registry, cache: Path
) -> None:
    before = load("fake", registry, Options(validation=0.25))
    assert before.notes == ()
    for entry in entries(cache):
        content = (entry / name).read_bytes()
        (entry / name).unlink()  # which is mapped
        (entry / name).write_bytes(damage(content))
        assert (entry / name).read_bytes() != content
    assert [held.dataset for held in holdings()]
    after = load("fake", registry, Options(validation=0.25))
    assert fake.decoded == 2
    assert after.digest == before.digest
    assert after.notes == ("its copy in the cache was damaged, and was decoded anew",)
    np.testing.assert_array_equal(before.train.labels, after.train.labels)
    assert load("fake", registry, Options(validation=0.25)).notes == ()
    assert fake.decoded == 2


def test_content_is_held_to_its_digest_once(
    fake: FakeSource, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []

    def counted(*arguments: Any) -> str:
        digests.append(content_digest(*arguments))
        return digests[-1]

    monkeypatch.setattr("zoo.data.cache.content_digest", counted)
    for _ in range(3):
        load("fake", registry)
    assert len(digests) == 1


def test_tensors_are_maps_whose_writes_stay_private(fake: FakeSource, registry: Registry, cache: Path) -> None:
    first = load("fake", registry)
    file = entries(cache)[0] / "train_images.npy"
    before = file.read_bytes()
    if sys.platform == "linux":
        assert str(file) in Path("/proc/self/maps").read_text(), "the images are not mapped but copied"
    first.train.images.fill_(7)
    assert file.read_bytes() == before
    assert not load("fake", registry).train.images.eq(7).all()


def test_a_cache_that_cannot_be_written_is_one_clear_error(
    fake: FakeSource, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError) as error:
        load("fake", registry)
    assert str(error.value) == (
        f"cannot write to the cache folder {tmp_path}/file/datasets: Not a directory. Make room there, or set "
        "ZOO_CACHE to another folder."
    )


def test_a_cache_whose_name_is_too_long_is_an_error(monkeypatch, tmp_path, registry):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / ("x" * 300)))
    with pytest.raises(
        DataError, match=r"cannot read the cache folder .*: File name too long\. Set ZOO_CACHE to another"
    ):
        load("digits", registry)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    fake: FakeSource, registry: Registry, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.data.cache.np.save", full)
    with pytest.raises(DataError, match=r"cannot write to the cache folder .*: No space left on device\. Make room"):
        load("fake", registry)
    assert entries(cache) == []


def test_a_process_that_was_faster_wins(fake: FakeSource, registry: Registry, cache: Path) -> None:
    class Slow(FakeSource):
        def decode(self, resize: int | None = None):  # type: ignore[no-untyped-def]
            if not self.decoded:
                self.decoded = 1
                load("fake", registry)  # what the other process does meanwhile
            return arrays()

    slow = Slow()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.data.dataset.source", lambda name, registry: slow)
        assert load("fake", registry).shape == (1, 4, 5)
    assert len(entries(cache)) == 1


def test_what_a_killed_process_leaves_is_removed_at_once_and_what_is_in_use_is_not(
    fake: FakeSource, registry: Registry, cache: Path
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from zoo.data import scratch\n"
        "with scratch(Path(sys.argv[1])) as new:\n"
        "    (new / 'half').touch(); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(cache / "datasets")], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        (rest,) = entries(cache)
        load("fake", registry)
        assert rest.exists(), "its owner lives"
        process.send_signal(signal.SIGKILL)
    load("fake", registry, Options(resize=3))
    assert not rest.exists()


def test_scratch_of_an_earlier_version_which_has_no_lock_is_removed_after_a_day(
    fake: FakeSource, registry: Registry, cache: Path
) -> None:
    rest = cache / "datasets" / ".new-0"
    rest.mkdir(parents=True)
    load("fake", registry)
    assert rest.exists(), "it may be in use"
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(rest, (two_days_ago, two_days_ago))
    load("fake", registry, Options(resize=3))
    assert not rest.exists()


def test_scratch_is_removed_when_its_body_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with scratch(tmp_path / "new") as folder:
            (folder / "file").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list((tmp_path / "new").iterdir()) == []


def test_size_on_disk_counts_downloads_and_entries(fake: FakeSource, registry: Registry, cache: Path) -> None:
    assert size_on_disk("fake") == 0
    load("fake", registry)
    load("fakes", registry)
    decoded = sum(file.stat().st_size for entry in (cache / "datasets").glob("fake-*") for file in entry.iterdir())
    assert size_on_disk("fake") == decoded > 18 * 20
    (data_dir() / "fake").mkdir(parents=True)
    (data_dir() / "fake" / "archive").write_bytes(b"12345")
    assert size_on_disk("fake") == decoded + 5


def test_what_the_cache_holds(fake: FakeSource, registry: Registry, cache: Path) -> None:
    assert holdings() == []
    before = time.time() - 1
    data = load("fake", registry, Options(validation=0.25))
    held = {holding.digest: holding for holding in holdings()}
    assert len(held) == 2, "whole, and with a part held out"
    assert {holding.dataset for holding in held.values()} == {"fake"}
    decoded = held[data.digest]
    assert decoded.content == "decoded"
    assert decoded.bytes == sum(file.stat().st_size for file in decoded.path.iterdir())
    assert decoded.last_used is not None
    assert decoded.last_used >= before


def test_reading_an_entry_is_a_use_of_it(fake: FakeSource, registry: Registry, cache: Path) -> None:
    load("fake", registry)
    (entry,) = entries(cache)
    os.utime(entry / "entry.json", (0, 0))
    assert [holding.last_used for holding in holdings()] == [0]
    load("fake", registry)
    (used,) = holdings()
    assert used.last_used is not None
    assert used.last_used > 0


def test_an_entry_of_an_earlier_version_is_of_its_variant(fake: FakeSource, registry: Registry, cache: Path) -> None:
    load("fake", registry)
    (entry,) = entries(cache)
    index = json.loads((entry / "entry.json").read_text())
    assert index.pop("name") == "fake"
    (entry / "entry.json").write_text(json.dumps(index))
    assert [holding.dataset for holding in holdings()] == ["fake"]
    (entry / "entry.json").write_text("{")
    (damaged,) = holdings()
    assert (damaged.dataset, damaged.digest, damaged.last_used) == ("fake", None, None)


def test_who_has_mapped_an_entry_keeps_it(fake: FakeSource, registry: Registry, cache: Path) -> None:
    data = load("fake", registry)
    images = data.train.images.clone()
    for holding in named(["fake"]):
        discard(holding)
    assert entries(cache) == []
    assert (data.train.images == images).all()
    load("fake", registry)
    assert fake.decoded == 2
