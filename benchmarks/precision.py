"""Does bfloat16, or another precision, move recall? Paired runs with fp32, seed by seed.

    python benchmarks/precision.py starter/default starter/4e --seeds 30 --json precision.json

The verdict is that of a study (docs/explanation/verdicts.md): "no practical difference" where the 95% interval lies
inside the margin, by two one-sided tests, corrected for the number of specs.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import click
from _data import shelf
from _harness import describe, environment, guarded, options, write_json
from _zoo import changed, train
from tabulate import tabulate

from zoo.execution.processes import available_cores
from zoo.registry import default_registry
from zoo.spec.resolve import resolve
from zoo.statistics.paired import compare
from zoo.study.measure import measured
from zoo.train.machine import choose_device
from zoo.train.precision import Arithmetic, Precision, choose_precision

MARGIN = 0.005


@click.command()
@click.argument("names", metavar="SPEC...", nargs=-1, required=True)
@options(epochs=10, seeds=30)
@click.option(
    "--precision",
    "other",
    default="bf16",
    show_default=True,
    type=click.Choice(["tf32", "bf16", "fp16", "half"]),
    help="What is compared with fp32.",
)
@click.option("--margin", default=MARGIN, show_default=True, help="A difference in recall that makes no difference.")
def main(
    names: tuple[str, ...],
    epochs: int,
    seeds: int,
    data: str,
    images: int | None,
    device: str,
    json_path: Path | None,
    other: Arithmetic,
    margin: float,
) -> None:
    """Compare test recall in another precision with that in fp32, by pairs of runs with the same seed."""
    device = choose_device(device)
    pair: tuple[Precision, ...] = ("fp32", choose_precision(other, device))
    surroundings = environment(device)
    registry = default_registry()
    jobs = available_cores() if device == "cpu" else 1
    recalls: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, dict[str, float]] = {}
    with shelf(registry) as limited:
        for name in names:
            spec = resolve(name, registry=registry)
            dataset = limited.first(data, images, images, side=None)
            spec = changed(spec, registry, training__epochs=epochs, data__dataset=dataset, evaluation__every=0)
            for precision in pair:
                runs = train([spec], range(seeds), registry=registry, device=device, jobs=jobs, precision=precision)
                recalls.setdefault(name, {})[precision] = [measured(run, "test") for run in runs]
                seconds.setdefault(name, {})[precision] = sum(run.seconds_training for run in runs) / len(runs)
    differences = {
        name: [b - a for a, b in zip(both["fp32"], both[other], strict=True)] for name, both in recalls.items()
    }
    compared = compare(differences, margin=margin)
    rows = [
        {
            "spec": name,
            "recall, fp32": f"{sum(recalls[name]['fp32']) / seeds:.4f}",
            f"recall, {other}": f"{sum(recalls[name][other]) / seeds:.4f}",
            "difference [95%]": f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]" if c.low is not None else "",
            "verdict": c.verdict,
            "training, fp32": f"{seconds[name]['fp32']:.2f} s",
            f"training, {other}": f"{seconds[name][other]:.2f} s",
        }
        for name, c in compared.items()
    ]
    click.echo(describe(surroundings))
    click.echo(
        f"{data}, {images or 'all'} images, {epochs} epochs, {seeds} seeds; margin {margin:g}; {other} minus fp32\n"
    )
    click.echo(tabulate(rows, headers="keys", tablefmt="github"))
    settings = {"precision": other, "data": data, "images": images, "epochs": epochs, "seeds": seeds, "margin": margin}
    verdicts = {name: attrs.asdict(comparison) for name, comparison in compared.items()}
    write_json(
        json_path,
        surroundings,
        {"settings": settings, "recalls": recalls, "seconds_training": seconds, "verdicts": verdicts},
    )


if __name__ == "__main__":
    guarded(main)
