"""Carrying out one run: from what is planned to what came of it, whatever happens on the way."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path

import attrs
import torch

from zoo import torch_settings
from zoo.data import Dataset, Options, load, source, why_missing
from zoo.errors import DataError, PluginError, ZooError, described, is_interruption, lacks_memory, option, text_of
from zoo.importing import require_whole
from zoo.registry import Plugin, Registry
from zoo.registry.source import plugins_used, source_digest, source_files
from zoo.spec import Spec, structure
from zoo.train import lost, streams
from zoo.train.checkpoint import HalfRestoredError, restore, save
from zoo.train.engines.choice import ENGINES, Decision, Wanted, decide, no_memory, release_memory
from zoo.train.engines.gate import one_line
from zoo.train.evaluating import DivergedError
from zoo.train.kept import go_on, why_useless
from zoo.train.machine import make_deterministic, on_device, provenance
from zoo.train.places import checkpoint_file, kept_file
from zoo.train.placing import DataIn, data_wanted, placed
from zoo.train.precision import set_policy
from zoo.train.run import EpochRecord, Precision, Run, RunKey
from zoo.train.state import UnsavableError
from zoo.train.training import Training

CHECKPOINT_VARIABLE = "ZOO_CHECKPOINT_EVERY"


def checkpoint_seconds() -> float:
    """Return how many seconds lie between two checkpoints.

    Raises:
        ZooError: the environment variable that says so is no number of 0 or more.
    """
    text = os.environ.get(CHECKPOINT_VARIABLE, "60")
    with suppress(ValueError):
        if (seconds := float(text)) >= 0:
            return seconds
    raise ZooError(f"{CHECKPOINT_VARIABLE}={text}: expected a number of seconds, 0 or more")


def execute(
    run: Run,
    registry: Registry,
    device: str,
    checkpoints: Path | None = None,
    *,
    engine: Wanted = "sequential",
    alone: bool = True,
    data: Dataset | None = None,
) -> Iterator[EpochRecord | Run]:
    """Train a planned run: yield a record for each epoch, and last the run as it ended, without its epochs.

    The process is made to give the same figures each time, see `make_deterministic`; a run in which something changes
    torch's settings has failed.

    Where `checkpoints` names a folder, the run's state is saved there once a minute, and a run that was killed or has
    failed goes on from it; the records of the epochs before are yielded again. Whoever stores the end of a run removes
    its `checkpoint_file`. Where the state cannot be saved exactly, the run's provenance says so as "checkpoint".

    What another engine than the sequential one raises does not fail the run: it goes on from its last checkpoint with
    the sequential one. Where the run is not `alone` on the device, running out of the device's memory is raised, and
    the checkpoint kept, since the run may go on when fewer are trained at once.

    Where `data` is not given, the data set that the spec names is loaded.

    Nothing that the run does wrong is raised: a run that diverges or fails says so in its status and reason. The first
    line of a reason is for people; a traceback may follow.

    Raises:
        ZooError: the run failed, and an import of torch was broken off in this process before.
        DeviceLostError: the device does nothing more for this process, so that all runs would fail. It is raised in
            place of the run's end.
    """
    if why := lost.why_lost(device):
        raise lost.DeviceLostError(
            f"{device} does nothing more for this process since a kernel failed there ({why}): train in a new process"
        )
    with on_device(device), in_order(device, run.key.precision) as settings:
        yield from _execute(run, registry, device, checkpoints, engine, alone, data, settings)


_order = torch_settings.Order(streams.exclusive)


@contextmanager
def in_order(device: str, precision: Precision) -> Iterator[torch_settings.Values]:
    """Let torch compute as runs of a precision do on a device, and give the settings that this takes.

    Other threads may do so at once; the last puts back what was before.
    """

    def arrange() -> None:
        make_deterministic(device)
        set_policy(precision)

    with _order.kept(arrange) as settings:
        yield settings


def _starting(training: Training) -> dict[str, str]:
    return {"starting_weights": str(training.starting)} if training.starting else {}


def _execute(
    run: Run,
    registry: Registry,
    device: str,
    checkpoints: Path | None,
    engine: Wanted,
    alone: bool,
    data: Dataset | None,
    settings: torch_settings.Values,
) -> Iterator[EpochRecord | Run]:
    run = attrs.evolve(run, provenance={**provenance(device), "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
    if device.startswith("cuda") and alone:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # without which the device has no figures to reset
        torch.cuda.reset_peak_memory_stats(device)
    saving = _Saving(checkpoint_file(checkpoints, run.key)) if checkpoints else None
    is_told = False
    try:
        spec = structure(run.spec, run.name, registry)
        if data is None:
            data = dataset(spec, registry, device)
        if data.digest != run.key.dataset:
            raise DataError(f"the data set {run.dataset} has changed since the run was planned: run the command again")
        if source_digest(spec, registry) != run.key.source:
            raise PluginError(
                "the source of one of its variants was edited since the run was planned: run the command again"
            )
        decision = decide(engine, spec, run.key, data, device=device, registry=registry)
        training: Training | None = None
        records: list[EpochRecord] = []
        while True:
            try:
                training = ENGINES[decision.engine](
                    spec, run.key.seed, data, device=device, registry=registry, precision=run.key.precision
                )
                run = attrs.evolve(
                    run,
                    seconds_setup=training.seconds_setup,
                    parameters=training.parameters,
                    flops=training.flops,
                    provenance={**run.provenance, **decision.provenance, **_starting(training)},
                )
                for record in _epochs(training, saving, run.key):
                    if why := _what_was_changed(settings, spec, registry, alone):
                        raise PluginError(why)
                    if record.epoch > len(records):
                        records.append(record)
                        is_told = True
                        yield record
                        is_told = False
                        with streams.exclusive:
                            torch_settings.put(settings)
                break
            except (DivergedError, ZooError):
                raise
            except HalfRestoredError:
                if saving:
                    saving.restorable = False
            except Exception as error:
                out_of_memory = isinstance(error, torch.OutOfMemoryError)
                if decision.engine == "sequential" or (out_of_memory and not alone) or lost.why_lost(device):
                    raise
                why = no_memory(decision.engine) if out_of_memory else one_line(error)
                decision = Decision("sequential", f"{spec.name} goes on one step at a time: {why}")
            training = None  # its memory is needed
            release_memory(device)
    except DivergedError as error:
        why = _what_was_changed(settings, spec, registry, alone)
        run = attrs.evolve(run, status="failed" if why else "diverged", reason=why or str(error))
    except ZooError as error:
        run = attrs.evolve(run, status="failed", reason=text_of(error))
    except torch.OutOfMemoryError as error:
        if not alone:
            raise
        run = attrs.evolve(run, status="failed", reason=f"the memory of {device} does not suffice: {one_line(error)}")
    except BaseException as error:  # a plugin may also call sys.exit
        if is_interruption(error) or is_told:  # whoever is told wants no more
            raise
        require_whole("torch")  # of which no run is to be blamed
        why = _what_was_changed(settings, spec, registry, alone)
        if not why and lacks_memory(error):
            why = f"the computer's memory does not suffice: {described(error)}"
        trace = traceback.format_exc().encode(errors="backslashreplace").decode()
        run = attrs.evolve(run, status="failed", reason=f"{why or _explain(error, spec, registry)}\n{trace}")
    else:
        run = attrs.evolve(run, status="finished")
        if run.keep_state and checkpoints and training:
            state = _keep(kept_file(checkpoints, run.key), training, records, registry)
            run = attrs.evolve(run, provenance={**run.provenance, "state": state})
    if device.startswith("cuda") and alone:
        run = attrs.evolve(run, peak_memory=torch.cuda.max_memory_allocated(device))
    if saving and saving.continued:
        run = attrs.evolve(run, provenance={**run.provenance, "continued": f"after {saving.continued} epochs"})
    if saving and saving.why_not:
        run = attrs.evolve(run, provenance={**run.provenance, "checkpoint": f"none: {saving.why_not}"})
    if run.status == "failed" and lost.why_lost(device):
        raise _lost(device, run, alone)
    yield run


def _lost(device: str, run: Run, alone: bool) -> lost.DeviceLostError:
    """Return the error of a device that worked when a run began and does not now that it has failed."""
    first, _, trace = run.reason.partition("\n")
    reason = (
        f"{device} stopped in it, as at an index out of range in a kernel ({first}); with CUDA_LAUNCH_BLOCKING=1 in "
        f"the environment the traceback says where\n{trace}"
    )
    beside, more = ("", "") if alone else (" or a run beside it", f"; {option('jobs', 1)} tells which it was")
    text = (
        f"{device} does nothing more for this process since {run.name}{beside} failed there ({first}). What has ended "
        f"is stored; train the others with {option('executor', 'processes')}, which goes on in a new process{more}"
    )
    return lost.DeviceLostError(text, attrs.evolve(run, reason=reason) if alone else None)


def _what_was_changed(settings: torch_settings.Values, spec: Spec, registry: Registry, alone: bool) -> str:
    """Return what torch's settings are otherwise than when the run began, and which plugins it uses; "" for nothing."""
    with streams.exclusive:
        found = torch_settings.changed(settings)
    if not found:
        return ""
    plugins = plugins_used(spec, registry)
    own = registry.variant("executor", "here").plugin.distribution
    others = sorted(str(plugin) for plugin in plugins if plugin.distribution != own)
    who = " or ".join(f"plugin {plugin}" for plugin in others or map(str, plugins))
    beside = "" if alone else ", or one of a run beside it,"
    return f"{spec.name}: {who}{beside} {torch_settings.fault(found)}"


