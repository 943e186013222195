"""What a training step costs on a GPU: one by one, recorded, and with several runs side by side.

    python benchmarks/gpu.py --data cifar10 --json gpu.json

Every way of making steps trains the same spec on the same images, one after another in turns; a step's time is an
epoch's time, device synchronized, by its steps. It runs on a CPU, too, where nothing is recorded.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import attrs
import click
from _data import shelf
from _harness import Spread, describe, environment, guarded, options, turns, write_json
from tabulate import tabulate

from zoo.data import Dataset
from zoo.execution.streams import own_stream
from zoo.registry import default_registry
from zoo.spec.length import Length
from zoo.spec.resolve import resolve
from zoo.train.engines.captured import CHAIN, CapturedTraining
from zoo.train.engines.compiled import CompiledTraining
from zoo.train.execute import dataset
from zoo.train.machine import choose_device, make_deterministic
from zoo.train.precision import Precision, arithmetic, set_policy
from zoo.train.training import Training

CHAINS = (1, 8, 16)
AT_ONCE = (1, 2, 4, 8, 16)
WARM_UP_EPOCHS = 5
"""An incomplete last batch is recorded in the fourth."""


@click.command()
@options(epochs=2, seeds=3)
@click.option("--spec", "name", default="eq2425/default", show_default=True, help="What is trained.")
@click.option(
    "--precision",
    "wanted",
    multiple=True,
    type=click.Choice(get_args(Precision)),
    help="In which precisions, fp16 step by step only.  [default: fp32, bf16, and on a GPU tf32]",
)
@click.option("--compiled", is_flag=True, help="Let a compiled network take part, which takes minutes to compile.")
@click.option("--most", default=max(AT_ONCE), show_default=True, type=click.IntRange(min=1), help="Most runs at once.")
def main(
    epochs: int,
    seeds: int,
    data: str,
    images: int | None,
    device: str,
    json_path: Path | None,
    name: str,
    wanted: tuple[Precision, ...],
    compiled: bool,
    most: int,
) -> None:
    """Measure microseconds per training step: by engine, chain and precision, and for several runs at once."""
    device = choose_device(device)
    surroundings = environment(device)
    registry = default_registry()
    make_deterministic(device)
    here: tuple[Precision, ...] = ("fp32", "tf32", "bf16") if device.startswith("cuda") else ("fp32", "bf16")
    precisions = wanted or here
    with shelf(registry) as limited:
        spec = resolve(name, registry=registry)
        spec = attrs.evolve(spec, data=attrs.evolve(spec.data, dataset=limited.first(data, images, images)))
        spec = attrs.evolve(spec, training=attrs.evolve(spec.training, epochs=WARM_UP_EPOCHS + epochs * seeds))
        on: Dataset = dataset(spec, registry, device)
        steps = Length.of(spec.training, len(on.train)).steps_per_epoch

        def made(kind: Callable[..., Training], precision: Precision, seed: int = 0) -> Training:
            return kind(spec, seed, on, device=device, registry=registry, precision=precision)

        click.echo(describe(surroundings))
        click.echo(f"{name}, batches of {spec.training.batch_size}, {steps} steps in an epoch\n")
        ways: dict[str, Callable[..., Training]] = {"step by step": Training}
        ways |= {f"recorded, {chain} at once": partial(CapturedTraining, chain=chain) for chain in CHAINS}
        ways |= {"compiled": CompiledTraining} if compiled else {}
        rows: list[dict[str, Any]] = []
        for precision in precisions:
            _arrange(device, precision)
            possible = {
                way: kind for way, kind in ways.items() if _is_recorded(precision) or not way.startswith("recorded")
            }
            trainings = {way: made(kind, precision) for way, kind in possible.items()}
            found = _alone(trainings, epochs, seeds, steps)
            for way, spread in found.items():
                faster = found["step by step"].over(spread)
                rows.append(
                    {"precision": precision, "way": way, "microseconds": spread.values, "faster": faster.values}
                )
                click.echo(f"{precision:5} {way:22} {spread.text():>26} us a step, {faster.ratio_text()} times as fast")
        click.echo()
        together: list[dict[str, Any]] = []
        for precision in filter(_is_recorded, precisions):
            _arrange(device, precision)
            for count in (count for count in AT_ONCE if count <= most):
                many = [partial(made, CapturedTraining, precision, seed) for seed in range(count)]
                spread = Spread(tuple(_side_by_side(many, device, precision, epochs, steps) for _ in range(seeds)))
                together.append({"precision": precision, "runs": count, "microseconds": spread.values})
    table = [[row["precision"], row["runs"], Spread(tuple(row["microseconds"])).text()] for row in together]
    click.echo(tabulate(table, ["precision", "runs at once", "us a step, all runs' steps counted"]))
    write_json(
        json_path,
        surroundings,
        {"spec": name, "batch": spec.training.batch_size, "steps": steps, "chain": CHAIN, "alone": rows,
         "together": together},
    )  # fmt: skip


def _arrange(device: str, precision: Precision) -> None:
    make_deterministic(device)
    set_policy(precision)


def _is_recorded(precision: Precision) -> bool:
    """Whether steps can be recorded, which in fp16 look at their gradients."""
    return arithmetic(precision) != "fp16"


def _alone(trainings: dict[str, Training], epochs: int, rounds: int, steps: int) -> dict[str, Spread]:
    """Return microseconds per step of each training, in turns."""
    for training in trainings.values():
        for epoch in range(1, WARM_UP_EPOCHS + 1):
            training.train_epoch(epoch)
    found: dict[str, list[float]] = {way: [] for way in trainings}
    for index, way in turns(list(trainings), rounds):
        start = time.perf_counter()
        for epoch in range(epochs):
            trainings[way].train_epoch(WARM_UP_EPOCHS + index * epochs + epoch + 1)
        found[way].append((time.perf_counter() - start) / (epochs * steps) * 1e6)
    return {way: Spread(tuple(values)) for way, values in found.items()}


def _side_by_side(
    many: list[Callable[[], Training]], device: str, precision: Precision, epochs: int, steps: int
) -> float:
    """Return microseconds per step, all runs' steps counted, with each run in a thread and on a stream of its own."""
    started: list[float] = []
    ready = threading.Barrier(len(many), action=lambda: started.append(time.perf_counter()))
    failed: list[BaseException] = []

    def train(make: Callable[[], Training]) -> None:
        try:
            _arrange(device, precision)
            with own_stream(device, deque()):
                training = make()
                for epoch in range(1, WARM_UP_EPOCHS + 1):
                    training.train_epoch(epoch)
                ready.wait()
                for epoch in range(epochs):
                    training.train_epoch(WARM_UP_EPOCHS + epoch + 1)
        except BaseException as error:
            failed.append(error)
            ready.abort()

    threads = [threading.Thread(target=train, args=(make,), daemon=True) for make in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise next((error for error in failed if not isinstance(error, threading.BrokenBarrierError)), failed[0])
    return (time.perf_counter() - started[0]) / (epochs * steps * len(many)) * 1e6


if __name__ == "__main__":
    guarded(main)
