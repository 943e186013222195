"""How zoo's time grows with specs, seeds, jobs, image size and data set size: exponents, measured.

    python benchmarks/scaling.py --json scaling.json

Each point is a whole benchmark: planning with its timed probe, training, evaluation, a new ledger. The exponent is the
slope of a least-squares line through log(seconds) over log(size), with its standard error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import attrs
import click
import numpy as np
from _data import Shelf, shelf
from _harness import Spread, describe, environment, guarded, options, turns, write_json
from _zoo import changed, train
from scipy.stats import linregress
from tabulate import tabulate

from zoo.data import load
from zoo.registry import Registry, default_registry
from zoo.spec import Spec
from zoo.spec.resolve import resolve
from zoo.train.machine import choose_device

COUNTS = (1, 2, 4, 8)
JOBS = (1, 2, 3, 4)
RUNS_FOR_JOBS = 8
SIDES = (8, 12, 16, 24)
SHARES = (8, 4, 2, 1)
"""Data set sizes: an eighth of it, and so on."""


@attrs.frozen
class Axis:
    """What is varied, the exponent that it should have, and for each size what carries out the benchmark."""

    name: str
    expected: str
    points: dict[int, Callable[[], object]]


@click.command()
@options(epochs=5, seeds=3)
def main(epochs: int, seeds: int, data: str, images: int | None, device: str, json_path: Path | None) -> None:
    """Measure how time grows with specs, seeds, jobs, image size and data set size, on starter/default.

    Each point is measured --seeds times; before that once without counting.
    """
    device = choose_device(device)
    surroundings = environment(device)
    registry = default_registry()
    results = []
    with shelf(registry) as limited:
        chosen = limited.first(data, images, images)
        spec = changed(
            resolve("starter/default", registry=registry), registry, data__dataset=chosen, training__epochs=epochs
        )
        for axis in axes(spec, limited, registry, device):
            click.echo(f"{axis.name} ...", err=True)
            results.append((axis, measure(axis, seeds)))
    table, figures = [], []
    for axis, seconds in results:
        exponent, error = fitted_exponent(seconds)
        sizes = list(seconds)
        table.append(
            {
                "axis": axis.name,
                "exponent": f"{exponent:.2f} ± {error:.2f}",
                "ideal": axis.expected,
                "sizes": ", ".join(map(str, sizes)),
                "seconds": ", ".join(f"{spread.mean:.3g}" for spread in seconds.values()),
            }
        )
        figures.append(
            {
                "axis": axis.name,
                "exponent": exponent,
                "standard_error": error,
                "ideal": axis.expected,
                "sizes": sizes,
                "seconds": [spread.values for spread in seconds.values()],
            }
        )
    click.echo(describe(surroundings))
    click.echo(f"{data}, starter/default, epochs: {epochs}; repetitions of each point: {seeds}; ± standard error\n")
    click.echo(tabulate(table, headers="keys", tablefmt="github"))
    click.echo(
        "\nAn exponent nearer to 0 than the ideal: some of the time does not grow, which is planning, set-up and the "
        "start of workers."
    )
    settings = {"data": data, "images": images, "epochs": epochs, "repetitions": seeds}
    write_json(json_path, surroundings, {"settings": settings, "axes": figures})


def axes(spec: Spec, limited: Shelf, registry: Registry, device: str) -> list[Axis]:
    """Return what is varied; more than one run at once only on a CPU, where zoo does it."""

    def point(specs: list[Spec], seeds: int = 1, jobs: int = 1) -> Callable[[], object]:
        return lambda: train(specs, range(seeds), registry=registry, device=device, jobs=jobs)

    # Specs that cost the same and are different ones.
    specs = [changed(spec, registry, learning_rate=0.01 + 0.001 * index) for index in range(max(COUNTS))]
    name = spec.data.dataset
    whole = load(name, registry)
    train_images, test_images = len(whole.train), len(whole.test)
    parts = {
        train_images // share: limited.first(name, train_images // share, test_images // share) for share in SHARES
    }
    found = [
        Axis("specs", "1", {count: point(specs[:count]) for count in COUNTS}),
        Axis("seeds", "1", {count: point([spec], seeds=count) for count in COUNTS}),
        Axis(
            "image side, pixels",
            "2",
            {side: point([changed(spec, registry, data__resize=side)]) for side in SIDES},
        ),
        Axis(
            "training images",
            "1",
            {size: point([changed(spec, registry, data__dataset=part)]) for size, part in parts.items()},
        ),
    ]
    if device == "cpu":
        found.append(
            Axis("jobs", "-1 up to the cores", {jobs: point([spec], seeds=RUNS_FOR_JOBS, jobs=jobs) for jobs in JOBS})
        )
    return found


def measure(axis: Axis, repetitions: int) -> dict[int, Spread]:
    """Measure every point of an axis, taking turns; the first round is not counted."""
    seconds: dict[int, list[float]] = {size: [] for size in axis.points}
    names = {str(size): size for size in axis.points}
    for _, name in turns(list(names), repetitions + 1):
        size = names[name]
        start = time.perf_counter()
        axis.points[size]()
        seconds[size].append(time.perf_counter() - start)
    return {size: Spread(tuple(values[1:])) for size, values in seconds.items()}


def fitted_exponent(seconds: dict[int, Spread]) -> tuple[float, float]:
    """Return the slope of log(seconds) over log(size), each measurement counted, and its standard error."""
    points = [(size, value) for size, spread in seconds.items() for value in spread.values]
    sizes, values = zip(*points, strict=True)
    fit = linregress(np.log(sizes), np.log(values))
    return float(fit.slope), float(fit.stderr)


if __name__ == "__main__":
    guarded(main)
