"""What the simulations share: recalls and runs that are made up, and a row of their table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import attrs
import numpy as np
from numpy.typing import NDArray

import zoo.statistics.paired
import zoo.statistics.verdicts
from zoo.spec import Spec
from zoo.train.run import Evaluation

Recalls = NDArray[np.float64]
BLOCK, OWN = 0.006, 0.006
"""Standard deviations of what a seed does to all arms, and of what it does to each arm besides."""

CHANGES = (
    ("a", "activation", "leaky_relu"),
    ("b", "training.shuffle", True),
    ("c", "learning_rate", 0.02),
    ("d", "training.batch_size", 32),
)
CLASSES, IMAGES = 2, 250
BY_NAME: dict[str, Spec] = {}
"""Specs of arms that were resolved before, by name."""


@attrs.frozen(kw_only=True)
class Row:
    """One figure of a simulation.

    Attributes:
        about: what is simulated.
        figure: what is counted.
        wanted: what it should be, in words.
        otherwise: the figure of the simpler method; None where there is none.
        zoo: zoo's.
    """

    about: str
    figure: str
    wanted: str
    otherwise: float | None
    zoo: float


def drawn(generator: np.random.Generator, tables: int, truth: list[float], seeds: int, own: float = OWN) -> Recalls:
    """Draw recalls, (tables, arms, seeds), of arms whose true means are 0.9 and what is given."""
    blocks = generator.normal(0, BLOCK, size=(tables, 1, seeds))
    recalls: Recalls = 0.9 + np.array(truth)[:, None] + blocks + generator.normal(0, own, (tables, len(truth), seeds))
    return recalls


def by_seed(recalls: Recalls, start: int = 0) -> dict[int, float]:
    return dict(enumerate(recalls.tolist(), start))


@contextmanager
def judged_alone() -> Iterator[None]:
    """Leave out what a verdict does not depend on and takes most of the time: more seeds, and the test of signs."""
    with (
        patch.object(zoo.statistics.verdicts, "more_seeds", return_value=None),
        patch.object(zoo.statistics.paired, "_p_of_signs", return_value=None),
    ):
        yield


def evaluation(recall: float) -> Evaluation:
    right = min(round(recall * IMAGES), IMAGES)
    return Evaluation(((right, IMAGES - right), (IMAGES - right, right)))
