"""What a Ray cluster costs beside worker processes on the same machine, and what the command that commands it can take.

    python benchmarks/ray_overhead.py --json ray_overhead.json

The same runs are trained by both, in turn, on as many workers; their figures must be equal.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import click
import numpy as np
from _data import shelf
from _harness import Spread, describe, environment, guarded, options, turns, write_json
from _zoo import changed
from tabulate import tabulate

from zoo.benchmark import make_plan
from zoo.errors import ZooError
from zoo.execution.cluster.connection import import_ray
from zoo.execution.contract import Work
from zoo.execution.events import Ended, EpochFinished, Started
from zoo.ledger import Ledger
from zoo.registry import Registry, default_registry
from zoo.spec.resolve import resolve
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

RECORDS = 2000
CIFAR = (60_000, 3, 32, 32)


@attrs.frozen
class Turn:
    """One way of training all runs, once: seconds to the first run, seconds a run after that, and what was told."""

    start: float
    per_run: float
    stop: float
    figures: dict[RunKey, list[Any]]


@click.command()
@options(epochs=2, seeds=3)
@click.option("--runs", default=40, show_default=True, type=click.IntRange(min=2), help="Runs in each repetition.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(min=1), help="Workers.")
def main(
    epochs: int,
    seeds: int,
    data: str,
    images: int | None,
    device: str,
    json_path: Path | None,
    runs: int,
    jobs: int,
) -> None:
    """Measure what Ray adds to a run beside worker processes, on starter/default; each is repeated --seeds times.

    Ray is on this machine alone, and is started and stopped in each repetition. On a CPU only.
    """
    if device not in ("auto", "cpu"):
        raise ZooError(f"--device {device}: this benchmark compares workers on a CPU; leave the option out")
    surroundings = {**environment("cpu"), "ray": import_ray().__version__}
    registry = default_registry()
    with shelf(registry) as limited, TemporaryDirectory(prefix="zoo-benchmark-") as folder:
        chosen = limited.first(data, images, images)
        spec = changed(
            resolve("starter/default", registry=registry), registry, data__dataset=chosen, training__epochs=epochs
        )
        with Ledger(Path(folder) / "plan.sqlite") as ledger:
            plan = make_plan([spec], range(runs), registry=registry, device="cpu", ledger=ledger)
        taken: dict[str, list[Turn]] = {"processes": [], "ray": []}
        for _, name in turns(list(taken), seeds):
            taken[name].append(turn(name, plan.missing, registry, jobs))
        both = (*taken["processes"], *taken["ray"])
        if any(turn_.figures != both[0].figures for turn_ in both):
            raise ZooError("the figures of the two are not equal, so their times do not compare")
        rows = {
            f"{name}: {what}": Spread(tuple(1000 * getattr(turn_, field) for turn_ in taken[name]))
            for name in taken
            for what, field in (("start, to the first run", "start"), ("a run", "per_run"), ("stop", "stop"))
        }
        rows |= {what: Spread(tuple(values)) for what, values in commanding(plan.missing[0], folder, seeds).items()}
    click.echo(describe(surroundings) + f", ray {surroundings['ray']}")
    click.echo(f"{data}, epochs: {epochs}, runs: {runs}, jobs: {jobs}; the figures of all runs are equal\n")
    table = [{"what": what, "ms [least, greatest]": spread.text()} for what, spread in rows.items()]
    click.echo(tabulate(table, headers="keys", tablefmt="github"))
    settings = {"data": data, "images": images, "epochs": epochs, "repetitions": seeds, "runs": runs, "jobs": jobs}
    measurements = [{"what": what, "milliseconds": spread.values} for what, spread in rows.items()]
    write_json(json_path, surroundings, {"settings": settings, "measurements": measurements})


def turn(executor: str, runs: tuple[Run, ...], registry: Registry, jobs: int) -> Turn:
    """Train all runs with an executor.

    Raises:
        ZooError: one did not finish.
    """
    figures: dict[RunKey, list[Any]] = {run.key: [] for run in runs}
    work = Work(runs=iter(runs), registry=registry, jobs=jobs, say=lambda line: None)
    begun = time.perf_counter()
    first = last = 0.0
    with closing(registry.variant("executor", executor).make({}, work=work)) as events:
        for event in events:
            last = time.perf_counter()
            match event:
                case Started():
                    first = first or last
                case EpochFinished(run, record):
                    figures[run.key].append((record.epoch, record.loss, record.evaluations))
                case Ended(run) if run.status != "finished":
                    raise ZooError(f"{run.name}, seed {run.key.seed}, {run.status}: {run.reason}")
    return Turn(first - begun, (last - first) / len(runs), time.perf_counter() - last, figures)


def commanding(run: Run, folder: str, repetitions: int) -> dict[str, list[float]]:
    """Measure what the command does for each epoch and run, in milliseconds, nothing being trained."""
    ray = import_ray()
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        sender = ray.remote(_Sender).remote()
        ray.get(sender.stored.remote([ray.put(0)]))
        measured: dict[str, list[float]] = {}
        for repetition in range(repetitions):
            for classes in (10, 100):
                start = time.perf_counter()
                for reference in sender.records.remote(classes):
                    ray.wait([reference], num_returns=1)
                    ray.get(reference)
                what = f"command: an epoch's record of {classes} classes received"
                measured.setdefault(what, []).append(1000 * (time.perf_counter() - start) / RECORDS)
            with Ledger(Path(folder) / f"{repetition}.sqlite") as ledger:
                start = time.perf_counter()
                attempts = [ledger.claim(_seeded(run, seed)) for seed in range(RECORDS // 10)]
                stored = time.perf_counter()
                for attempt in attempts:
                    assert attempt is not None
                    for epoch in range(10):
                        ledger.add_epoch(attempt, record(epoch, 10))
                written = time.perf_counter()
                for seed, attempt in enumerate(attempts):
                    assert attempt is not None
                    ledger.finish(attempt, attrs.evolve(_seeded(run, seed), status="finished"))
                finished = time.perf_counter()
            measured.setdefault("command: an epoch's record stored", []).append(1000 * (written - stored) / RECORDS)
            per_run = 1000 * (finished - written + stored - start) / len(attempts)
            measured.setdefault("command: a run's begin and end stored", []).append(per_run)
            pixels = np.zeros(CIFAR, np.uint8)
            start = time.perf_counter()
            reference = ray.put(pixels)
            put = time.perf_counter()
            ray.get(sender.stored.remote([reference]))
            measured.setdefault("command: images of 184 MB put into the store", []).append(1000 * (put - start))
            what = "worker: images of 184 MB got from the store of its node"
            measured.setdefault(what, []).append(1000 * (time.perf_counter() - put))
        return measured
    finally:
        ray.shutdown()


class _Sender:
    """An actor that sends what a worker sends, and trains nothing."""

    def records(self, classes: int) -> Iterator[EpochRecord]:
        """Send epochs' records."""
        for epoch in range(RECORDS):
            yield record(epoch, classes)

    def stored(self, references: list[Any]) -> int:
        """Get something from the store of objects."""
        return len(np.atleast_1d(import_ray().get(references[0])))


def record(epoch: int, classes: int) -> EpochRecord:
    """Return an epoch's record as a run on so many classes has it."""
    part = Evaluation(((100,) * classes,) * classes)
    return EpochRecord(epoch, 0.5, 1.0, 0.5, {"train": part, "test": part})


def _seeded(run: Run, seed: int) -> Run:
    return attrs.evolve(run, key=attrs.evolve(run.key, seed=seed))


if __name__ == "__main__":
    guarded(main)
