"""Watches runs for TensorBoard: a folder for each run, with curves, a row of the HParams table, and texts."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

import zoo

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOGDIR_VARIABLE = "ZOO_TENSORBOARD_LOGDIR"
DEFAULT_LOGDIR = "runs"
"""Where torch's own writer writes to as well."""


@attrs.define
class _Watched:
    """A run under way, and its last epoch's record."""

    writer: SummaryWriter
    last: zoo.EpochRecord | None = None


_watched: dict[zoo.RunKey, _Watched] = {}


@zoo.hookimpl
def zoo_run_started(run: zoo.Run) -> None:
    """Open the run's folder and write its spec."""
    from torch.utils.tensorboard import SummaryWriter

    _close(run.key)  # a run whose process was lost begins anew
    writer = SummaryWriter(str(folder(run)))
    _watched[run.key] = _Watched(writer)
    writer.add_text("spec", _code(json.dumps(run.spec, indent=2)))
    writer.flush()


@zoo.hookimpl
def zoo_epoch_finished(run: zoo.Run, epoch: zoo.EpochRecord) -> None:
    """Write the epoch's figures."""
    watched = _watched.get(run.key)
    if watched is None:  # its folder could not be opened, which was reported
        return
    watched.last = epoch
    for tag, value in figures(epoch).items():
        watched.writer.add_scalar(tag, value, epoch.epoch)
    watched.writer.flush()


@zoo.hookimpl
def zoo_run_finished(run: zoo.Run) -> None:
    """Write how the run ended, and its row of the HParams table."""
    watched = _watched.get(run.key)
    if watched is None:
        return
    watched.writer.add_text("status", f"{run.status}: {run.reason}" if run.reason else run.status)
    if watched.last is not None:
        for part, evaluation in watched.last.evaluations.items():
            watched.writer.add_text(f"confusion/{part}", _table(evaluation.confusion), watched.last.epoch)
        _add_row(watched.writer, run, figures(watched.last))
    _close(run.key)


@zoo.hookimpl
def zoo_write_runs(runs: list[zoo.Run], to: str, place: str) -> str | None:
    """Write stored runs to the folder `place` as if they were watched; those that are there already are left alone."""
    if to != "tensorboard":
        return None
    before = os.environ.get(LOGDIR_VARIABLE)
    os.environ[LOGDIR_VARIABLE] = place = place or before or DEFAULT_LOGDIR
    try:
        new = [run for run in runs if not folder(run).exists()]
        for run in new:
            zoo_run_started(run)
            for epoch in run.epochs:
                zoo_epoch_finished(run, epoch)
            zoo_run_finished(run)
    finally:
        if before is None:
            del os.environ[LOGDIR_VARIABLE]
        else:
            os.environ[LOGDIR_VARIABLE] = before
    there = len(runs) - len(new)
    written = f"{len(new)} run{'' if len(new) == 1 else 's'} written to {place}"
    return f"TensorBoard: {written}; {there} {'was' if there == 1 else 'were'} there already."


def folder(run: zoo.Run) -> Path:
    """Return the folder of a run: the same for the same run, and another for any other."""
    name = re.sub(r'[<>:"|?*\\\s]+', "_", run.name)
    digest = hashlib.sha256(json.dumps(attrs.asdict(run.key), sort_keys=True).encode()).hexdigest()
    return Path(os.environ.get(LOGDIR_VARIABLE) or DEFAULT_LOGDIR, name, f"seed-{run.key.seed}-{digest[:8]}")


def figures(epoch: zoo.EpochRecord) -> dict[str, float]:
    """Return an epoch's figures by their tags, such as "recall/test": shares from 0 to 1, seconds, and the loss."""
    from zoo.train.metrics import accuracy, macro_recall

    found = {"loss/train": epoch.loss, "seconds/training": epoch.seconds_training}
    for part, evaluation in epoch.evaluations.items():
        found[f"recall/{part}"] = macro_recall(evaluation.confusion)
        found[f"accuracy/{part}"] = accuracy(evaluation.confusion)
    if epoch.evaluations:
        found["seconds/evaluation"] = epoch.seconds_evaluation
    return found


def _close(key: zoo.RunKey) -> None:
    watched = _watched.pop(key, None)
    if watched is not None:
        watched.writer.close()


def _add_row(writer: SummaryWriter, run: zoo.Run, last: Mapping[str, float]) -> None:
    """Write the run's row of the HParams table, whose figures are the last points of the curves."""
    from torch.utils.tensorboard.summary import hparams

    values = {**dict(_leaves(run.spec)), "seed": run.key.seed, "dataset": run.dataset, "precision": run.key.precision}
    # Not `add_hparams`, which would write the last points a second time, into a folder of their own.
    for summary in hparams(values, dict(last)):  # type: ignore[no-untyped-call]
        writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]


def _leaves(tree: object, path: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    """Yield the values of a spec by their paths, as `zoo benchmark --set` writes them."""
    if isinstance(tree, bool | int | float | str):
        yield path, tree
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _leaves(value, f"{path}.{name}" if path else name)
    elif isinstance(tree, Sequence):
        for index, value in enumerate(tree):
            yield from _leaves(value, f"{path}.{index}")


def _code(text: str) -> str:
    """Return text as a block of code in Markdown, which TensorBoard reads."""
    return "".join(f"    {line}\n" for line in text.splitlines())


def _table(confusion: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix as a table in Markdown: a row for each true class."""
    classes = range(len(confusion))
    rows = [["true \\ predicted", *classes], ["---"] * (len(confusion) + 1)]
    rows += [[f"**{true}**", *counts] for true, counts in zip(classes, confusion, strict=True)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
