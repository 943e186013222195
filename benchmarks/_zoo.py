"""zoo as a contestant: all that `zoo benchmark` does but starting Python and printing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from zoo.benchmark import Plan, carry_out
from zoo.errors import ZooError
from zoo.lab.lab import Lab
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.spec.paths import NoChangeError, apply
from zoo.train.run import Precision, Run


def train(
    specs: Sequence[Spec],
    seeds: Sequence[int],
    *,
    registry: Registry,
    device: str,
    jobs: int = 1,
    precision: Precision = "fp32",
) -> list[Run]:
    """Plan and train every spec with every seed, and store the runs in a new ledger; return them as it holds them.

    Raises:
        ZooError: a run did not finish.
    """
    with TemporaryDirectory(prefix="zoo-benchmark-") as folder:
        lab = Lab(Path(folder) / "zoo.sqlite", registry=registry, device=device, precision=precision, jobs=jobs)
        with lab.open_ledger() as ledger:
            runs = carry_out_quietly(lab, lab.plan_runs(specs, seeds, ledger), ledger)
    for run in runs:
        if run.status != "finished":
            raise ZooError(f"{run.name}, seed {run.key.seed}, {run.status}: {run.reason}")
    return runs


def carry_out_quietly(lab: Lab, plan: Plan, ledger: Ledger) -> list[Run]:
    """Train what a plan says is missing, without a display of progress."""
    return carry_out(
        plan,
        registry=lab.registry,
        devices=lab.devices,
        ledger=ledger,
        executor=lab.executor_for(plan),
        watch=lambda event: None,
        say=click.echo,
    )


def changed(spec: Spec, registry: Registry, **sets: object) -> Spec:
    """Return the spec with values set, `__` in a name standing for a dot; one that it has already is left."""
    for name, value in sets.items():
        try:
            spec = apply(spec, {name.replace("__", "."): value}, registry)
        except NoChangeError:
            continue
    return spec
