"""What zoo costs beyond the training itself: for each run, for each command, for each epoch stored, in a large ledger.

    python benchmarks/overhead.py --json overhead.json

Each kind of measurement takes turns with what it is compared with.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import click
import torch
from _bare import BareLoop
from _data import shelf
from _harness import Spread, describe, environment, guarded, options, turns, write_json
from _zoo import carry_out_quietly, changed
from tabulate import tabulate
from torch import Tensor

from zoo.data import Split
from zoo.errors import ZooError
from zoo.lab.lab import Lab
from zoo.ledger import Ledger
from zoo.registry import Registry, default_registry
from zoo.spec import Spec
from zoo.spec.resolve import resolve
from zoo.train import metrics
from zoo.train.machine import choose_device, make_deterministic
from zoo.train.run import Run

RUNS_OF_A_SPEC = 100
KEYS = 1000
ROWS = 1000
MOST_OF_LARGE = 3
"""Repetitions with the large ledger, at most: it may take minutes."""


@attrs.frozen
class Measured:
    """One row of the table: repeated measurements in milliseconds."""

    what: str
    milliseconds: Spread


@click.command()
@options(epochs=1, seeds=10)
@click.option(
    "--runs",
    default=100_000,
    show_default=True,
    type=click.IntRange(min=2 * RUNS_OF_A_SPEC),
    help="Runs in the large ledger.",
)
def main(
    epochs: int, seeds: int, data: str, images: int | None, device: str, json_path: Path | None, runs: int
) -> None:
    """Measure zoo's cost over the training itself.

    Each measurement is repeated as often as --seeds says, those of a large ledger up to three times.
    """
    device = choose_device(device)
    surroundings = environment(device)
    registry = default_registry()
    with shelf(registry) as limited, TemporaryDirectory(prefix="zoo-benchmark-") as folder:
        chosen = limited.first(data, images, images)
        spec = changed(
            resolve("starter/default", registry=registry), registry, data__dataset=chosen, training__epochs=epochs
        )
        measured, example = cost_of_a_run(spec, registry, device, seeds, Path(folder))
        measured += cost_of_a_command(example, Path(folder), seeds)
        measured.append(cost_of_an_epoch_row(example, Path(folder), seeds))
        measured += cost_of_a_large_ledger(example, Path(folder), runs, min(seeds, MOST_OF_LARGE))
    table = [
        {"what": row.what, "repetitions": len(row.milliseconds.values), "ms [least, greatest]": row.milliseconds.text()}
        for row in measured
    ]
    click.echo(describe(surroundings))
    click.echo(f"{data}, epochs: {epochs}; measured side by side, after a warm-up of each\n")
    click.echo(tabulate(table, headers="keys", tablefmt="github"))
    settings = {"data": data, "images": images, "epochs": epochs, "repetitions": seeds, "runs_in_large_ledger": runs}
    rows = [{"what": row.what, "milliseconds": row.milliseconds.values} for row in measured]
    write_json(json_path, surroundings, {"settings": settings, "measurements": rows})


def cost_of_a_run(
    spec: Spec, registry: Registry, device: str, repetitions: int, folder: Path
) -> tuple[list[Measured], Run]:
    """Compare one run by zoo, ledger included, with a bare loop of the same network, batches and evaluation.

    Returns:
        The measurements, and a run as the ledger holds it.

    Raises:
        ZooError: the two disagree on the recall, so that they did not do the same.
    """
    make_deterministic(device)
    seconds: dict[str, list[float]] = {"bare": [], "zoo": [], "plan": []}
    lab = Lab(folder / "runs.sqlite", registry=registry, device=device, jobs=1)
    with lab.open_ledger() as ledger:
        for index, name in turns(["bare", "zoo"], repetitions + 1):
            start = time.perf_counter()
            if name == "bare":
                recall = bare_run(spec, registry, device, seed=index)
            else:
                plan = lab.plan_runs([spec], [index], ledger)
                seconds["plan"].append(time.perf_counter() - start)
                start = time.perf_counter()
                (run,) = carry_out_quietly(lab, plan, ledger)
            seconds[name].append(time.perf_counter() - start)
            if index == 0 and name == "zoo":
                zoo_recall = metrics.macro_recall(run.epochs[-1].evaluations["test"].confusion)
                if run.status != "finished" or abs(zoo_recall - recall) > 1e-3:
                    raise ZooError(
                        f"zoo's run ({run.status}, recall {zoo_recall:.4f}) and the bare loop (recall {recall:.4f}) "
                        "did not do the same, so their times do not compare"
                    )
    bare, zoo, plan_ = (_milliseconds(seconds[name][1:]) for name in ("bare", "zoo", "plan"))
    added = Spread(tuple(b - a for a, b in zip(bare.values, zoo.values, strict=True)))
    return [
        Measured("one run: a bare loop", bare),
        Measured("one run: zoo, in this process, with ledger", zoo),
        Measured("one run: added by zoo", added),
        Measured("one command: planning one spec, with its timed probe", plan_),
    ], run


def bare_run(spec: Spec, registry: Registry, device: str, *, seed: int) -> float:
    """Train as zoo does, with nothing around it; return the macro recall on the test images."""
    loop = BareLoop(spec, registry, device, seed=seed)
    classes = len(loop.data.classes)

    @torch.inference_mode()
    def confusion(part: Split) -> Tensor:
        loop.network.eval()
        predicted = torch.cat([loop.network(loop.pixels(batch)).argmax(1) for batch in torch.split(part.images, 1000)])
        return torch.bincount(part.labels * classes + predicted, minlength=classes**2).view(classes, classes).cpu()

    for _ in range(spec.training.epochs):
        loop.train_epoch()
        counted = [confusion(part) for part in (loop.data.train, loop.data.test)]
    return metrics.macro_recall(counted[-1].numpy())


def cost_of_a_command(example: Run, folder: Path, repetitions: int) -> list[Measured]:
    """Measure how long commands take that train nothing, beside what Python and torch take to start."""
    path = folder / "one.sqlite"
    store(example, path)
    commands = {
        "start Python": [sys.executable, "-c", "pass"],
        "start Python and import torch": [sys.executable, "-c", "import torch"],
        "zoo --help": _zoo("--help"),
        "zoo list": _zoo("list"),
        "zoo results, one run": _zoo("results", "--ledger", str(path)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _, name in turns(list(commands), repetitions + 1):
        seconds[name].append(_seconds_of(commands[name]))
    return [Measured(f"one command: {name}", _milliseconds(seconds[name][1:])) for name in commands]


def cost_of_an_epoch_row(example: Run, folder: Path, repetitions: int) -> Measured:
    """Measure how long storing an epoch takes."""
    times = []
    with Ledger(folder / "epochs.sqlite") as ledger:
        for repetition in range(repetitions + 1):
            run = attrs.evolve(example, key=attrs.evolve(example.key, seed=repetition), status="running")
            attempt = ledger.claim(run)
            assert attempt is not None
            records = [attrs.evolve(example.epochs[-1], epoch=epoch) for epoch in range(1, ROWS + 1)]
            start = time.perf_counter()
            for record in records:
                ledger.add_epoch(attempt, record)
            times.append((time.perf_counter() - start) / ROWS)
    return Measured(f"one epoch: its row in the ledger (of {ROWS})", _milliseconds(times[1:]))


def cost_of_a_large_ledger(example: Run, folder: Path, runs: int, repetitions: int) -> list[Measured]:
    """Measure what is done with a ledger of many runs: open it, ask it for keys, print a table of some."""
    path = folder / "large.sqlite"
    store(example, path)
    multiply(path, runs)
    size = path.stat().st_size / 1e6
    # Half of the keys have ended, where the ledger holds that many.
    step = max(1, 2 * runs // KEYS)
    keys = [attrs.evolve(example.key, seed=seed) for seed in range(0, KEYS * step, step)]
    seconds: dict[str, list[float]] = {"open": [], "ended": [], "results": []}
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        with Ledger(path) as ledger:
            opened = time.perf_counter()
            found = ledger.ended(keys)
            seconds["ended"].append(time.perf_counter() - opened)
        seconds["open"].append(opened - start)
        expected = sum(key.seed < runs for key in keys)
        if len(found) != expected:
            raise ZooError(f"the large ledger knows {len(found)} of {expected} keys")
        seconds["results"].append(_seconds_of(_zoo("results", "spec-1", "--ledger", str(path))))
    ledger_ = f"ledger of {runs} runs, {size:.0f} MB"
    return [
        Measured(f"{ledger_}: open", _milliseconds(seconds["open"][1:])),
        Measured(f"{ledger_}: ask for {KEYS} keys", _milliseconds(seconds["ended"][1:])),
        Measured(f"{ledger_}: zoo results, {RUNS_OF_A_SPEC} runs", _milliseconds(seconds["results"][1:])),
    ]


def store(run: Run, path: Path) -> None:
    """Store one ended run in a new ledger, under the seed 0."""
    run = attrs.evolve(run, key=attrs.evolve(run.key, seed=0))
    with Ledger(path) as ledger:
        attempt = ledger.claim(run)
        assert attempt is not None
        for epoch in run.epochs:
            ledger.add_epoch(attempt, epoch)
        ledger.finish(attempt, run)


def multiply(path: Path, runs: int) -> None:
    """Copy the ledger's only run until there are so many, each with a seed of its own, a hundred of each name."""
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = {
            table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for table in ("run", "epoch", "evaluation")
        }
        columns["run"].remove("id")
        name = f"'spec-' || (seeds.seed / {RUNS_OF_A_SPEC})"
        own = {"seed": "seeds.seed", "seed_number": "seeds.seed", "name": name}
        connection.execute(
            f"WITH RECURSIVE seeds(seed) AS (SELECT 1 UNION ALL SELECT seed + 1 FROM seeds WHERE seed < {runs - 1}) "
            f"INSERT INTO run ({', '.join(columns['run'])}) "
            f"SELECT {', '.join(own.get(column, f'run.{column}') for column in columns['run'])} FROM seeds, run"
        )
        for table in ("epoch", "evaluation"):
            copied = ", ".join("run.id" if column == "run" else f"{table}.{column}" for column in columns[table])
            connection.execute(f"INSERT INTO {table} SELECT {copied} FROM run, {table} WHERE run.id <> {table}.run")


def _zoo(*arguments: str) -> list[str]:
    return [str(Path(sysconfig.get_path("scripts")) / "zoo"), *arguments]


def _seconds_of(command: Sequence[str]) -> float:
    """Carry out a command and return its wall clock.

    Raises:
        ZooError: it failed.
    """
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise ZooError(f"{' '.join(command)} ended with exit code {done.returncode}: {done.stderr.strip()}")
    return seconds


def _milliseconds(seconds: Sequence[float]) -> Spread:
    return Spread(tuple(1000 * value for value in seconds))


if __name__ == "__main__":
    guarded(main)
