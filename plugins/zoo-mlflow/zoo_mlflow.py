"""Watches runs for MLflow: parameters, metrics, the data set, the spec and confusion matrices of each run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

import zoo

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
DEFAULT_EXPERIMENT = "zoo"


@attrs.define
class _Watched:
    """A run under way, MLflow's name of it, and its last epoch's record."""

    client: MlflowClient
    run_id: str
    last: zoo.EpochRecord | None = None


_watched: dict[zoo.RunKey, _Watched] = {}


@zoo.hookimpl
def zoo_run_started(run: zoo.Run) -> None:
    """Begin a run of MLflow with the spec's values, the data set and the run's key."""
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param
    from mlflow.utils.validation import MAX_DATASET_DIGEST_SIZE, MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH

    lost = _watched.pop(run.key, None)  # its process is gone, and it begins anew
    if lost is not None:
        lost.client.set_terminated(lost.run_id, "KILLED")
    client = MlflowClient()
    tags = {f"zoo.{name}": str(value) for name, value in attrs.asdict(run.key).items()}
    tags |= {"mlflow.source.type": "LOCAL", "mlflow.note.content": str(run.spec.get("description", ""))}
    run_id = client.create_run(_experiment(client), tags=tags, run_name=f"{run.name} seed {run.key.seed}").info.run_id
    _watched[run.key] = _Watched(client, run_id)
    values = {"spec": run.name, "seed": run.key.seed, **dict(_leaves(run.spec))}
    params = [Param(name, str(value)[:MAX_PARAM_VAL_LENGTH]) for name, value in values.items()]
    for start in range(0, len(params), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, params=params[start : start + MAX_PARAMS_TAGS_PER_BATCH])
    dataset = Dataset(
        name=run.dataset, digest=run.key.dataset[:MAX_DATASET_DIGEST_SIZE], source_type="zoo", source=run.dataset
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    client.log_dict(run_id, dict(run.spec), "spec.json")


@zoo.hookimpl
def zoo_epoch_finished(run: zoo.Run, epoch: zoo.EpochRecord) -> None:
    """Log the epoch's figures."""
    watched = _watched.get(run.key)
    if watched is None:  # MLflow could not be reached, which was reported
        return
    watched.last = epoch
    _log(watched, figures(epoch), step=epoch.epoch)


@zoo.hookimpl
def zoo_run_finished(run: zoo.Run) -> None:
    """Log what is known at the end, and how the run ended."""
    from mlflow.entities import RunTag

    watched = _watched.pop(run.key, None)
    if watched is None:
        return
    about = {**{f"zoo.{name}": value for name, value in run.provenance.items()}, "zoo.status": run.status}
    about |= {"zoo.reason": run.reason, "mlflow.source.name": run.provenance.get("command", "")}
    tags = [RunTag(name, str(value)) for name, value in about.items() if value]
    watched.client.log_batch(watched.run_id, tags=tags)
    known = {"parameters": run.parameters, "flops": run.flops, "seconds/setup": run.seconds_setup}
    epoch = watched.last.epoch if watched.last else 0
    _log(watched, known, step=epoch)
    for part, evaluation in (watched.last.evaluations if watched.last else {}).items():
        watched.client.log_table(watched.run_id, _table(evaluation.confusion), f"confusion/{part}.json")
    watched.client.set_terminated(watched.run_id, "FAILED" if run.status == "failed" else "FINISHED")


@zoo.hookimpl
def zoo_write_runs(runs: list[zoo.Run], to: str, place: str) -> str | None:
    """Log stored runs to the tracking URI `place` as if they were watched, but for those that it has already."""
    if to != "mlflow":
        return None
    import mlflow

    if place:
        mlflow.set_tracking_uri(place)
    client = mlflow.MlflowClient()
    new = [run for run in runs if not _is_there(client, run)]
    for run in new:
        zoo_run_started(run)
        for epoch in run.epochs:
            zoo_epoch_finished(run, epoch)
        zoo_run_finished(run)
    there = len(runs) - len(new)
    return f"MLflow: {_counted(len(new))} written to {mlflow.get_tracking_uri()}; {there} {_were(there)} there already."


def figures(epoch: zoo.EpochRecord) -> dict[str, float]:
    """Return the figures of an epoch by name, such as "recall/test": shares from 0 to 1, seconds, and the loss."""
    from zoo.train.metrics import accuracy, macro_recall

    found = {"loss/train": epoch.loss, "seconds/training": epoch.seconds_training}
    for part, evaluation in epoch.evaluations.items():
        found[f"recall/{part}"] = macro_recall(evaluation.confusion)
        found[f"accuracy/{part}"] = accuracy(evaluation.confusion)
    if epoch.evaluations:
        found["seconds/evaluation"] = epoch.seconds_evaluation
    return found


def _counted(runs: int) -> str:
    return f"{runs} run{'' if runs == 1 else 's'}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _is_there(client: MlflowClient, run: zoo.Run) -> bool:
    """Whether a run of the same key has come to the same end."""
    wanted = {"status": run.status, **{name: str(value) for name, value in attrs.asdict(run.key).items()}}
    query = " and ".join(f"tags.`zoo.{name}` = '{value}'" for name, value in wanted.items())
    return bool(client.search_runs([_experiment(client)], query, max_results=1))


def _experiment(client: MlflowClient) -> str:
    name = os.environ.get(EXPERIMENT_VARIABLE) or DEFAULT_EXPERIMENT
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def _log(watched: _Watched, metrics: Mapping[str, float], step: int) -> None:
    from mlflow.entities import Metric

    now = round(1000 * time.time())
    watched.client.log_batch(watched.run_id, metrics=[Metric(k, float(v), now, step) for k, v in metrics.items()])


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


def _table(confusion: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    """Return a confusion matrix as the columns of a table: a row for each true class."""
    predicted = {f"predicted {index}": list(counts) for index, counts in enumerate(zip(*confusion, strict=True))}
    return {"true class": list(range(len(confusion))), **predicted}
