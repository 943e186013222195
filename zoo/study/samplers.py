"""Settings that a sampler of Optuna suggests, by what was found at those that were tried before.

Each arm has suggestions of its own, in turn, and every arm is trained at all of them: so the budget stays the same for
all, and a claim is about the best of the settings tried, as it is without a sampler. A suggestion follows from the
recalls before it alone, so that a study that is given again comes to the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ZooError
from zoo.study.ranges import Range, Values
from zoo.study.settings import Sampler, Setting, sampled
from zoo.study.trials import Trial, Tuned

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


def suggested(tuned: Tuned, values: Mapping[str, Values], sampler: Sampler, most: int) -> tuple[Setting, ...]:
    """Return further settings, one for each arm, and no more than `most`.

    What an arm is suggested that was tried already makes way for the next of the quasi-random sample. None where all
    was tried.

    Args:
        tuned: what was tried.
        values: what is tuned over.
        sampler: which.
        most: how many at most.

    Raises:
        ZooError: Optuna is not installed.
    """
    known = {trial.setting.label for trial in tuned.trials}
    found: dict[str, Setting] = {}
    for position, arm in enumerate(tuned.arms[:most]):
        seed = np.random.SeedSequence([position, len(known)]).generate_state(1)
        setting = _suggestion(sampler, int(seed[0]), values, tuned.of(arm))
        if setting.label in known or setting.label in found:
            others = (each for each in sampled(values) if each.label not in known and each.label not in found)
            if (other := next(others, None)) is None:
                break
            setting = other
        found[setting.label] = setting
    return tuple(found.values())


def require(sampler: Sampler) -> Any:
    """Return Optuna.

    Raises:
        ZooError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ZooError(
            f"tune_sampler: {sampler} needs Optuna: pip install 'layer-zoo[optuna]'; or leave tune_sampler out, and "
            "settings are taken from a quasi-random sample"
        ) from None
    return optuna


def _suggestion(sampler: Sampler, seed: int, values: Mapping[str, Values], trials: Sequence[Trial]) -> Setting:
    optuna = require(sampler)
    distributions = {path: _distribution(own) for path, own in values.items()}
    with _quiet(optuna):
        study = optuna.create_study(direction="maximize", sampler=_made(sampler, seed))
        for trial in trials:
            if trial.recalls:
                params = {path: _param(values[path], value) for path, value in trial.setting.values.items()}
                study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=trial.mean))
        asked = study.ask(distributions).params
    return Setting({path: _value(own, asked[path]) for path, own in values.items()})


def _made(sampler: Sampler, seed: int) -> BaseSampler:
    # What it would draw at random before it begins is drawn already, quasi-randomly.
    from optuna.samplers import GPSampler, TPESampler

    return (
        TPESampler(n_startup_trials=1, seed=seed)
        if sampler == "optuna:tpe"
        else GPSampler(n_startup_trials=1, deterministic_objective=False, seed=seed)
    )


def _distribution(values: Values) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(values, Range):
        return CategoricalDistribution(range(len(values)))
    if values.is_whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _param(values: Values, value: Any) -> Any:
    """Return a value as the sampler knows it: one of a list by its position."""
    return value if isinstance(values, Range) else values.index(value)


def _value(values: Values, param: Any) -> Any:
    return values.nearest(param) if isinstance(values, Range) else values[param]


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Let Optuna not say of each study that it is there."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