_KEPT = (
    "a tensor that was computed in one step was used in another, as where a layer keeps one in an attribute: keep "
    "`tensor.detach()`, in a buffer; `zoo check NAME` says which checks a layer fails"
)


class _Saving:
    """Saves a training from time to time.

    Attributes:
        file: where.
        restorable: whether what was saved is gone on from.
        why_not: why nothing is saved any more; empty otherwise.
        continued: after how many epochs of a shorter run this one went on; 0 where it began anew.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.restorable, self.why_not = file, True, ""
        self.continued = 0
        self._every = checkpoint_seconds()
        self._saved = time.monotonic()

    def due(self, training: Training, records: list[EpochRecord]) -> None:
        """Save if it is time; what is raised only ends the saving."""
        if self.why_not or time.monotonic() - self._saved < self._every:
            return
        try:
            save(self.file, training, records)
        except Exception as error:  # the state of a plugin's layer may be anything
            self.why_not = _why_unsaved(error)
        self._saved = time.monotonic()


def _keep(file: Path, training: Training, records: list[EpochRecord], registry: Registry) -> str:
    """Keep the final state of a run; return "kept", or why it is not."""
    try:
        if why_not := why_useless(training, registry):
            return f"not kept: {why_not}"
        save(file, training, records)
    except Exception as error:  # the state of a plugin's layer may be anything
        return f"not kept: {_why_unsaved(error)}"
    return "kept"


def _why_unsaved(error: Exception) -> str:
    return str(error) if isinstance(error, UnsavableError) else one_line(error)


def _epochs(training: Training, saving: _Saving | None, key: RunKey) -> Iterator[EpochRecord]:
    """Train what neither the checkpoint nor a kept state holds yet, saving one from time to time."""
    records = []
    if saving and saving.restorable:
        records = restore(saving.file, training)
        if not records:
            records = go_on(training, saving.file.parent, key)
            saving.continued = len(records)
    yield from records
    for record in training.epochs(first=len(records) + 1):
        records.append(record)
        yield record
        if saving:
            saving.due(training, records)


def _explain(error: BaseException, spec: Spec, registry: Registry) -> str:
    """Say in one line what was raised, and in whose code if the traceback tells."""
    what = described(error)
    if "backward through the graph a second time" in what:
        what = f"{_KEPT}; torch says: {what}"
    plugins = plugins_used(spec, registry)
    users: dict[str, list[Plugin]] = defaultdict(list)
    for plugin in plugins:
        for file in source_files(plugin):
            users[str(file)].append(plugin)
    # A plugin's own file is its, also where other plugins import from it.
    users |= {plugin.file: [plugin] for plugin in plugins}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if len(users[frame.filename]) == 1:
            return f"plugin {users[frame.filename][0]} raised {what} (line {frame.lineno} of {frame.filename})"
    return what


def dataset(spec: Spec, registry: Registry, device: str) -> Dataset:
    """Return the data set that a spec names, on the device; the last few of each device stay loaded.

    Its images stay in the cache's files where they would take too much of the device's memory, or where the lab
    says so.

    Raises:
        DataError: it is not at hand or cannot be read.
    """
    with _loading:
        return _datasets_on(device, data_wanted())(spec.data.dataset, Options.of(spec.data), registry)


_loading = threading.Lock()
"""Held while a data set is loaded, so that several threads do not each load the same."""


@cache
def _datasets_on(device: str, wanted: DataIn) -> Callable[[str, Options, Registry], Dataset]:
    @lru_cache(maxsize=4)
    def loaded(name: str, options: Options, registry: Registry) -> Dataset:
        return placed(load(name, registry, options), device, wanted)

    return loaded


_fingerprints: dict[tuple[str, Registry], str] = {}


def forget_edited(name: str, registry: Registry) -> None:
    """Let go of what is loaded where a data set's files are not what they were when this was last asked."""
    if why_missing(name, registry) is not None:
        return
    with suppress(OSError, PluginError):  # which reading them will tell
        fingerprint = source(name, registry).fingerprint()
        if _fingerprints.setdefault((name, registry), fingerprint) != fingerprint:
            _fingerprints[name, registry] = fingerprint
            _datasets_on.cache_clear()
