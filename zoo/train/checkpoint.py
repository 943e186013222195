"""Checkpoints: a long run that was killed goes on from its last saved epoch, with the same figures as undisturbed.

A file holds the network, the optimizer's state and the records of the epochs so far. Random streams begin anew with
each epoch, so that their positions need no saving.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.train.machine import provenance
from zoo.train.run import EpochRecord, Evaluation
from zoo.train.training import Training

_NETWORK, _OPTIMIZER = "network.", "optimizer."


def save(file: Path, training: Training, records: Sequence[EpochRecord]) -> None:
    """Store the state after the last of the records, in place of what the file held.

    Raises:
        OSError: the file cannot be written; what it held before is kept.
    """
    tensors = {_NETWORK + name: tensor for name, tensor in training.network.state_dict().items()}
    plain: dict[str, Any] = {}
    for parameter, state in training.optimizer.state_dict()["state"].items():
        for name, value in state.items():
            place = f"{_OPTIMIZER}{parameter}.{name}"
            (tensors if isinstance(value, Tensor) else plain)[place] = value
    metadata = {
        "records": json.dumps([attrs.asdict(record) for record in records]),
        "optimizer": json.dumps(plain),
        **_where(training),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}.new")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, new, metadata)
        os.replace(new, file)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        with suppress(OSError):
            new.unlink()


def restore(file: Path, training: Training) -> list[EpochRecord]:
    """Bring a new training to the saved state, and return the records of the epochs that it has behind it.

    There are none where there is no checkpoint, or one that is damaged, or of another version of torch or type of
    device: the run then begins at its beginning.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        if any(metadata[name] != value for name, value in _where(training).items()):
            return []
        records = [_record(record) for record in json.loads(metadata["records"])]
        state: dict[int, dict[str, Any]] = {}
        for place, value in [*tensors.items(), *json.loads(metadata["optimizer"]).items()]:
            if place.startswith(_OPTIMIZER):
                parameter, name = place.removeprefix(_OPTIMIZER).split(".", 1)
                state.setdefault(int(parameter), {})[name] = value
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return []
    network = {name.removeprefix(_NETWORK): value for name, value in tensors.items() if name.startswith(_NETWORK)}
    training.network.load_state_dict(network)
    groups = training.optimizer.state_dict()["param_groups"]
    training.optimizer.load_state_dict({"state": state, "param_groups": groups})
    return records


def _where(training: Training) -> dict[str, str]:
    """Return what figures depend on that a run's key does not hold."""
    return {"torch": torch.__version__, "device": provenance(str(training.device))["device_name"]}


def _record(record: dict[str, Any]) -> EpochRecord:
    evaluations = {
        part: Evaluation(tuple(map(tuple, evaluation["confusion"])), evaluation["batch_recall"])
        for part, evaluation in record.pop("evaluations").items()
    }
    return EpochRecord(**record, evaluations=evaluations)
