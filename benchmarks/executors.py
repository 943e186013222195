"""What an epoch of a run costs, all that zoo does counted, by executor and number of runs at once.

    python benchmarks/executors.py --device cuda --data folder:PATH --json executors.json

Each way trains as many runs of one spec as it trains at once, into a ledger. Counted are the epochs that end while all
of them are under way and have their first epochs (building, checking of the engine, recording) behind them; evaluation
of both parts after each epoch is in it.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import click
from _data import shelf
from _harness import Spread, describe, environment, guarded, options, turns, write_json
from _zoo import changed
from tabulate import tabulate

from zoo.benchmark import carry_out
from zoo.errors import ZooError
from zoo.execution.events import EpochFinished, Event
from zoo.lab.lab import Lab
from zoo.registry import Registry, default_registry
from zoo.spec import Spec
from zoo.spec.resolve import resolve
from zoo.train.engines.choice import Wanted
from zoo.train.machine import choose_device
from zoo.train.run import Precision

BEGINNING = 2
"""Epochs of a run that are not counted."""


@click.command()
@options(epochs=8, seeds=1)
@click.option("--spec", "name", default="eq2425/default", show_default=True, help="What is trained.")
@click.option("--executors", default="streams,processes", show_default=True, help="Which, with commas between.")
@click.option("--at-once", default="1,2,4", show_default=True, help="How many runs at once, with commas between.")
@click.option("--precision", default="fp32", show_default=True, type=click.Choice(get_args(Precision)))
@click.option("--engine", default="auto", show_default=True, type=click.Choice(get_args(Wanted)))
def main(
    epochs: int,
    seeds: int,
    data: str,
    images: int | None,
    device: str,
    json_path: Path | None,
    name: str,
    executors: str,
    at_once: str,
    precision: Precision,
    engine: Wanted,
) -> None:
    """Measure milliseconds per run and epoch: by executor and by how many runs are trained at once."""
    if epochs <= BEGINNING + 1:
        raise ZooError(f"--epochs {epochs}: the first {BEGINNING} and the last are not counted; take more")
    device = choose_device(device)
    surroundings = environment(device)
    registry = default_registry()
    ways = {f"{executor}, {jobs} at once": (executor, int(jobs)) for executor in executors.split(",")
            for jobs in at_once.split(",")}  # fmt: skip
    found: dict[str, list[float]] = {way: [] for way in ways}
    with shelf(registry) as limited:
        spec = resolve(name, registry=registry)
        on = limited.first(data, images, images)
        spec = changed(spec, registry, training__epochs=epochs, data__dataset=on, evaluation__every=1)
        click.echo(f"{describe(surroundings)}\n{name} on {data}, {precision}, engine {engine}\n")
        for index, way in turns(list(ways), seeds):
            executor, jobs = ways[way]
            with TemporaryDirectory(prefix="zoo-benchmark-") as folder:
                lab = Lab(Path(folder) / "zoo.sqlite", registry=registry, device=device, precision=precision,
                          engine=engine, executor=executor, jobs=jobs)  # fmt: skip
                seconds, engines = measured(lab, spec, range(index * jobs, (index + 1) * jobs), registry)
            found[way].append(seconds * 1e3)
            click.echo(f"{way:24} {seconds * 1e3:9.2f} ms a run and epoch ({engines})")
    rows: list[dict[str, Any]] = [
        {"executor": ways[way][0], "at_once": ways[way][1], "milliseconds": values} for way, values in found.items()
    ]
    table = [[row["executor"], row["at_once"], Spread(tuple(row["milliseconds"])).text()] for row in rows]
    click.echo("\n" + tabulate(table, ["executor", "runs at once", "ms a run and epoch"]))
    write_json(
        json_path,
        surroundings,
        {"spec": name, "data": data, "precision": precision, "engine": engine, "epochs": epochs, "ways": rows},
    )


def measured(lab: Lab, spec: Spec, seeds: range, registry: Registry) -> tuple[float, str]:
    """Train the spec once with each seed, all at once; return seconds per run and epoch, and the engines' names."""
    ends: dict[int, list[float]] = {seed: [] for seed in seeds}

    def watch(event: Event) -> None:
        if isinstance(event, EpochFinished):
            ends[event.run.key.seed].append(time.perf_counter())

    with lab.open_ledger() as ledger:
        plan = lab.plan_runs([spec], seeds, ledger)
        runs = carry_out(
            plan,
            registry=registry,
            devices=lab.devices,
            ledger=ledger,
            executor=lab.executor_for(plan),
            watch=watch,
            say=click.echo,
            engine=lab.engine,
        )
    for run in runs:
        if run.status != "finished":
            raise ZooError(f"{run.name}, seed {run.key.seed}, {run.status}: {run.reason}")
    start = max(times[BEGINNING - 1] for times in ends.values())
    end = min(times[-1] for times in ends.values())
    counted = sum(start < moment <= end for times in ends.values() for moment in times)
    if not counted or end <= start:
        raise ZooError("some runs ended before others had begun; take more --epochs")
    return (end - start) / counted, ", ".join(sorted({run.provenance["engine"] for run in runs}))


if __name__ == "__main__":
    guarded(main)
