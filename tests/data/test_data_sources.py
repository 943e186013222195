from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.data import files_fingerprint, source, takes_path
from zoo.errors import DataError, UnknownNameError
from zoo.registry import Registry


def test_a_path_after_a_colon_becomes_the_option(registry: Registry) -> None:
    assert source("folder:/a:b", registry).title == "folder:/a:b"
    assert source("npz:~/x.npz", registry).title == "npz:" + str(Path.home() / "x.npz")
    with_path = {name for name, variant in registry.variants("dataset").items() if takes_path(variant)}
    assert with_path == {"folder", "npz", "csv", "parquet", "hf", "wds"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("folder", "the data set 'folder' needs a path: write folder:PATH"),
        ("npz:", "the data set 'npz' needs a path: write npz:PATH"),
        ("cifar10:/x", "the data set 'cifar10' takes no path: write cifar10, not cifar10:/x"),
    ],
)
def test_a_path_too_few_or_too_many_is_refused(name: str, text: str, registry: Registry) -> None:
    with pytest.raises(DataError) as error:
        source(name, registry)
    assert str(error.value) == text


def test_an_unknown_name_gets_the_nearest(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="no dataset is called 'cifra10'; did you mean cifar10"):
        source("cifra10", registry)


def test_asking_what_is_missing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from zoo.registry import Registry; from zoo.data import source, takes_path; r = Registry(); "
        "[source(n, r).missing() for n, v in r.variants('dataset').items() if not takes_path(v)]; "
        "print([m for m in ('torch', 'torchvision', 'PIL', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_fingerprint_follows_path_size_and_time(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for file in (a, b):
        file.write_bytes(b"1")
        os.utime(file, ns=(0, 0))
    first = files_fingerprint([a])
    assert files_fingerprint([str(a)]) == first
    assert files_fingerprint([b]) != first
    assert files_fingerprint([a, b]) != files_fingerprint([b, a])
    os.utime(a, ns=(0, 1))
    touched = files_fingerprint([a])
    assert touched != first
    a.write_bytes(b"12")
    os.utime(a, ns=(0, 1))
    assert files_fingerprint([a]) not in (first, touched)
