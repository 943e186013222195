"""Time of zoo against the loops that people write, and against two frameworks, on the study's default configuration.

    python benchmarks/vs_plain_loop.py --data folder:PATH --json vs_plain_loop.json

In each repetition every contestant trains once, taking turns. All start from the same weights of the repetition's seed
and see the same batches, so that their test recalls agree but for rounding; a ratio whose contestant's recall does not
lie inside zoo's interval does not count.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs
import click
import torch
from _data import shelf
from _harness import Spread, describe, environment, guarded, options, turns, write_json
from _plain import resident_loop, study_loop, tuned_loop
from _task import BATCH, Task
from _zoo import changed, train
from tabulate import tabulate
from torch import nn

from zoo.errors import ZooError
from zoo.registry import default_registry
from zoo.spec.resolve import resolve
from zoo.statistics.intervals import mean_interval
from zoo.train import metrics
from zoo.train.machine import choose_device
from zoo.train.run import Precision

SIDE = 32
"""What the study's network is made for, in pixels."""
WARM_UP_IMAGES = 640


@attrs.frozen
class Contestant:
    """One way to train. `train(task, seed)` returns what finds out the test recall, which is not timed."""

    name: str
    does: str
    train: Callable[[Task, int], Callable[[], float]]
    runs: int = 1
    """How many runs one call trains."""


@attrs.frozen
class Turn:
    """What one contestant did in one repetition."""

    seconds_per_run_epoch: float
    test_recall: float


def contestants(device: str) -> list[Contestant]:
    """Return those that can be had here; the first is the one that all are compared with."""
    found = [
        Contestant(
            "zoo, one run",
            "plan with timed probe, one thread, evaluation of both parts (per-batch recall, confusion matrix), ledger; "
            "computes no validation loss",
            zoo_runs(1),
        )
    ]
    if device == "cpu":
        found += [
            Contestant("zoo, two at once", "the same with --jobs 2: two runs in two processes", zoo_runs(2), runs=2),
            Contestant(
                "zoo, two at once, bf16",
                "the same with --precision bf16: convolutions and matrix products in bfloat16",
                zoo_runs(2, "bf16"),
                runs=2,
            ),
        ]
    found += [
        Contestant(
            "study's loop",
            "like torchvision's CIFAR10: uint8 arrays in memory (no JPEG is decoded), a PIL image, ToTensor and "
            "Normalize for each item, DataLoader without workers; three evaluation passes (train recall, validation "
            "loss, validation recall), scikit-learn's recall of each batch",
            plain(study_loop),
        ),
        Contestant(
            "tuned loop",
            "the same images from a DataLoader with 2 workers that stay; two evaluation passes, recall of all "
            "predictions at once",
            plain(tuned_loop),
        ),
        Contestant(
            "resident loop",
            "all images as normalized floats on the device, slices as batches, no data loader; evaluation like the "
            "tuned loop's, 1,000 images at once",
            plain(resident_loop),
        ),
    ]
    if find_spec("lightning"):
        from _lightning import train as lightning

        found.append(
            Contestant(
                "PyTorch Lightning",
                "Trainer without logger, checkpoints and progress bar; normalized floats in memory in a TensorDataset, "
                "DataLoader without workers; recall of both parts by torchmetrics",
                plain(lightning),
            )
        )
    if find_spec("skorch"):
        from _skorch import train as skorch

        found.append(
            Contestant(
                "skorch",
                "NeuralNetClassifier.fit on normalized float arrays in memory; recall of both parts by EpochScoring",
                plain(skorch),
            )
        )
    return found


def plain(function: Callable[[Task, int], nn.Module]) -> Callable[[Task, int], Callable[[], float]]:
    """Turn a function that returns the trained network into a contestant's."""

    def train_and_ask(task: Task, seed: int) -> Callable[[], float]:
        network = function(task, seed)
        return lambda: task.test_recall(network)

    return train_and_ask


