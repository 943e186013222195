"""Time of the whole study: its ten configurations, by `zoo benchmark`, scaled to the 300 epochs that it took.

    python benchmarks/study.py --data folder:PATH --seeds 5 --epochs 3 --json study.json

Figures come from the records in the ledger; the command's wall clock includes starting Python, planning and printing.
"""

from __future__ import annotations

import subprocess
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from _data import shelf
from _harness import describe, environment, guarded, options, write_json
from tabulate import tabulate

from zoo.data import load
from zoo.errors import ZooError
from zoo.execution.processes import available_cores
from zoo.ledger import Ledger
from zoo.registry import default_registry
from zoo.train.machine import choose_device
from zoo.train.run import Run

CONFIGURATIONS = [
    f"eq2425/{code}" for code in ("default", "4a1", "4a2", "4b", "4c", "4d", "4e", "5a", "5b", "5c")
]  # fmt: skip
STUDY_EPOCHS = 300
STUDY_HOURS = 28
"""What its authors needed for one seed of each, about."""
SIDE = 32
H200_FP32_TFLOPS = 67.0


@click.command()
@options(epochs=1, seeds=1)
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Runs at once on a CPU.  [default: one for each core; 1 on a GPU]"
)
@click.option(
    "--peak",
    type=click.FloatRange(min=0, min_open=True),
    metavar="TFLOPS",
    help=f"What the device can do at most, in TFLOP/s, for the limit.  [default: {H200_FP32_TFLOPS:g} on a GPU, which "
    "an H200 does in fp32; none on a CPU]",
)
def main(
    epochs: int,
    seeds: int,
    data: str,
    images: int | None,
    device: str,
    json_path: Path | None,
    jobs: int | None,
    peak: float | None,
) -> None:
    """Time the ten configurations of the study with `zoo benchmark`, and scale to its 300 epochs."""
    device = choose_device(device)
    surroundings = environment(device)
    jobs = (jobs or available_cores()) if device == "cpu" else 1
    peak = peak or (H200_FP32_TFLOPS if device.startswith("cuda") else None)
    registry = default_registry()
    with shelf(registry) as limited:
        chosen = limited.first(data, images, images, side=SIDE)
        training_images = len(load(chosen, registry).train)
        seconds, runs = benchmark(chosen, epochs=epochs, seeds=seeds, device=device, jobs=jobs)
    rows = [row([run for run in runs if run.name == name], training_images, peak) for name in CONFIGURATIONS]
    whole = totals(runs, seconds, jobs)
    settings = {
        "data": data,
        "train_images": training_images,
        "epochs": epochs,
        "seeds": seeds,
        "jobs": jobs,
        "peak_tflops": peak,
    }
    click.echo(report(surroundings, settings, rows, whole))
    write_json(json_path, surroundings, {"settings": settings, "whole": whole, "configurations": rows})


def benchmark(data: str, *, epochs: int, seeds: int, device: str, jobs: int) -> tuple[float, list[Run]]:
    """Carry out `zoo benchmark` with a new ledger; return its wall clock in seconds, and the runs.

    Raises:
        ZooError: the command failed, or a run is missing.
    """
    with TemporaryDirectory(prefix="zoo-benchmark-") as folder:
        ledger = Path(folder) / "zoo.sqlite"
        command = [
            str(Path(sysconfig.get_path("scripts")) / "zoo"), "benchmark", *CONFIGURATIONS, "--yes",
            "--data", data, "--epochs", str(epochs), "--seeds", str(seeds),
            "--device", device, "--jobs", str(jobs), "--ledger", str(ledger),
        ]  # fmt: skip
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - start
        click.echo(done.stdout)
        if done.returncode:
            raise ZooError(f"zoo benchmark ended with exit code {done.returncode}; what it said stands above")
        with Ledger(ledger, create=False) as opened:
            runs = opened.runs()
    if len(runs) != len(CONFIGURATIONS) * seeds:
        raise ZooError(f"{len(CONFIGURATIONS) * seeds} runs were asked for, and the ledger holds {len(runs)}")
    return seconds, runs


