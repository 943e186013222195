"""Checkpoints: a long run that was killed goes on from its last saved epoch, with the same figures as undisturbed.

A file holds what has become of the training, see `zoo.train.state`, and the records of the epochs so far. Random
streams begin anew with each epoch, so that their positions need no saving.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo import __version__
from zoo.spec import canonical_json
from zoo.train.machine import provenance
from zoo.train.run import EpochRecord, Evaluation
from zoo.train.state import State, memory, put_back, taken
from zoo.train.training import Training

_DIGEST = "digest"


class HalfRestoredError(Exception):
    """A training is neither as it was built nor as it was saved: build it anew."""


def save(file: Path, training: Training, records: Sequence[EpochRecord]) -> None:
    """Store the state after the last of the records, in place of what the file held.

    Raises:
        UnsavableError: something has changed in training that could not be put back exactly.
        OSError: the file cannot be written.
        Exception: whatever else comes of a plugin's layer or optimizer. What the file held before is kept.
    """
    state = taken(training.network, training.optimizer, training.begun, training.beside)
    metadata = {
        "records": json.dumps([attrs.asdict(record) for record in records]),
        "epochs": str(len(records)),
        "state": json.dumps(state.plain),
        **_where(training),
    }
    metadata[_DIGEST] = _digest(state.tensors, metadata)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}.new")
    try:
        save_file(state.tensors, new, metadata)
        os.replace(new, file)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        with suppress(OSError):
            new.unlink()


def restore(file: Path, training: Training, epochs: int | None = None) -> list[EpochRecord]:
    """Bring a new training to the saved state, and return the records of the epochs that it has behind it.

    There are none, and the training is as it was, where there is no checkpoint, or one that is damaged, that does not
    fit, or that another version of zoo or torch or another type of device has written.

    Args:
        file: what was saved.
        training: it has made no step yet.
        epochs: how many epochs there must be; any number where it is not given.

    Raises:
        HalfRestoredError: a plugin's layer or optimizer raised when all had been found to fit.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        if not _fits(metadata, training, epochs) or metadata.pop(_DIGEST) != _digest(tensors, metadata):
            return []
        records = [_record(record) for record in json.loads(metadata["records"])]
        if [record.epoch for record in records] != list(range(1, int(metadata["epochs"]) + 1)):
            return []
        state = State(tensors, json.loads(metadata["state"]))
        put = put_back(training.network, training.optimizer, state, training.beside)
    except Exception:  # a file may hold anything
        return []
    try:
        put()
        training.restored(records)
    except Exception as error:
        raise HalfRestoredError from error
    return records


def usable(file: Path, training: Training, epochs: int) -> bool:
    """Whether a file says of itself that it is a state of so many epochs, for this training; cheap, and no promise."""
    try:
        with safe_open(file, framework="pt") as opened:
            return _fits(opened.metadata(), training, epochs)
    except Exception:  # a file may hold anything
        return False


def _fits(metadata: Mapping[str, str], training: Training, epochs: int | None) -> bool:
    behind = int(metadata["epochs"])
    return (
        behind <= training.length.epochs
        and epochs in (None, behind)
        and all(metadata[name] == value for name, value in _where(training).items())
    )


def _where(training: Training) -> dict[str, str]:
    """Return what figures depend on that a run's key does not hold."""
    return {"zoo": __version__, "torch": torch.__version__, "device": provenance(str(training.device))["device_name"]}


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(canonical_json(dict(metadata)).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(memory(tensor))
    return digest.hexdigest()


def _record(record: dict[str, Any]) -> EpochRecord:
    evaluations = {
        part: Evaluation(tuple(map(tuple, evaluation["confusion"])), evaluation["batch_recall"])
        for part, evaluation in record.pop("evaluations").items()
    }
    return EpochRecord(**record, evaluations=evaluations)
