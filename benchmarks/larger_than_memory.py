"""What a set of images takes that is larger than the memory it is given: to decode it, and to train on it.

    python benchmarks/larger_than_memory.py --images 20000 --json larger.json

A Parquet file of so many JPEG files is written, of which a few are different, and decoded in a process of its own.
Then one epoch of a small network is trained on it with each way of `--data-in`, each in a process of its own, with
warm file caches and with the images dropped from them. Told are seconds, the largest anonymous memory (RssAnon, what
the system cannot drop; sampled) and the largest resident memory (VmHWM, mapped files included). Losses must be equal.
"""

from __future__ import annotations

import ctypes
import io
import json
import mmap
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tabulate import tabulate
from torch import Tensor

from zoo.data import load
from zoo.registry import Registry, default_registry
from zoo.spec import Spec
from zoo.spec.resolve import resolve
from zoo.train.machine import make_deterministic
from zoo.train.training import Training

DIFFERENT = 64
CLASSES = 4
SAMPLED_EVERY = 0.05
ROWS = 256
"""Of each group of rows in the Parquet file."""


@click.command()
@click.option("--images", default=20_000, show_default=True, help="How many.")
@click.option("--side", default=224, show_default=True, help="Their height and width, in pixels.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where files and cache are made.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--step", hidden=True, help="What a process of its own does.")
def main(images: int, side: int, folder: Path | None, output: Path | None, step: str | None) -> None:
    """Decode a set, train on it, and print a table."""
    if step is not None:
        assert folder is not None
        print(json.dumps(decode(folder) if step == "decode" else train(folder, step)))
        return
    with tempfile.TemporaryDirectory(dir=folder) as made:
        work = Path(made)
        write(work / "set", images, side)
        figures = {"decode": in_own_process(work, "decode")}
        for where in ("device", "memory"):
            for state in ("warm", "cold"):
                figures[f"{where}, {state}"] = in_own_process(work, f"{where}-{state}")
    rows = [
        [what, *(f.get(key) for key in ("seconds", "anonymous", "resident", "loss"))] for what, f in figures.items()
    ]
    print(f"{images:,} images of {side}x{side}: {images * 3 * side**2 / 1e9:.1f} GB decoded\n")
    print(tabulate(rows, headers=["", "seconds", "RssAnon, GB", "VmHWM, GB", "loss"]))
    if output is not None:
        output.write_text(json.dumps({"images": images, "side": side, "figures": figures}, indent=2), encoding="utf-8")


def write(folder: Path, images: int, side: int) -> None:
    """Write the images, a fifth of them for testing."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    files = []
    for _ in range(DIFFERENT):
        small = numbers.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((side, side)).save(file, "JPEG", quality=80)
        files.append(file.getvalue())
    for part, number in (("train", images * 4 // 5), ("test", images - images * 4 // 5)):
        which = numbers.integers(0, DIFFERENT, number)
        schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
        with pq.ParquetWriter(folder / f"{part}.parquet", schema) as writer:
            for start in range(0, number, ROWS):
                chosen = which[start : start + ROWS]
                columns = [[files[one] for one in chosen], [int(one) % CLASSES for one in chosen]]
                writer.write_table(pa.table(columns, schema=schema))


def in_own_process(work: Path, step: str) -> dict[str, float]:
    environment = {**os.environ, "ZOO_CACHE": str(work / "cache")}
    command = [sys.executable, __file__, "--folder", str(work), "--step", step]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def decode(work: Path) -> dict[str, float]:
    registry = default_registry()
    with measured() as figures:
        load(f"parquet:{work / 'set'}", registry)
    return figures


def train(work: Path, step: str) -> dict[str, float]:
    """Train one epoch; step says where the images are, and whether they are in the system's cache of files."""
    where, state = step.split("-")
    registry = default_registry()
    make_deterministic("cpu")
    data = load(f"parquet:{work / 'set'}", registry).put("cpu", "device" if where == "device" else "memory")
    training = Training(spec_of(registry, data.name), 0, data, device="cpu", registry=registry)
    unmap(data.train.images)
    for file in (work / "cache").rglob("*_images.npy"):
        warm_or_drop(file, state)
    with measured() as figures:
        figures["loss"] = training.train_epoch(1)
    return figures


def spec_of(registry: Registry, name: str) -> Spec:
    """Return a network that costs little, so that reading the images counts."""
    blocks = [{"filters": filters, "pooling": {"name": "max", "size": 4}} for filters in (2, 4, 8)]
    tree = {
        "base": "starter/default",
        "set": {"features": blocks, "classifier": [], "training.shuffle": True, "data.dataset": name},
    }
    return resolve(tree, registry=registry)


def unmap(images: Tensor) -> None:
    """Let this process give back the pages of a map, which the system would not drop."""
    begin = images.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    size = images.data_ptr() + images.numel() - begin
    libc = ctypes.CDLL(None)
    libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


def warm_or_drop(file: Path, state: str) -> None:
    """Let the system have a file in its memory, or drop it."""
    with file.open("rb") as opened:
        if state == "warm":
            while opened.read(2**24):
                pass
        else:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Fill in, at the end, the seconds and the largest memory, in GB."""
    figures: dict[str, float] = {"anonymous": 0.0}
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLED_EVERY):
            figures["anonymous"] = max(figures["anonymous"], status()["RssAnon"])

    sampler = threading.Thread(target=sample)
    sampler.start()
    begun = time.perf_counter()
    try:
        yield figures
    finally:
        figures["seconds"] = time.perf_counter() - begun
        over.set()
        sampler.join()
        figures["resident"] = status()["VmHWM"]


def status() -> dict[str, float]:
    """Return this process's figures of memory, in GB, as Linux tells them."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 / 1e9 for line in lines if line[-1] == "kB"}


if __name__ == "__main__":
    main()