def row(runs: Sequence[Run], training_images: int, peak: float | None) -> dict[str, Any]:
    """Return what one configuration took; a run that diverged counts with the epochs that it trained."""
    epochs = sum(len(run.epochs) for run in runs)
    if not epochs:
        raise ZooError(f"{runs[0].name}: no epoch was trained: {runs[0].status}: {runs[0].reason}")
    training = sum(run.seconds_training for run in runs) / epochs
    evaluation = sum(run.seconds_evaluation for run in runs) / epochs
    setup = sum(run.seconds_setup for run in runs) / len(runs)
    # A backward pass is counted as two forward passes.
    flop = 3 * runs[0].flops * training_images
    return {
        "configuration": runs[0].name,
        "runs": len(runs),
        "unfinished": sum(run.status != "finished" for run in runs),
        "seconds_training_per_epoch": training,
        "seconds_evaluation_per_epoch": evaluation,
        "seconds_setup": setup,
        "tflops": flop / training / 1e12,
        "study_seconds": setup + STUDY_EPOCHS * (training + evaluation),
        "study_seconds_training": STUDY_EPOCHS * training,
        "limit_seconds_training": None if peak is None else STUDY_EPOCHS * flop / (peak * 1e12),
    }


def totals(runs: Sequence[Run], seconds: float, jobs: int) -> dict[str, Any]:
    """Return where the command's time went, as shares of its wall clock times the runs at once."""
    capacity = seconds * jobs
    training = sum(run.seconds_training for run in runs)
    evaluation = sum(run.seconds_evaluation for run in runs)
    setup = sum(run.seconds_setup for run in runs)
    epochs = max(len(run.epochs) for run in runs)
    # What does not grow with epochs: start-up, planning, set-up, and cores that wait at the end.
    fixed = seconds - (training + evaluation) / jobs
    return {
        "seconds": seconds,
        "share_training": training / capacity,
        "share_evaluation": evaluation / capacity,
        "share_setup": setup / capacity,
        "share_rest": 1 - (training + evaluation + setup) / capacity,
        "study_seconds": fixed + (training + evaluation) / jobs * STUDY_EPOCHS / epochs,
    }


def report(
    surroundings: Mapping[str, Any],
    settings: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    whole: Mapping[str, Any],
) -> str:
    """Return the table and the totals."""
    table = []
    for result in rows:
        limit = result["limit_seconds_training"]
        table.append(
            {
                "configuration": result["configuration"],
                "runs": result["runs"],
                "training, s/epoch": f"{result['seconds_training_per_epoch']:.3g}",
                "evaluation, s/epoch": f"{result['seconds_evaluation_per_epoch']:.3g}",
                "set-up, s": f"{result['seconds_setup']:.3g}",
                "TFLOP/s": f"{result['tflops']:.3g}",
                f"{STUDY_EPOCHS} epochs": _duration(result["study_seconds"]),
                "limit, training": "not known" if limit is None else _duration(limit),
                "times limit": "" if limit is None else f"{result['study_seconds_training'] / limit:.1f}",
            }
        )
    runs, unfinished = (sum(result[count] for result in rows) for count in ("runs", "unfinished"))
    shares = ", ".join(
        f"{share} {100 * whole[f'share_{share}']:.1f}%" for share in ("training", "evaluation", "setup", "rest")
    )
    lines = [
        describe(surroundings),
        f"{settings['data']}: {settings['train_images']} training images; epochs: {settings['epochs']}; "
        f"seeds: {settings['seeds']}; runs at once: {settings['jobs']}; one measurement of the whole command",
        "",
        tabulate(table, headers="keys", tablefmt="github"),
        "",
        f"The whole command took {_duration(whole['seconds'])}: {shares}. "
        "The rest is starting Python, planning, starting workers, the ledger, and cores that wait for the last runs.",
        f"Scaled to {STUDY_EPOCHS} epochs: {_duration(whole['study_seconds'])} for {runs} runs. "
        f"The study's authors needed about {STUDY_HOURS} hours for one seed of each, on K80 and P100.",
        "TFLOP/s: 3 x FLOPs of a forward pass x images / seconds of training. "
        + (
            f"The limit is those FLOPs at the device's peak of {settings['peak_tflops']:g} TFLOP/s, for training alone."
            if settings["peak_tflops"]
            else "No limit is known for this device; state its peak with --peak."
        ),
    ]
    if unfinished:
        lines.append(f"{unfinished} runs diverged or failed; they count with the epochs that they trained.")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    guarded(main)
