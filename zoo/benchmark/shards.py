"""A stable share of a plan, for several machines that do not know of each other."""

from __future__ import annotations

import hashlib

import attrs

from zoo.benchmark.plan import Plan
from zoo.errors import DataError, ZooError
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec import canonical_json, structure
from zoo.spec.length import Length
from zoo.train.execute import dataset
from zoo.train.run import Run, RunKey


def share(plan: Plan, number: int, count: int, *, registry: Registry, device: str) -> Plan:
    """Return the plan of one of `count` shares of the runs, which together are all of them, each once.

    What a share consists of depends on the runs that are asked for alone: not on a machine's speed, nor on what its
    ledger holds. Shares are balanced by the floating-point operations of training.

    Args:
        plan: of all runs.
        number: which share, from 1.
        count: how many there are.
        registry: where variants are looked up.
        device: where data sets are.

    Raises:
        ZooError: there is no such share, or a data set is not at hand.
    """
    if not 1 <= number <= count:
        raise ZooError(f"shard {number}/{count}: there are shards 1/{count} to {count}/{count}")
    if plan.waiting:
        # Without them, the rest would be divided otherwise than where they are.
        raise DataError(
            f"a shard is of all runs that are asked for, and there is no data set {', '.join(plan.waiting)} here: get "
            "it on every machine (`zoo data get`), or name the specs that are to be trained"
        )
    work: dict[str, int] = {}
    for run in plan.runs:
        if run.key.spec not in work:
            work[run.key.spec] = _operations(run, registry, device)
    # By falling work, each to the share that has least: at most 4/3 of the best division (Graham, 1969, Bounds on
    # multiprocessing timing anomalies).
    keys = sorted({run.key for run in plan.runs}, key=lambda key: (-work[key.spec], _digest(key)))
    loads = [0] * min(count, len(keys))  # what is beyond gets none
    mine: set[RunKey] = set()
    for key in keys:
        least = loads.index(min(loads))
        loads[least] += work[key.spec]
        if least == number - 1:
            mine.add(key)
    there = "is 1 run" if len(keys) == 1 else f"are {len(keys)} runs"
    empty = f"Share {number} of {count} is empty: there {there} to share out."
    return attrs.evolve(
        plan,
        runs=tuple(run for run in plan.runs if run.key in mine),
        missing=tuple(run for run in plan.missing if run.key in mine),
        remarks=plan.remarks if mine else (*plan.remarks, empty),
    )


def _operations(run: Run, registry: Registry, device: str) -> int:
    """Return what training takes, in floating-point operations of forward passes; at least 1."""
    spec = structure(run.spec, run.name, registry)
    data = dataset(spec, registry, device)
    built = construct(spec, data.shape, len(data.classes), seed=0, registry=registry)
    return max(1, built.flops * Length.of(spec.training, len(data.train)).images_in_all)


def _digest(key: RunKey) -> str:
    return hashlib.sha256(canonical_json(attrs.asdict(key)).encode()).hexdigest()