def zoo_runs(jobs: int, precision: Precision = "fp32") -> Callable[[Task, int], Callable[[], float]]:
    """Return the contestant that trains as many runs at once: the seed's, and others beside it."""

    def train_and_ask(task: Task, seed: int) -> Callable[[], float]:
        seeds = [seed + 1000 * job for job in range(jobs)]
        runs = train([task.spec], seeds, registry=task.registry, device=task.device, jobs=jobs, precision=precision)
        return lambda: metrics.macro_recall(runs[0].epochs[-1].evaluations["test"].confusion)

    return train_and_ask


@attrs.frozen
class Setting:
    """What every contestant trains on."""

    data: str
    images: int | None
    epochs: int
    device: str
    verbose: bool


def take_turn(name: str, setting: Setting, seed: int) -> Turn:
    """Train once."""
    contestant = next(contestant for contestant in contestants(setting.device) if contestant.name == name)
    task = _task(setting)  # reads the data, the first time
    gc.collect()
    start = time.perf_counter()
    ask = contestant.train(task, seed)
    if task.device != "cpu":
        getattr(torch, torch.device(task.device).type).synchronize()
    seconds = time.perf_counter() - start
    return Turn(seconds / (contestant.runs * task.epochs), ask())


@contextmanager
def _process(name: str) -> Iterator[Callable[[Setting, int], Turn]]:
    """Start a process that takes a contestant's turns, each when it is asked to."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(name, there, multiprocessing.get_start_method()))
    process.start()
    there.close()

    def take(setting: Setting, seed: int) -> Turn:
        here.send((setting, seed))
        taken = here.recv()
        if isinstance(taken, ZooError):
            raise taken
        assert isinstance(taken, Turn)
        return taken

    try:
        yield take
    finally:
        here.close()
        process.join()


def _serve(name: str, connection: Connection, start_method: str) -> None:
    # Else the workers of a data loader would be started as this process was, and not as they are elsewhere.
    multiprocessing.set_start_method(start_method, force=True)
    while True:
        try:
            setting, seed = connection.recv()
        except EOFError:
            return
        try:
            connection.send(take_turn(name, setting, seed))
        except ZooError as error:
            connection.send(error)


@cache
def _task(setting: Setting) -> Task:
    if setting.verbose:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("benchmarks").setLevel(logging.INFO)
    registry = default_registry()
    limited = _IN_USE.enter_context(shelf(registry))
    name = limited.first(setting.data, setting.images, setting.images, side=SIDE)
    spec = resolve("eq2425/default", registry=registry)
    return Task.of(
        changed(spec, registry, training__epochs=setting.epochs, data__dataset=name), registry, setting.device
    )


_IN_USE = ExitStack()
"""Data sets that this process has on its shelf until it ends."""


@click.command()
@options(epochs=1, seeds=3)
@click.option("--verbose", is_flag=True, help="Say what each contestant measured itself after each epoch.")
@click.option("--without", multiple=True, metavar="NAME", help="Leave a contestant out.")
def main(
    epochs: int,
    seeds: int,
    data: str,
    images: int | None,
    device: str,
    json_path: Path | None,
    verbose: bool,
    without: tuple[str, ...],
) -> None:
    """Compare zoo with the loops that people write, on the study's default configuration (eq2425/default).

    Time is that of a whole run, from data decoded in memory to the last evaluation, divided by its epochs. One turn of
    each on a few images comes before and is not counted. Lightning and skorch take part where they are installed:
    pip install '.[benchmarks]'.
    """
    device = choose_device(device)
    surroundings = environment(device)
    setting = Setting(data, images, epochs, device, verbose)
    warm_up = attrs.evolve(setting, images=min(images or WARM_UP_IMAGES, WARM_UP_IMAGES), verbose=False)
    everyone = {contestant.name: contestant for contestant in contestants(device) if contestant.name not in without}
    taken: dict[str, list[Turn]] = {name: [] for name in everyone}
    with ExitStack() as open_:
        # A process for each, for zoo sets the threads, the allocator and cuDNN's switches of its own.
        processes = {name: open_.enter_context(_process(name)) for name in everyone}
        for process in processes.values():
            process(warm_up, 0)
        for seed, name in turns(list(everyone), seeds):
            taken[name].append(processes[name](setting, seed))
            # As it comes, so that a command that is stopped has told what it had found.
            click.echo(f"{name}, seed {seed}: {taken[name][-1].seconds_per_run_epoch:.3f} s a run and epoch", err=True)
    task = _task(setting)
    settings = {
        "data": data,
        "train_images": len(task.train.labels),
        "test_images": len(task.test.labels),
        "batch_size": BATCH,
        "epochs": epochs,
        "repetitions": seeds,
    }
    results = [figures(contestant, taken, task.classes) for contestant in everyone.values()]
    click.echo(report(surroundings, settings, results))
    write_json(json_path, surroundings, {"settings": settings, "contestants": results})


def figures(contestant: Contestant, taken: Mapping[str, list[Turn]], classes: int) -> dict[str, Any]:
    """Return a contestant's row: seconds of one run's epoch, ratios to each way of zoo, recall."""
    seconds, recalls = _columns(taken[contestant.name])
    ways_of_zoo = [name for name in taken if name.startswith("zoo")]
    _, zoo_recalls = _columns(taken[ways_of_zoo[0]])
    mean, interval = mean_interval(recalls)
    zoo_mean, zoo_interval = mean_interval(zoo_recalls)
    same = None if zoo_interval is None else abs(mean - zoo_mean) <= zoo_interval
    return {
        "name": contestant.name,
        "does": contestant.does,
        "seconds_per_run_epoch": seconds.values,
        "ratios": {name: seconds.over(_columns(taken[name])[0]).values for name in ways_of_zoo},
        "test_recalls": recalls,
        "test_recall": mean,
        "test_recall_interval": interval,
        "largest_recall_difference": max(abs(a - b) for a, b in zip(recalls, zoo_recalls, strict=True)),
        "same_recall": same,
        "chance": 1 / classes,
    }


def _columns(taken: list[Turn]) -> tuple[Spread, list[float]]:
    return Spread(tuple(turn.seconds_per_run_epoch for turn in taken)), [turn.test_recall for turn in taken]


def report(surroundings: Mapping[str, Any], settings: Mapping[str, Any], results: list[dict[str, Any]]) -> str:
    """Return the table and what it means."""
    rows = []
    for result in results:
        interval = result["test_recall_interval"]
        rows.append(
            {
                "contestant": result["name"],
                "seconds per run and epoch": Spread(tuple(result["seconds_per_run_epoch"])).text(),
                **{f"ratio to {name}": Spread(tuple(r)).ratio_text() for name, r in result["ratios"].items()},
                "test recall": f"{result['test_recall']:.4f}" + ("" if interval is None else f" ± {interval:.4f}"),
                "ratio counts": {True: "yes", False: "NO: other recall", None: "not judged: one seed"}[
                    result["same_recall"]
                ],
            }
        )
    lines = [
        describe(surroundings),
        f"{settings['data']}: {settings['train_images']} training and {settings['test_images']} test images, "
        f"epochs: {settings['epochs']}; repetitions: {settings['repetitions']}, side by side",
        "mean [least, greatest]; a ratio (geometric mean) above 1 means slower than zoo",
        "",
        tabulate(rows, headers="keys", tablefmt="github"),
        "",
        *(f"{result['name']}: {result['does']}." for result in results),
    ]
    if all(result["test_recall"] < 1.5 * result["chance"] for result in results):
        lines.append(
            "No network has learned yet (recall near chance): equal recalls say little here. Take more --epochs."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    guarded(main)
