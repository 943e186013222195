"""The way from the server to the tensors, with small files in each data set's own format."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import re
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import scipy.io
import torchvision.datasets

from zoo.data import data_dir, load, source
from zoo.errors import DataError
from zoo.registry import Registry

Patch = pytest.MonkeyPatch
TRAIN, TEST = 40, 20


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def some_images(count: int, *shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)


def make_cifar(kind: str, www: Path, url: str, patch: Patch) -> dict[str, Any]:
    dataset = getattr(torchvision.datasets, kind)
    classes, key = (10, "labels") if kind == "CIFAR10" else (100, "fine_labels")
    train_names, test_names = ([name for name, _ in part] for part in (dataset.train_list, dataset.test_list))
    per_batch = {"CIFAR10": TRAIN // 5, "CIFAR100": 200}[kind]
    names = [f"class {label}" for label in range(classes)]
    batches, files, total = {}, {}, 0
    for name in (*train_names, *test_names):
        count = per_batch if name in train_names else {"CIFAR10": TEST, "CIFAR100": 100}[kind]
        images = np.random.default_rng(total).integers(0, 256, (count, 3, 32, 32), np.uint8)
        labels = [(total + index) % classes for index in range(count)]
        total += count
        batches[name] = (images, labels)
        files[name] = pickle.dumps({"data": images.reshape(count, -1), key: labels}, protocol=2)
    files[dataset.meta["filename"]] = pickle.dumps({dataset.meta["key"]: names}, protocol=2)
    with tarfile.open(www / dataset.filename, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{dataset.base_folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    patch.setattr(dataset, "url", url + dataset.filename)
    patch.setattr(dataset, "tgz_md5", md5((www / dataset.filename).read_bytes()))
    patch.setattr(dataset, "train_list", [[name, md5(files[name])] for name in train_names])
    patch.setattr(dataset, "test_list", [[name, md5(files[name])] for name in test_names])
    patch.setattr(dataset, "meta", {**dataset.meta, "md5": md5(files[dataset.meta["filename"]])})
    return {
        "train_images": np.concatenate([batches[name][0] for name in train_names]),
        "train_labels": [label for name in train_names for label in batches[name][1]],
        "test_images": batches[test_names[0]][0],
        "test_labels": batches[test_names[0]][1],
        "classes": tuple(names),
    }


def make_mnist(kind: str, www: Path, url: str, patch: Patch) -> dict[str, Any]:
    dataset = getattr(torchvision.datasets, kind)
    images = {"train": some_images(TRAIN, 28, 28), "t10k": some_images(TEST, 28, 28)}
    labels = {part: (np.arange(len(images[part])) % 10).astype(np.uint8) for part in images}
    resources = []
    for name, _ in dataset.resources:
        part, what = name.split("-")[:2]
        values = (images if what == "images" else labels)[part]
        header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
        content = gzip.compress(header + values.tobytes())
        (www / name).write_bytes(content)
        resources.append((name, md5(content)))
    patch.setattr(dataset, "mirrors", [url + "nothing/", url])
    patch.setattr(dataset, "resources", resources)
    return {
        "train_images": images["train"][:, None],
        "train_labels": labels["train"].tolist(),
        "test_images": images["t10k"][:, None],
        "test_labels": labels["t10k"].tolist(),
        "classes": tuple("0123456789") if kind == "MNIST" else tuple(dataset.classes),
    }


def make_svhn(kind: str, www: Path, url: str, patch: Patch) -> dict[str, Any]:
    dataset = getattr(torchvision.datasets, kind)
    expected: dict[str, Any] = {"classes": tuple("0123456789")}
    split_list = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        name = dataset.split_list[part][1]
        images = some_images(count, 3, 32, 32)
        labels = [index % 10 for index in range(count)]
        stored = np.array([[label or 10] for label in labels], np.uint8)
        scipy.io.savemat(www / name, {"X": images.transpose(2, 3, 1, 0), "y": stored})
        split_list[part] = [url + name, name, md5((www / name).read_bytes())]
        expected |= {f"{part}_images": images, f"{part}_labels": labels}
    patch.setattr(dataset, "split_list", split_list)
    return expected


MAKERS: dict[str, tuple[Callable[[str, Path, str, Patch], dict[str, Any]], str]] = {
    "cifar10": (make_cifar, "CIFAR10"),
    "cifar100": (make_cifar, "CIFAR100"),
    "mnist": (make_mnist, "MNIST"),
    "fashion_mnist": (make_mnist, "FashionMNIST"),
    "svhn": (make_svhn, "SVHN"),
}


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@attrs.frozen
class Server:
    """A web server for the files of one data set, and what decoding them must give."""

    name: str
    www: Path
    expected: dict[str, Any]

    @property
    def archives(self) -> list[str]:
        return sorted(file.name for file in self.www.iterdir())


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: Patch) -> Iterator[Callable[[str], Server]]:
    www = tmp_path / "www"
    www.mkdir()
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(www)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def start(name: str) -> Server:
        make, kind = MAKERS[name]
        return Server(name, www, make(kind, www, f"http://127.0.0.1:{server.server_port}/", monkeypatch))

    yield start
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", MAKERS)
def test_from_the_server_to_the_tensors(name: str, serve: Callable[[str], Server], registry: Registry) -> None:
    server = serve(name)
    origin = source(name, registry)
    folder = data_dir() / name
    missing = origin.missing()
    assert missing
    assert missing.startswith(f"{folder} has no ")
    assert missing.endswith(" MB")
    assert f"`zoo data get {name}` downloads" in missing
    with pytest.raises(DataError, match=f"the data set {name} is not at hand: .* has no "):
        load(name, registry)

    reports: list[tuple[int, int]] = []
    origin.get(lambda done, total: reports.append((done, total)))
    size = sum(file.stat().st_size for file in server.www.iterdir())
    assert reports[-1] == (size, size)
    assert reports == sorted(reports)
    assert all(done <= total for done, total in reports)
    assert origin.missing() is None

    data = load(name, registry)
    assert data.title == origin.title
    assert data.classes == server.expected["classes"]
    for split, part in ((data.train, "train"), (data.test, "test")):
        np.testing.assert_array_equal(split.images, server.expected[f"{part}_images"])
        assert split.labels.tolist() == server.expected[f"{part}_labels"]
    assert sorted(file.name for file in folder.iterdir()) == server.archives, "only archives are kept"


def test_what_is_at_hand_is_not_fetched_again(serve: Callable[[str], Server], registry: Registry) -> None:
    server = serve("cifar10")
    shutil.copytree(server.www, data_dir() / "cifar10")
    for file in server.www.iterdir():
        file.unlink()
    origin = source("cifar10", registry)
    assert origin.missing() is None, "a file that was put there by hand will do"
    origin.get(lambda done, total: pytest.fail("nothing is to be downloaded"))
    assert load("cifar10", registry).shape == (3, 32, 32)


def test_a_damaged_archive_is_named_and_can_be_fetched_again(
    serve: Callable[[str], Server], registry: Registry
) -> None:
    serve("svhn")
    origin = source("svhn", registry)
    origin.get(lambda done, total: None)
    file = data_dir() / "svhn" / "test_32x32.mat"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(DataError) as error:
        load("svhn", registry)
    assert str(error.value) == (
        f"{file} is damaged (its MD5 checksum is not {md5(content)}); delete it, and `zoo data get svhn` downloads it "
        "again"
    )
    reports: list[tuple[int, int]] = []
    origin.get(lambda done, total: reports.append((done, total)))
    assert reports[-1] == (len(content), len(content)), "only the damaged file is fetched"
    assert load("svhn", registry).shape == (3, 32, 32)


def refusal(name: str, registry: Registry) -> str:
    with pytest.raises(DataError) as error:
        source(name, registry).get(lambda done, total: None)
    return str(error.value)


def test_without_a_connection_the_files_are_named(
    serve: Callable[[str], Server], registry: Registry, monkeypatch: Patch
) -> None:
    serve("svhn")
    # Nothing listens on the port for discarding.
    lists = {
        part: [f"http://127.0.0.1:9/{name}", name, digest]
        for part, (_, name, digest) in torchvision.datasets.SVHN.split_list.items()
    }
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", lists)
    reason, _, by_hand = refusal("svhn", registry).partition(". Try again, or ")
    assert re.fullmatch(r"SVHN cannot be downloaded \(127\.0\.0\.1: .*refused.*\)", reason)
    assert by_hand == (
        f"put into {data_dir()}/svhn by hand:\n"
        "  train_32x32.mat from http://127.0.0.1:9/train_32x32.mat\n"
        "  test_32x32.mat from http://127.0.0.1:9/test_32x32.mat"
    )
    assert list((data_dir() / "svhn").iterdir()) == []


def test_every_mirror_that_fails_is_named(serve: Callable[[str], Server], registry: Registry) -> None:
    server = serve("mnist")
    (server.www / "t10k-labels-idx1-ubyte.gz").unlink()
    (server.www / "train-labels-idx1-ubyte.gz").write_bytes(b"another file")
    text = refusal("mnist", registry)
    reasons = (
        "MNIST cannot be downloaded (127.0.0.1: HTTP Error 404: File not found; 127.0.0.1: the 12 bytes that arrived "
        "have a wrong MD5 checksum)"
    )
    assert text.startswith(reasons)
    assert text.count("\n") == 4
    kept = [file.name for file in (data_dir() / "mnist").iterdir()]
    assert kept == ["train-images-idx3-ubyte.gz"], "what came whole is kept, the wrong file is not"


def test_a_cut_connection_leaves_no_half_file(
    serve: Callable[[str], Server], registry: Registry, monkeypatch: Patch
) -> None:
    server = serve("cifar10")

    def cut(self: Handler) -> None:
        content = (server.www / self.path.lstrip("/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])

    monkeypatch.setattr(Handler, "do_GET", cut)
    half = (server.www / "cifar-10-python.tar.gz").stat().st_size // 2
    assert f"the {half} bytes that arrived have a wrong MD5 checksum" in refusal("cifar10", registry)
    assert list((data_dir() / "cifar10").iterdir()) == []


def test_a_server_that_is_silent_is_given_up(
    serve: Callable[[str], Server], registry: Registry, monkeypatch: Patch
) -> None:
    serve("cifar10")
    done = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda self: done.wait(10))
    monkeypatch.setattr("zoo_plugins._dataset_torchvision._TIMEOUT_SECONDS", 0.1)
    try:
        assert refusal("cifar10", registry).startswith("CIFAR-10 cannot be downloaded (127.0.0.1: timed out)")
    finally:
        done.set()


def test_a_download_folder_that_cannot_be_written_is_named(serve: Callable[[str], Server], registry: Registry) -> None:
    serve("cifar10")
    data_dir().mkdir(parents=True)
    (data_dir() / "cifar10").touch()
    text = refusal("cifar10", registry)
    assert text.startswith(f"cannot write to the cache folder {data_dir()}/cifar10: File exists. Make room there")


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_fetched_is_what_torchvision_lists(name: str, registry: Registry) -> None:
    """The names that are looked for without importing torchvision are those that it downloads."""
    guarded: Any = source(name, registry)
    origin = guarded.made
    archives = origin.archives(getattr(torchvision.datasets, origin.class_name))
    assert sorted(archive.name for archive in archives) == sorted(origin.files)
