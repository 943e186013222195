"""Kills processes that train every variant of a kind: `variant_killer.py KIND FOLDER KILLS SEED`.

A checkpoint is saved after every epoch. Prints as JSON how many were killed, how many of them while a run was under way
that is gone on with, and which figures differ from those of no kill. Processes are forked from one that has planned the
runs, so that a kill costs what is trained.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from contextlib import redirect_stderr, suppress
from pathlib import Path

import torch
from ledger.ledger_killer import fork, kill

from zoo.benchmark import Plan
from zoo.errors import ZooError
from zoo.lab.lab import Lab
from zoo.ledger import Ledger
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec.changes import overridden
from zoo.spec.resolve import resolve

BASES = {"architecture": "small/resnet"}
BASE = "starter/default"
LARGE = "torchvision's"
"""The first word about networks of which a step takes seconds."""
EPOCHS = 5
Figures = dict[str, list[object]]


def trained(registry: Registry, kind: str) -> list[str]:
    """Return the variants of the kind that fit the digits with their own options."""
    base = resolve(BASES.get(kind, BASE), registry=registry)
    found = []
    for name in registry.variants(kind):
        if registry.variant(kind, name).description.startswith(LARGE):
            continue
        with suppress(ZooError):
            construct(overridden(base, {kind: name}, registry=registry), (1, 8, 8), 10, seed=0, registry=registry)
            found.append(name)
    return found


def figures(path: Path) -> Figures:
    """Return the losses and counts of all epochs of each run."""
    with Ledger(path) as ledger:
        runs = ledger.runs()
    return {run.name: [run.status, [(e.epoch, e.loss, e.evaluations) for e in run.epochs]] for run in runs}


def train(lab: Lab, plan: Plan, path: Path) -> None:
    lab.path = path
    with open(os.devnull, "w") as nothing, redirect_stderr(nothing), lab.open_ledger() as ledger:
        lab.train_planned(plan, ledger)


def main(kind: str, folder: Path, kills: int, seed: int) -> None:
    os.environ["ZOO_CHECKPOINT_EVERY"] = "0"
    torch.set_num_threads(1)  # others would be gone after a fork
    moments = random.Random(f"{kind} {seed}")
    lab = Lab(ledger=folder / "none.sqlite", device="cpu", jobs=1, executor="here", project=None, say=lambda line: None)
    names = trained(lab.registry, kind)
    plan = lab.plan(BASES.get(kind, BASE), vary={kind: names}, epochs=EPOCHS, seeds=1, sets={"data.limit": 300})
    start = time.monotonic()
    os.waitpid(fork(lambda: train(lab, plan, folder / "whole.sqlite")), 0)
    pause = (time.monotonic() - start) / max(1, len(names))
    whole = figures(folder / "whole.sqlite")
    counts = {"variants": len(names), "killed": 0, "amid": 0, "rounds": 0}
    different: list[str] = [f"{name} {found[0]}" for name, found in whole.items() if found[0] == "failed"]
    different += [f"{kind}: {len(whole)} of {len(names)} runs"] * (len(whole) != len(names))
    while counts["killed"] < kills:
        counts["rounds"] += 1
        path = folder / f"{counts['rounds']}.sqlite"
        was_killed = True
        while was_killed:
            child = fork(lambda path=path: train(lab, plan, path))
            time.sleep(moments.uniform(0.2, 2.0) * pause)
            saved = list(Path(f"{path}-checkpoints").glob("*.safetensors"))
            was_killed = kill(child)
            counts["killed"] += was_killed
            counts["amid"] += was_killed and bool(saved)
            if counts["killed"] >= kills and was_killed:
                os.waitpid(fork(lambda path=path: train(lab, plan, path)), 0)
                was_killed = False
        found = figures(path)
        different += [name for name in whole | found if whole.get(name) != found.get(name)]
    print(json.dumps({**counts, "different": different}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
