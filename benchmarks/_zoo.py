"""zoo as a contestant: all that `zoo benchmark` does but starting Python and printing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from zoo.benchmark import carry_out, make_plan
from zoo.errors import ZooError
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
    with TemporaryDirectory(prefix="zoo-benchmark-") as folder, Ledger(Path(folder) / "zoo.sqlite") as ledger:
        plan = make_plan(specs, seeds, registry=registry, device=device, ledger=ledger, jobs=jobs, precision=precision)
        runs = carry_out(
            plan, registry=registry, device=device, ledger=ledger, watch=lambda event: None, say=click.echo
        )
    for run in runs:
        if run.status != "finished":
            raise ZooError(f"{run.name}, seed {run.key.seed}, {run.status}: {run.reason}")
    return runs


def changed(spec: Spec, registry: Registry, **sets: object) -> Spec:
    """Return the spec with values set, `__` in a name standing for a dot; one that it has already is left."""
    for name, value in sets.items():
        try:
            spec = apply(spec, {name.replace("__", "."): value}, registry)
        except NoChangeError:
            continue
    return spec
