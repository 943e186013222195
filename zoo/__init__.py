"""zoo: a plugin-based model zoo that says whether a layer variant helps.

What is named here is public; all else is private. Importing zoo does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from zoo.errors import Stopped, ZooError
from zoo.importing import interrupted_after
from zoo.registry import Registry, default_registry
from zoo.registry.hookspecs import (
    PublishedWeights,
    Register,
    RegisterArchitecture,
    RegisterSpec,
    RegisterStudy,
    hookimpl,
)
from zoo.registry.options import (
    LATER,
    BlockChoice,
    Choice,
    Constraint,
    Float,
    Fraction,
    Kind,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)
from zoo.registry.promises import changes_channels
from zoo.spec import Spec, chosen
from zoo.spec.resolve import resolve

if TYPE_CHECKING:
    from zoo.data import Arrays, Dataset, Source, Split
    from zoo.execution.contract import Work
    from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
    from zoo.export.network import load_exported
    from zoo.export.predict import Prediction, predict
    from zoo.lab.findings import Findings
    from zoo.lab.lab import Lab
    from zoo.lab.open_study import OpenStudy, load_study
    from zoo.lab.pooled import PooledFindings
    from zoo.lab.table import Table
    from zoo.lab.training import TrainedEpoch
    from zoo.network.builder import Parts, Shape, build
    from zoo.study.result import StudyResult
    from zoo.train.execute import execute
    from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

__all__ = [
    "LATER",
    "Arrays",
    "BlockChoice",
    "Choice",
    "Constraint",
    "Dataset",
    "Ended",
    "EpochFinished",
    "EpochRecord",
    "Evaluation",
    "Event",
    "Findings",
    "Float",
    "Fraction",
    "Kind",
    "Lab",
    "Lost",
    "NonNegativeFloat",
    "NonNegativeInt",
    "OpenStudy",
    "Parts",
    "PooledFindings",
    "PositiveFloat",
    "PositiveInt",
    "Prediction",
    "Probability",
    "PublishedWeights",
    "Register",
    "RegisterArchitecture",
    "RegisterSpec",
    "RegisterStudy",
    "Registry",
    "Run",
    "RunKey",
    "Shape",
    "Source",
    "Spec",
    "Split",
    "Started",
    "Stopped",
    "StudyResult",
    "Table",
    "TrainedEpoch",
    "Work",
    "ZooError",
    "__version__",
    "build",
    "changes_channels",
    "chosen",
    "default_registry",
    "execute",
    "hookimpl",
    "load_exported",
    "load_study",
    "predict",
    "resolve",
]

# Imported when first asked for: they need torch, or are not needed to list and check.
_LATER = {
    "Parts": "zoo.network.builder",
    "Shape": "zoo.network.builder",
    "build": "zoo.network.builder",
    "Arrays": "zoo.data",
    "Dataset": "zoo.data",
    "Source": "zoo.data",
    "Split": "zoo.data",
    "Work": "zoo.execution.contract",
    "Ended": "zoo.execution.events",
    "EpochFinished": "zoo.execution.events",
    "Event": "zoo.execution.events",
    "Lost": "zoo.execution.events",
    "Started": "zoo.execution.events",
    "load_exported": "zoo.export.network",
    "Prediction": "zoo.export.predict",
    "predict": "zoo.export.predict",
    "Lab": "zoo.lab.lab",
    "Table": "zoo.lab.table",
    "TrainedEpoch": "zoo.lab.training",
    "Findings": "zoo.lab.findings",
    "OpenStudy": "zoo.lab.open_study",
    "PooledFindings": "zoo.lab.pooled",
    "StudyResult": "zoo.study.result",
    "load_study": "zoo.lab.open_study",
    "execute": "zoo.train.execute",
    "EpochRecord": "zoo.train.run",
    "Evaluation": "zoo.train.run",
    "Run": "zoo.train.run",
    "RunKey": "zoo.train.run",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    with interrupted_after():
        return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return __all__
