"""Tar files as WebDataset has them, and Parquet files of Hugging Face's hub."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zoo.data import Options, load, source
from zoo.errors import DataError
from zoo.registry import Registry


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (value, 0, 255 - value)).save(file, "PNG")
    return file.getvalue()


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as opened:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return path


def samples(start: int, number: int) -> list[tuple[str, bytes]]:
    return [
        member
        for index in range(start, start + number)
        for member in ((f"./a/{index:03}.png", png(index)), (f"./a/{index:03}.cls", str(index % 2).encode()))
    ]


def test_shards_are_read_in_order_each_as_its_part(tmp_path: Path, registry: Registry) -> None:
    shard(tmp_path / "set" / "train-000001.tar", samples(6, 4))
    shard(tmp_path / "set" / "train-000000.tar", samples(0, 6))
    shard(tmp_path / "set" / "val" / "000000.tar.gz", samples(10, 2))
    json_labels = [("t.jpg", png(3)), ("t.json", b'{"label": 1, "width": 4}'), ("t.txt", b"a caption")]
    shard(tmp_path / "set" / "test-000000.tar", [*json_labels, ("u.json", b'{"cls": 0}'), ("u.seg.png", png(0))])
    name = f"wds:{tmp_path / 'set'}"
    data = load(name, registry)
    assert data.train.images[:, 0, 0, 0].tolist() == list(range(10))
    assert data.train.labels.tolist() == [0, 1] * 5
    assert data.validation is not None
    assert data.validation.images[:, 0, 0, 0].tolist() == [10, 11]
    assert data.test.labels.tolist() == [1, 0]
    assert data.classes == ("0", "1")
    assert data.names["test"] == ("test-000000.tar/t.jpg", "test-000000.tar/u.seg.png")
    assert "files of samples that are not used: .txt (1)" in data.notes
    assert source(name, registry).missing() is None


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", png(1))], "a.png has no class: a file a.cls, or a.json with label or cls"),
        ([("a.cls", b"1")], "a has a class, but no image that stands beside it"),
        ([("a.png", png(1)), ("a.jpg", png(1)), ("a.cls", b"1")], "a has several images, a.png and a.jpg"),
        ([("a.png", png(1)), ("a.cls", b"1"), *samples(0, 1), ("a.txt", b"")], "the files of a do not stand together"),
        ([("a.png", png(1)), ("a.json", b"{")], "a.json is not valid JSON"),
        ([("a.png", png(1)), ("a.json", b'{"label": [1]}')], r"a.json: the class \[1\] is neither a number nor a name"),
        ([("a.txt", b"")], "its tar files hold no sample with an image"),
    ],
)
def test_a_shard_that_is_otherwise_is_named(
    tmp_path: Path, registry: Registry, members: list[tuple[str, bytes]], message: str
) -> None:
    path = shard(tmp_path / "a.tar", members)
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        load(f"wds:{path}", registry, Options(test=0.5))


def test_a_damaged_tar_file_is_named(tmp_path: Path, registry: Registry) -> None:
    whole = shard(tmp_path / "a.tar", samples(0, 8)).read_bytes()
    for content in (b"no tar file", whole[:1100], whole[:1024], whole[:600]):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.tar cannot be read as a tar file: [^\n:]+$"):
            load(f"wds:{tmp_path / 'a.tar'}", registry, Options(test=0.5))


def parquet(path: Path, values: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    features = {"label": {"_type": "ClassLabel", "names": ["even", "odd"]}}
    table = pa.table({"image": [{"bytes": png(value)} for value in values], "label": [value % 2 for value in values]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str | None, list[str]]:
    """Put a hub in place of the client's, with files by branch."""
    branches: dict[str | None, list[str]] = {None: ["README.md"]}

    class HfApi:
        def list_repo_tree(self, repository: str, *, recursive: bool, repo_type: str, revision: str | None) -> object:
            assert (repository, recursive, repo_type) == ("who/what", True, "dataset")
            return [SimpleNamespace(path=path, size=10) for path in branches.get(revision, [])]

    def hf_hub_download(repository: str, file: str, *, repo_type: str, revision: str | None, local_dir: Path) -> None:
        assert file in branches[revision]
        parquet(local_dir / file, range(4) if "test" in file else range(4, 20))

    module = ModuleType("huggingface_hub")
    module.HfApi, module.hf_hub_download = HfApi, hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return branches


def fetched(name: str, registry: Registry) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    source(name, registry).get(lambda done, total: told.append((done, total)))
    return told


def test_parquet_files_of_the_hub_are_downloaded_and_read(hub: dict[str | None, list[str]], registry: Registry) -> None:
    hub["refs/convert/parquet"] = [f"small/{part}/0000.parquet" for part in ("train", "test")]
    hub["refs/convert/parquet"].append("large/train/0000.parquet")
    with pytest.raises(DataError, match="is not at hand: it is not downloaded; `zoo data get hf:who/what/small` does"):
        load("hf:who/what/small", registry)
    assert fetched("hf:who/what/small", registry) == [(0, 20), (10, 20), (20, 20)]
    data = load("hf:who/what/small", registry)
    assert data.classes == ("even", "odd")
    assert (len(data.train), len(data.test)) == (16, 4)
    assert np.array_equal(data.test.images[:, 0, 0, 0], range(4))
    assert fetched("hf:who/what/small", registry) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:who/what", "^hf:who/what: the hub has no Parquet files of it$"),
        ("hf:who/what/more", "^hf:who/what/more: the hub has no Parquet files of it below more$"),
        ("hf:what", "^hf:what: what is not of the form OWNER/NAME or OWNER/NAME/CONFIG$"),
    ],
)
def test_what_the_hub_does_not_have_is_said(
    hub: dict[str | None, list[str]], registry: Registry, name: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        source(name, registry).get(lambda done, total: None)


def test_without_network_or_client_one_error_says_what_to_do(
    hub: object, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to huggingface.co")

    get: Callable[[], object] = lambda: source("hf:who/what", registry).get(lambda done, total: None)  # noqa: E731
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_tree", offline)
    with pytest.raises(
        DataError, match=r"^hf:who/what cannot be downloaded: ConnectionError: no route .* Check the name"
    ):
        get()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DataError, match=r"huggingface_hub is not installed: give `pip install 'layer-zoo\[hf\]'`"):
        get()
