"""Whether `zoo time` takes chance for a difference: one spec under several names, again and again.

    python benchmarks/times.py --json times.json

Of intervals of 95%, one in twenty leaves out the 1 that is true.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import click
from _data import shelf
from _harness import describe, environment, guarded, options, write_json
from _zoo import changed
from tabulate import tabulate

from zoo.registry import default_registry
from zoo.report.times import KINDS
from zoo.spec.resolve import resolve
from zoo.timing import FEWEST, measure
from zoo.train.machine import choose_device


@click.command()
@options(epochs=1, seeds=20)
@click.option("--copies", default=6, show_default=True, type=click.IntRange(min=2), help="Names of the one spec.")
@click.option("--rounds", default=200, show_default=True, type=click.IntRange(min=FEWEST), help="As for zoo time.")
@click.option("--spec", "name", default="starter/default", show_default=True, help="Which spec.")
def main(
    epochs: int,
    seeds: int,
    data: str,
    images: int | None,
    device: str,
    json_path: Path | None,
    copies: int,
    rounds: int,
    name: str,
) -> None:
    """Time a spec against itself, and count the intervals that leave out 1. Each seed is one measurement."""
    device = choose_device(device)
    surroundings = environment(device)
    registry = default_registry()
    with shelf(registry) as limited:
        chosen = limited.first(data, images, images)
        spec = changed(resolve(name, registry=registry), registry, data__dataset=chosen, training__epochs=epochs)
        alike = [attrs.evolve(spec, name=f"{spec.name} ({number})") for number in range(copies)]
        measured = [measure(alike, registry=registry, device=device, rounds=rounds) for _ in range(seeds)]
    rows, figures = [], {}
    for kind in KINDS:
        paces = [getattr(timing, kind) for timings in measured for timing in timings.specs[1:]]
        ratios = sorted(pace.ratio for pace in paces)
        widths = sorted(pace.high / pace.low for pace in paces)
        out = sum(pace.differs for pace in paces)
        figures[kind] = {
            "intervals": [[pace.ratio, pace.low, pace.high] for pace in paces],
            "leave_out_1": out,
            "milliseconds": [getattr(timings.specs[0], kind).milliseconds for timings in measured],
        }
        rows.append([kind, f"{out} of {len(paces)}", f"{out / len(paces):.1%}",
                     f"{ratios[0]:.3f} to {ratios[-1]:.3f}", f"{widths[len(widths) // 2] - 1:.1%}"])  # fmt: skip
    headers = ["", "leave out 1", "share", "ratios", "width in the middle"]
    click.echo(f"{describe(surroundings)}\n{copies} times {name}, {measured[0].rounds} rounds, {seeds} measurements\n")
    click.echo(tabulate(rows, headers=headers, disable_numparse=True))
    write_json(json_path, surroundings, {"rounds": measured[0].rounds, "copies": copies, **figures})


if __name__ == "__main__":
    guarded(main)
