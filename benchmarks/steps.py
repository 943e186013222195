"""What a step of training costs with zoo, and in the same loop by hand.

    python benchmarks/steps.py --json steps.json

Both train one network with one seed, an epoch each by turns, at several sizes of batch: the larger, the longer a step.
Their losses must be equal. Told are the ratios of neighbouring epochs: of processor time, which other work on the
machine changes least, and of wall clock; median and its 95% interval (bootstrap).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from _bare import BareLoop
from _data import shelf
from _harness import describe, environment, guarded, options, turns, write_json
from _zoo import changed
from scipy import stats
from tabulate import tabulate

from zoo.errors import ZooError
from zoo.registry import Registry, default_registry
from zoo.spec import Spec
from zoo.spec.resolve import resolve
from zoo.train.execute import dataset, in_order
from zoo.train.machine import choose_device
from zoo.train.training import Training

SIZES = (64, 144, 240)
"""Of a batch."""
WARM_UP = 2
"""Epochs of each that do not count."""


@click.command()
@options(epochs=40, seeds=1)
def main(epochs: int, seeds: int, data: str, images: int | None, device: str, json_path: Path | None) -> None:
    """Compare a step of zoo with one of a loop by hand, so many epochs of each for each seed."""
    device = choose_device(device)
    registry = default_registry()
    rows = []
    with one_thread(), shelf(registry) as limited:
        surroundings = environment(device)
        chosen = limited.first(data, images, images)
        for size in SIZES:
            spec = changed(
                resolve("starter/default", registry=registry),
                registry,
                data__dataset=chosen,
                training__batch_size=size,
                training__epochs=epochs + WARM_UP,
            )
            found = [compared(spec, registry, device, seed=seed) for seed in range(seeds)]
            rows.append({"batch": size, **{name: [v for each in found for v in each[name]] for name in found[0]}})
    click.echo(describe(surroundings))
    click.echo(f"{data}, starter/default, one thread; {epochs * seeds} pairs of epochs, after a warm-up of each\n")
    table = [
        {
            "batch": row["batch"],
            "step by hand, ms": f"{np.median(row['by_hand']):.2f}",
            "zoo, ms": f"{np.median(row['zoo']):.2f}",
            "ratio of processor time [95%]": interval(row["processor"]),
            "of wall clock [95%]": interval(row["wall"]),
        }
        for row in rows
    ]
    click.echo(tabulate(table, headers="keys", tablefmt="github", disable_numparse=True))
    settings = {"data": data, "images": images, "epochs": epochs, "seeds": seeds, "threads": 1}
    write_json(json_path, surroundings, {"settings": settings, "steps": rows})


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, as zoo's runs do where several are trained at once."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def compared(spec: Spec, registry: Registry, device: str, *, seed: int) -> dict[str, list[float]]:
    """Train in both ways by turns; return milliseconds of a step, and the ratios of neighbouring epochs.

    Raises:
        ZooError: the losses differ, so that they did not do the same.
    """
    with in_order(device, "fp32"):
        loop = BareLoop(spec, registry, device, seed=seed)
        training = Training(spec, seed, dataset(spec, registry, device), device=device, registry=registry)
        epochs = spec.training.epochs
        taken: dict[str, list[tuple[float, float]]] = {"by_hand": [], "zoo": []}
        losses: dict[str, list[float]] = {"by_hand": [], "zoo": []}
        for index, name in turns(list(taken), epochs):
            wall, processor = time.perf_counter(), time.process_time()
            loss = loop.train_epoch() if name == "by_hand" else training.train_epoch(index + 1)
            taken[name].append((time.process_time() - processor, time.perf_counter() - wall))
            losses[name].append(loss)
    if losses["zoo"] != losses["by_hand"]:
        raise ZooError(f"zoo and the loop by hand did not do the same: losses {losses['zoo']} and {losses['by_hand']}")
    steps = training.length.steps_per_epoch
    counted = {name: np.array(times[WARM_UP:]) for name, times in taken.items()}
    ratios = counted["zoo"] / counted["by_hand"]
    return {
        **{name: (1000 * times[:, 0] / steps).tolist() for name, times in counted.items()},
        "processor": ratios[:, 0].tolist(),
        "wall": ratios[:, 1].tolist(),
    }


def interval(ratios: Sequence[float]) -> str:
    """Return the median and its 95% interval."""
    median = np.median(ratios)
    if len(ratios) == 1:
        return f"{median:.3f}"
    found: Any = stats.bootstrap((ratios,), np.median, method="percentile", rng=0).confidence_interval
    return f"{median:.3f} [{found.low:.3f}, {found.high:.3f}]"


if __name__ == "__main__":
    guarded(main)
