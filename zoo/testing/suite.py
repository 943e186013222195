"""Which checks there are for each kind, and what a name stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zoo.errors import UnknownNameError, near_misses
from zoo.registry import Registry
from zoo.testing import (
    architectures,
    behaviour,
    declarations,
    executing,
    exports,
    fitting,
    numbers,
    randomness,
    sources,
    state,
    use,
)
from zoo.testing.check import Check, Outcome
from zoo.testing.subject import LAYERS, SpecSubject, Subject, subjects, variant_subject
from zoo.testing.trial_runs import own_cache

_SLOW = {exports.compiled, executing.survives_lost_workers}
_DECLARATIONS = (
    declarations.description,
    declarations.options_read,
    declarations.options_usable,
    declarations.options_swappable,
)
_LAYERS = (
    behaviour.builds,
    behaviour.output_shape,
    numbers.dtypes,
    numbers.finite,
    numbers.finite_at_extremes,
    numbers.gradients_reach_all,
    numbers.gradient,
    behaviour.evaluation_deterministic,
    behaviour.evaluation_frozen,
    behaviour.batch_independence,
    behaviour.input_unchanged,
    randomness.deterministic,
    randomness.own_stream,
    state.parameters_counted,
    state.state_stored,
    state.state_in_place,
    state.deep_copied,
    state.pickled,
    state.devices,
    numbers.autocast,
    numbers.half,
    behaviour.channels_last,
    exports.exported,
    exports.onnx,
    exports.compiled,
    use.engines,
    use.state_restored,
    use.speed,
)
_TABLE: Mapping[str, tuple[Callable[[Any], str | None], ...]] = {
    **dict.fromkeys(LAYERS, (*_DECLARATIONS, *_LAYERS)),
    "dropout": (*_DECLARATIONS, *_LAYERS, behaviour.dropout_off),
    "architecture": (
        *_DECLARATIONS,
        architectures.builds,
        architectures.logits,
        architectures.deterministic,
        architectures.own_stream,
        architectures.gradients_reach_all,
        use.engines,
    ),
    "initializer": (*_DECLARATIONS, fitting.fills_in_place, fitting.deterministic, fitting.own_stream, use.engines),
    "optimizer": (
        *_DECLARATIONS,
        fitting.learning_rate,
        fitting.lowers_loss,
        fitting.groups_kept,
        fitting.state_stored,
        fitting.deterministic,
        fitting.own_stream,
        use.engines,
        use.state_restored,
    ),
    "schedule": (*_DECLARATIONS, fitting.factors, fitting.memoryless, fitting.own_stream, use.engines),
    "loss": (
        *_DECLARATIONS,
        fitting.finite_scalar,
        fitting.prefers_true_class,
        fitting.mean_over_batch,
        fitting.soft_labels,
        fitting.gradient,
        fitting.input_unchanged,
        fitting.deterministic,
        fitting.own_stream,
        use.engines,
    ),
    "augmentation": (
        *_DECLARATIONS,
        fitting.form_kept,
        fitting.views_given,
        fitting.input_unchanged,
        fitting.deterministic,
        fitting.own_stream,
        use.engines,
    ),
    "gradient": (
        *_DECLARATIONS,
        fitting.changes_in_place,
        fitting.deterministic,
        fitting.own_stream,
        use.engines,
    ),
    "averaging": (
        *_DECLARATIONS,
        fitting.averages_in_place,
        fitting.deterministic,
        fitting.own_stream,
        use.engines,
        use.state_restored,
    ),
    "prediction": (
        *_DECLARATIONS,
        fitting.predicts_each_image,
        fitting.input_unchanged,
        fitting.deterministic,
        fitting.own_stream,
    ),
    "dataset": (
        *_DECLARATIONS,
        sources.offers_source,
        sources.fingerprint_steady,
        sources.decodes,
        sources.described,
    ),
    "executor": (
        *_DECLARATIONS,
        executing.events_in_order,
        executing.figures_equal,
        executing.failures_told,
        executing.pulls_lazily,
        executing.names_kept,
        executing.without_runs,
        executing.stops_when_closed,
        executing.survives_lost_workers,
    ),
    "spec": (sources.resolves, sources.described_in_words, sources.round_trip, sources.network_builds),
}
CHECKS: Mapping[str, tuple[Check, ...]] = {
    kind: tuple(
        # Those of executors end what hangs themselves.
        Check(function, function in _SLOW, own_cache, limited=False)
        if kind == "executor"
        else Check(function, function in _SLOW)
        for function in functions
    )
    for kind, functions in _TABLE.items()
}
"""The checks of each kind, in the order in which they are made."""


def checks(subject: Subject) -> tuple[Check, ...]:
    """Return the checks that are made of a subject."""
    return CHECKS[subject.kind]


def find_all(names: Iterable[str], registry: Registry) -> list[Subject]:
    """Return what names stand for, each once, in the order in which they are named.

    Raises:
        UnknownNameError: one of them stands for nothing.
    """
    found = {(subject.kind, subject.name): subject for name in names for subject in find(name, registry)}
    return list(found.values())


def find(name: str, registry: Registry) -> list[Subject]:
    """Return what a name stands for.

    Args:
        name: of a variant ("swishish", "activation:swishish"), a spec, a plugin, a distribution, the path of a
            single-file plugin that the registry has loaded, or a shell pattern of one of them. A name that several
            kinds have stands for all of them.
        registry: where it is looked up.

    Raises:
        UnknownNameError: nothing that can be checked has that name; names the nearest, and plugins that failed.
    """
    kind, colon, variant = name.partition(":")
    everything = subjects(registry)
    if any(character in name for character in "*?[") and not name.endswith(".py"):
        names = [(subject, {subject.name, f"{subject.kind}:{subject.name}"}) for subject in everything]
        found = _matching(names, name) or _matching([(subject, _owners(subject)) for subject in everything], name)
        if not found:
            raise UnknownNameError(f"nothing that can be checked matches {name!r}; `zoo list` shows all")
        return found
    if colon and kind == "spec":
        return [SpecSubject(registry.spec(variant), registry)]
    if colon:
        return [variant_subject(registry.variant(kind, variant), registry)]
    if name.endswith(".py"):
        file = str(Path(name).resolve())
        found = [subject for subject in everything if subject.plugin.file == file]
    else:
        found = [subject for subject in everything if subject.name == name]
        found = found or [subject for subject in everything if name in _owners(subject)]
    if not found:
        raise _unknown(name, everything, registry)
    return found


def _matching(named: Iterable[tuple[Subject, set[str]]], pattern: str) -> list[Subject]:
    return [subject for subject, names in named if any(fnmatchcase(name, pattern) for name in names)]


def _owners(subject: Subject) -> set[str]:
    plugin = subject.plugin
    return {plugin.name, plugin.name.rpartition(".")[2], plugin.distribution}


def _unknown(name: str, everything: list[Subject], registry: Registry) -> UnknownNameError:
    owners = {
        owner for plugin in registry.plugins.values() for owner in (plugin.name, plugin.distribution, plugin.file)
    }
    if name in owners | {owner.rpartition(".")[2] for owner in owners} or str(Path(name).resolve()) in owners:
        return UnknownNameError(f"{name} registers nothing that can be checked: no variant and no spec")
    known = {subject.name for subject in everything}.union(*map(_owners, everything))
    failed = [f"\nIt may be in one that failed to load: {failure}" for failure in registry.failures]
    return UnknownNameError(
        f"no variant, spec, plugin or distribution is called {name!r}{near_misses(name, known)} `zoo list` and "
        "`zoo plugins` show all; a single-file plugin is named by its path, which ends in .py" + "".join(failed)
    )


def expected(subject: Subject, besides: Mapping[str, str]) -> Mapping[str, str]:
    """Return why a subject is expected to fail checks, by their names: what it declares, and `besides`.

    Raises:
        UnknownNameError: there is no such check.
    """
    reasons = {**subject.declared, **besides}
    names = [check.name for check in checks(subject)]
    for name in reasons:
        if name not in names:
            raise UnknownNameError(
                f"{subject} declares to fail the check {name!r}, and there is none for its kind"
                f"{near_misses(name, names)} The checks are {', '.join(names)}."
            )
    return reasons


def explanation(subject: Subject, outcome: Outcome) -> str:
    """Return what is said about a check that failed."""
    check = outcome.check
    return "\n".join(
        [
            f"{subject} fails {check.name}",
            f"  found:     {outcome.note}",
            f"  expected:  {check.expected}",
            f"  why:       {check.why}",
            f"  to mend:   {check.mend}",
        ]
    )
