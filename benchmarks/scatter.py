"""What lowers the scatter of a run's recall, so that fewer seeds make a verdict.

    python benchmarks/scatter.py starter/4e --change activation=mish --change normalization=group --json scatter.json

A spec and each change of it are trained with the same seeds. Each row changes both alike, or takes another figure of
the same runs. What counts is the standard deviation of the paired differences on the validation part: with it a gain of
0.01 takes so many seeds, found with a power of 80% and tested alone at 5%. A row that moves the difference itself asks
another question.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from _data import shelf
from _harness import describe, environment, guarded, options, write_json
from _zoo import changed, train
from numpy.typing import NDArray
from scipy import stats
from tabulate import tabulate

from zoo.execution.processes import available_cores
from zoo.registry import default_registry
from zoo.spec.paths import apply, parse_set
from zoo.spec.resolve import resolve
from zoo.statistics.paired import pairs_to_find
from zoo.study.measure import epoch_recall
from zoo.train.machine import choose_device

GAIN = 0.01
WAYS: Mapping[str, Mapping[str, object]] = {
    "a quarter held out": {"data__validation": 0.25},
    "a tenth held out": {"data__validation": 0.1},
    "half held out": {"data__validation": 0.5},
    "a quarter, images shuffled": {"data__validation": 0.25, "training__shuffle": True},
    "a quarter, cosine schedule": {"data__validation": 0.25, "training__schedule": "cosine"},
    "a quarter, moving average of weights": {"data__validation": 0.25, "training__averaging": "ema"},
    "a quarter, mean of weights from three quarters on": {"data__validation": 0.25, "training__averaging": "swa"},
}
FIGURES = {"last epoch": 1, "mean of the last 3": 3, "mean of the last 5": 5}


@click.command()
@click.argument("base", metavar="SPEC")
@click.option("--change", "changes", metavar="PATH=VALUE", multiple=True, required=True, help="A change of SPEC.")
@click.option("--only", type=click.Choice(list(WAYS)), multiple=True, help="Train in these ways only.")
@options(epochs=10, seeds=40)
def main(
    base: str,
    changes: tuple[str, ...],
    only: tuple[str, ...],
    epochs: int,
    seeds: int,
    data: str,
    images: int | None,
    device: str,
    json_path: Path | None,
) -> None:
    """Compare ways to measure, and to train, by the scatter of paired differences in validation recall."""
    device = choose_device(device)
    surroundings = environment(device)
    registry = default_registry()
    jobs = available_cores() if device == "cpu" else 1
    rows = []
    with shelf(registry) as limited:
        dataset = limited.first(data, images, images)
        for way in only or WAYS:
            sets = WAYS[way]
            spec = changed(resolve(base, registry=registry), registry, training__epochs=epochs,
                           data__dataset=dataset, **sets)  # fmt: skip
            arms = [spec, *(apply(spec, dict([parse_set(change)]), registry) for change in changes)]
            runs = train(arms, range(seeds), registry=registry, device=device, jobs=jobs)
            recalls = np.array([[epoch_recall(epoch, "validation") for epoch in run.epochs] for run in runs])
            recalls = recalls.reshape(len(arms), seeds, epochs)
            for figure, last in FIGURES.items():
                ours = recalls[:, :, -last:].mean(axis=-1)
                rows += [
                    {"change": change, "both": way, "recall": figure, **_scatter(ours[0], arm)}
                    for change, arm in zip(changes, ours[1:], strict=True)
                ]
    rows.sort(key=lambda row: changes.index(row["change"]))
    click.echo(describe(surroundings))
    click.echo(f"{base}, {data}, {images or 'all'} images, {epochs} epochs, {seeds} seeds; seeds for {GAIN:+g}\n")
    click.echo(tabulate([_texts(row) for row in rows], headers="keys", tablefmt="github", disable_numparse=True))
    write_json(json_path, surroundings, {"rows": rows})


def _scatter(base: NDArray[np.float64], arm: NDArray[np.float64]) -> dict[str, Any]:
    """Return what the seeds say of one change; intervals hold 95%."""
    differences = arm - base
    freedom = len(differences) - 1
    deviation = float(differences.std(ddof=1))
    low, high = (deviation * float(np.sqrt(freedom / stats.chi2.isf(tail, freedom))) for tail in (0.025, 0.975))
    half = float(stats.t.isf(0.025, freedom)) * deviation / len(differences) ** 0.5
    return {
        "difference": float(differences.mean()),
        "half_interval": half,
        "deviation": deviation,
        "correlation": float(np.corrcoef(base, arm)[0, 1]),
        "seeds": [_seeds(each) for each in (deviation, low, high)],
    }


def _seeds(deviation: float) -> int:
    """Return the least number of seeds that find the gain."""
    found = pairs_to_find(GAIN, claims=1, deviation=deviation)
    assert found is not None
    return found


def _texts(row: dict[str, Any]) -> dict[str, str]:
    needed, low, high = row["seeds"]
    return {
        "change": row["change"],
        "both arms": row["both"],
        "a run's recall": row["recall"],
        "difference": f"{row['difference']:+.4f} ± {row['half_interval']:.4f}",
        "deviation": f"{row['deviation']:.4f}",
        "correlation": f"{row['correlation']:+.2f}",
        "seeds": f"{needed} [{low}, {high}]",
    }


if __name__ == "__main__":
    guarded(main)
