"""The network of a run. The ledger holds no weights: a run is trained again, and must come out as it did."""

from __future__ import annotations

from collections.abc import Callable

from zoo.data import Dataset
from zoo.errors import PluginError, ZooError, option
from zoo.export.errors import ExportError
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.study.measure import kept_epoch
from zoo.train.engines.gate import one_line
from zoo.train.evaluating import DivergedError
from zoo.train.execute import in_order
from zoo.train.machine import choose_device, on_device, provenance
from zoo.train.precision import is_fast
from zoo.train.run import EpochRecord, Run
from zoo.train.training import Training

_TELLING = ("device_name", "torch", "zoo", "python", "platform", "engine")
"""What figures may depend on besides a run's key, as provenance names it."""


def device_of(run: Run) -> str:
    """Return the device that a run was trained on.

    Raises:
        ZooError: there is none here.
    """
    device = str(run.provenance.get("device", "cpu"))
    try:
        return choose_device(device)
    except ZooError:
        raise ZooError(
            f"{run.name} seed {run.key.seed} was trained on {device}, and there is none here: export it where there "
            "is one, or train it here and export that"
        ) from None


def train_again(
    run: Run,
    spec: Spec,
    data: Dataset,
    *,
    device: str,
    registry: Registry,
    watch: Callable[[], None] = lambda: None,
) -> Training:
    """Train a run of the ledger again, step by step, and return it with the network that came of it.

    Args:
        run: the run with its epochs.
        spec: its spec.
        data: what it was trained on, on the device.
        device: such as "cpu", "cuda:0" or "mps".
        registry: where variants are looked up.
        watch: is called after each epoch.

    Raises:
        ExportError: the kept epoch's confusion matrices are not those in the ledger.
        PluginError: a layer raised.
    """
    precision = run.key.precision
    records: list[EpochRecord] = []
    try:
        with on_device(device), in_order(device, precision):
            training = Training(spec, run.key.seed, data, device=device, registry=registry, precision=precision)
            for record in training.epochs(taken=[epoch.seconds_training for epoch in run.epochs]):
                records.append(record)
                watch()
    except DivergedError as error:
        raise ExportError(_otherwise(run, device, f"it {error}")) from None
    except (ZooError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise PluginError(f"{spec.name}: it cannot be trained: a layer raised {one_line(error)}") from error
    before = kept_epoch(run)
    assert before is not None
    now = records[before.epoch - 1] if before.epoch <= len(records) else records[-1]
    if any(now.evaluations[part].confusion != evaluation.confusion for part, evaluation in before.evaluations.items()):
        raise ExportError(_otherwise(run, device, _counted_otherwise(now, before)))
    training.conclude()
    return training


def _counted_otherwise(now: EpochRecord, before: EpochRecord) -> str:
    """Say how many predictions differ at least."""
    texts = []
    for part, evaluation in before.evaluations.items():
        pairs = zip(evaluation.confusion, now.evaluations[part].confusion, strict=True)
        moved = sum(abs(a - b) for old, new in pairs for a, b in zip(old, new, strict=True)) // 2
        images = sum(map(sum, evaluation.confusion))
        texts.append(f"at least {moved} of {images} {part} images are predicted otherwise")
    return "; ".join(texts)


def _otherwise(run: Run, device: str, what: str) -> str:
    here = provenance(device)
    differences = [
        f"{name} {run.provenance[name]} then, {here[name]} now"
        for name in _TELLING
        if name in run.provenance and run.provenance[name] != here[name]
    ]
    why = (
        f"What differs: {'; '.join(differences)}."
        if differences
        else "Versions and hardware are the same, as far as the ledger tells."
    )
    if is_fast(run.key.precision):
        why = f"With {option('fast')}, which it was trained with, no two runs need be the same. {why}"
    return (
        f"{run.name} seed {run.key.seed}, trained again, does not come out as the ledger says: {what}. {why} "
        f"Export it where it was trained; or train it here into another {option('ledger')}, and export that"
    )
