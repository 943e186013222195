"""What a set of images takes that is larger than the memory it is given: to decode it, and to train on it.

    python benchmarks/larger_than_memory.py --images 100000 --json larger.json

A Parquet file of so many JPEG files is written, of which a few are different, and decoded in a process of its own.
Then a small network is trained on it for an epoch with its images in the cache's files, in a process of its own each,
with warm file caches and with the images dropped from them. Last, a part that fits into memory is trained on in one
process in three ways by turns: copied to memory, straight from the map, and with batches read ahead (`--data-in`).

Told are seconds and the largest memory of each process: anonymous (RssAnon, what the system cannot drop), mapped files
(RssFile), and all of it (VmHWM, from the start of the process on). Losses and weights must be equal bit for bit.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from tabulate import tabulate

from zoo.data import Split, load
from zoo.registry import Registry, default_registry
from zoo.spec import Spec
from zoo.spec.resolve import resolve
from zoo.train.machine import make_deterministic, provenance
from zoo.train.training import Training

DIFFERENT = 64
CLASSES = 4
WAYS = ("resident", "map", "memory")
SAMPLED_EVERY = 0.05
ROWS = 256
"""Of each group of rows in the Parquet file."""


@click.command()
@click.option("--images", default=20_000, show_default=True, help="How many.")
@click.option("--side", default=224, show_default=True, help="Their height and width, in pixels.")
@click.option("--compared", default=4_000, show_default=True, help="Training images of the part that fits into memory.")
@click.option("--rounds", default=5, show_default=True, help="Epochs of each way on that part.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where files and cache are made.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--step", hidden=True, help="What a process of its own does.")
def main(
    images: int, side: int, compared: int, rounds: int, folder: Path | None, output: Path | None, step: str | None
) -> None:
    """Decode a set, train on it, and print tables."""
    if step is not None:
        assert folder is not None
        steps = {"decode": decode, "compare": lambda work: compare(work, compared, rounds)}
        print(json.dumps(steps[step](folder) if step in steps else train(folder, step)))
        return
    with tempfile.TemporaryDirectory(dir=folder) as made:
        work = Path(made)
        write(work / "set", images, side)
        figures = {step: in_own_process(work, step) for step in ("decode", "warm", "cold")}
        by_way = in_own_process(work, "compare", "--compared", str(compared), "--rounds", str(rounds))
    columns = ("seconds", "anonymous", "mapped", "resident", "loss")
    rows = [[what, *(f.get(key) for key in columns)] for what, f in figures.items()]
    print(f"{images:,} images of {side}x{side}: {images * 3 * side**2 / 1e9:.1f} GB decoded\n")
    print(tabulate(rows, headers=["", "seconds", "RssAnon, GB", "RssFile, GB", "VmHWM, GB", "loss"]))
    print(f"\n{compared:,} of them, seconds of {rounds} epochs by turns\n")
    ratios = by_way["speed"]
    print(
        tabulate(
            [[way, *by_way["seconds"][way], ratios[way]] for way in WAYS], headers=["", *range(1, rounds + 1), "speed"]
        )
    )
    print(f"\nEqual bit for bit: {by_way['equal']}")
    if output is not None:
        record = {
            "images": images,
            "side": side,
            "figures": figures,
            "compared": {"images": compared, **by_way},
            "machine": {name: provenance("cpu")[name] for name in ("zoo", "torch", "python", "device_name", "threads")},
        }
        output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


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


def in_own_process(work: Path, step: str, *more: str) -> dict[str, Any]:
    environment = {**os.environ, "ZOO_CACHE": str(work / "cache")}
    command = [sys.executable, __file__, "--folder", str(work), "--step", step, *more]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def decode(work: Path) -> dict[str, Any]:
    registry = default_registry()
    with measured() as figures:
        load(f"parquet:{work / 'set'}", registry)
    return figures


def train(work: Path, state: str) -> dict[str, Any]:
    """Train one epoch on images that stay in the cache's files, which are in the system's memory, or are not."""
    with measured() as whole:
        training = training_of(work, "memory")
        for file in (work / "cache").rglob("*_images.npy"):
            warm_or_drop(file, state)
        begun = time.perf_counter()
        whole["loss"] = training.train_epoch(1)
        seconds = time.perf_counter() - begun
    return {**whole, "seconds": seconds}


def compare(work: Path, images: int, rounds: int) -> dict[str, Any]:
    """Train in each way by turns on the first images, and compare seconds, losses and weights."""
    trainings = {way: training_of(work, way, images) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    losses: dict[str, list[float]] = {way: [] for way in WAYS}
    for epoch in range(rounds + 1):
        turn = epoch % len(WAYS)
        for way in (*WAYS[turn:], *WAYS[:turn]):
            begun = time.perf_counter()
            losses[way].append(trainings[way].train_epoch(epoch + 1))
            seconds[way].append(time.perf_counter() - begun)
    weights = {way: list(training.network.parameters()) for way, training in trainings.items()}
    equal = all(
        losses[way] == losses["resident"] and all(map(torch.equal, weights[way], weights["resident"])) for way in WAYS
    )
    seconds = {way: taken[1:] for way, taken in seconds.items()}  # the first warms the caches
    speed = {
        way: statistics.median(own / other for own, other in zip(seconds["resident"], seconds[way], strict=True))
        for way in WAYS
    }
    return {"seconds": seconds, "losses": losses, "equal": equal, "speed": speed}


def training_of(work: Path, way: str, images: int | None = None) -> Training:
    """Return a training on the set, or on its first training images."""
    registry = default_registry()
    make_deterministic("cpu")
    data = load(f"parquet:{work / 'set'}", registry)
    train = attrs.evolve(data.train, images=data.train.images[:images], labels=data.train.labels[:images])
    if way == "resident":
        train = Split(train.images.clone(), train.labels)
    data = attrs.evolve(data, train=train).put("cpu", "memory" if way == "memory" else "device")
    return Training(spec_of(registry, data.name), 0, data, device="cpu", registry=registry)


def spec_of(registry: Registry, name: str) -> Spec:
    """Return a network that costs little, so that reading the images counts."""
    blocks = [{"filters": filters, "pooling": {"name": "max", "size": 4}} for filters in (2, 4, 8)]
    tree = {
        "base": "starter/default",
        "set": {"features": blocks, "classifier": [], "training.shuffle": True, "data.dataset": name},
    }
    return resolve(tree, registry=registry)


def warm_or_drop(file: Path, state: str) -> None:
    """Let the system have a file in its memory, or drop it; nobody may have mapped its pages."""
    with file.open("rb") as opened:
        if state == "warm":
            while opened.read(2**24):
                pass
        else:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Fill in, at the end, the seconds and the largest memory, in GB."""
    figures: dict[str, Any] = {"anonymous": 0.0, "mapped": 0.0}
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLED_EVERY):
            now = status()
            for name, line in (("anonymous", "RssAnon"), ("mapped", "RssFile")):
                figures[name] = max(figures[name], now[line])

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
