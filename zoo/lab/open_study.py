"""A study by itself: `zoo.load_study("starter-factorial").run()`, a lab of its own for one study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from zoo.lab import arguments
from zoo.lab.findings import Findings
from zoo.lab.lab import Lab
from zoo.lab.named import told_misspelt
from zoo.lab.pooled import PooledFindings
from zoo.registry import Registry
from zoo.study.definition import Study, study_tree
from zoo.study.places import PooledStudy, read_any
from zoo.train.run import Arithmetic


def load_study(
    study: str | Path | Mapping[str, Any], *, sets: Mapping[str, Any] | None = None, registry: Registry | None = None
) -> OpenStudy:
    """Return a study that can be run.

    Args:
        study: a registered name, a TOML file, or a mapping of the same form.
        sets: paths and values to set in its base, such as {"data.dataset": "cifar10", "training.epochs": 5}.
        registry: where names are looked up; all installed plugins, and those of the project file, when left out.

    Raises:
        SpecError: it is not valid.
        UnknownNameError: nothing is registered under a name.
    """
    lab = Lab(registry=registry)
    tree = study if isinstance(study, Mapping) else study_tree(study, registry=lab.registry)
    overrides = lab.settings.sets(arguments.sets(sets), ("data.dataset",) if "data" in tree else ())
    return OpenStudy(read_any(study, registry=lab.registry, overrides=overrides), lab.registry)


@told_misspelt
@attrs.frozen
class OpenStudy:
    """A study, and where its names are looked up."""

    definition: Study | PooledStudy
    registry: Registry = attrs.field(repr=False)

    def run(
        self,
        *,
        seeds: int | Literal["auto"] | None = None,
        max_seeds: int | None = None,
        ledger: str | Path | None = None,
        device: str | None = None,
        precision: Arithmetic | Literal["auto"] | None = None,
        jobs: int | None = None,
    ) -> Findings | PooledFindings:
        """Train what the ledger does not hold, and judge it, in a `zoo.Lab` with these arguments.

        Args:
            seeds: how many; the study's number when left out. "auto" adds some where a claim is undecided.
            max_seeds: how many "auto" may come to; 15 when left out.
            ledger: see `zoo.Lab`, as for `device`, `precision` and `jobs`.
            device: where to train.
            precision: of all runs.
            jobs: runs at once.

        Raises:
            ZooError: the data are not at hand, the study does not fit them, or the ledger cannot be written.
        """
        lab = Lab(ledger, device=device, precision=precision, jobs=jobs, registry=self.registry)
        count = seeds if seeds is not None else lab.settings["seeds"] or self.definition.design.seeds
        return lab.study(
            self.definition,
            seeds=seeds,
            max_seeds=max_seeds,
            command=f"zoo.load_study({self.definition.name!r}).run(seeds={count!r})",
        )
