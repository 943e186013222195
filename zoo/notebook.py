"""Studies from a notebook or a script: `zoo.load_study("starter-factorial").run().frame()`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from zoo.errors import ZooError
from zoo.registry import Registry, default_registry
from zoo.study.definition import Study, read_study
from zoo.study.result import StudyResult

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from zoo.study.conduct import Auto
    from zoo.train.run import Precision


def load_study(
    study: str | Path | Mapping[str, Any], *, sets: Mapping[str, Any] | None = None, registry: Registry | None = None
) -> OpenStudy:
    """Return a study that can be run.

    Args:
        study: a registered name, a TOML file, or a mapping of the same form.
        sets: paths and values to set in its base, such as {"data.dataset": "cifar10", "training.epochs": 5}.
        registry: where names are looked up; all installed plugins when left out.

    Raises:
        SpecError: it is not valid.
        UnknownNameError: nothing is registered under a name.
    """
    registry = registry or default_registry()
    return OpenStudy(read_study(study, registry=registry, overrides=sets), registry)


@attrs.frozen
class OpenStudy:
    """A study, and where its names are looked up."""

    definition: Study
    registry: Registry

    def run(
        self,
        *,
        seeds: int | Literal["auto"] | None = None,
        max_seeds: int = 15,
        ledger: str | Path | None = None,
        device: str = "auto",
        precision: Precision | Literal["auto"] = "auto",
        jobs: int | None = None,
    ) -> Findings:
        """Train what the ledger does not hold, and judge it.

        Args:
            seeds: how many; the study's number when left out. "auto" adds some where a claim is undecided.
            max_seeds: how many "auto" may come to.
            ledger: the file that runs are stored in; as for the command line when left out.
            device: "auto", "cpu", "cuda" or "mps".
            precision: "fp32", "tf32", "bf16" or "auto".
            jobs: runs at once; as for the command line when left out. A script that leaves it out, or says more than
                1, must begin its work under `if __name__ == "__main__":`, as all that starts processes.

        Raises:
            ZooError: the data are not at hand, the study does not fit them, or the ledger cannot be written.
        """
        from zoo.benchmark import carry_out, make_plan
        from zoo.ledger import Ledger, default_path
        from zoo.study.conduct import FIRST_SEEDS, SEED_BATCH, Auto, conduct
        from zoo.train.execute import dataset
        from zoo.train.machine import choose_device, make_deterministic
        from zoo.train.precision import choose_precision

        if seeds != "auto" and seeds is not None and (not isinstance(seeds, int) or seeds < 1):
            raise ZooError(f"seeds: expected a number from 1, or 'auto', got {seeds!r}")
        if jobs is not None and jobs < 1:
            raise ZooError(f"jobs: expected a number from 1, got {jobs!r}")
        device = choose_device(device)
        chosen = choose_precision(precision, device)
        make_deterministic(device)
        auto: Auto | None = None
        count = self.definition.design.seeds
        if seeds == "auto":
            auto = Auto(min(FIRST_SEEDS, max_seeds), SEED_BATCH, max_seeds)
            count = max_seeds
        elif seeds is not None:
            count = seeds
        notes: list[str] = []
        with Ledger(Path(ledger) if ledger is not None else default_path()) as store:

            def train(specs: Sequence[Any], numbers: Sequence[int]) -> list[Any]:
                plan = make_plan(
                    specs, numbers, registry=self.registry, device=device, ledger=store, jobs=jobs, precision=chosen
                )
                return carry_out(
                    plan,
                    registry=self.registry,
                    device=device,
                    ledger=store,
                    watch=lambda event: None,
                    say=notes.append,
                )

            result = conduct(
                self.definition,
                range(count),
                train,
                dataset=dataset(self.definition.base, self.registry, device),
                registry=self.registry,
                auto=auto,
                command=f"zoo.load_study({self.definition.name!r}).run(seeds={seeds if auto else count!r})",
            )
        return Findings(attrs.evolve(result, notes=(*result.notes, *notes)))


@attrs.frozen
class Findings:
    """What a study found, with its tables and plots. `result` holds all of it as plain values."""

    result: StudyResult

    def __str__(self) -> str:
        """Return the tables that the command line prints."""
        from zoo.report.study.tables import render

        return render(self.result)

    def frame(self) -> pd.DataFrame:
        """Return the claims and effects, one row each."""
        from zoo.report.study.tables import frame

        return frame(self.result)

    def runs(self) -> pd.DataFrame:
        """Return the runs, one row each."""
        from zoo.report.study.tables import runs

        return runs(self.result)

    def page(self) -> str:
        """Return the report as one HTML page."""
        from zoo.report.study.page import page

        return page(self.result)

    def effect_plot(self, ax: Axes | None = None) -> Axes:
        """Draw each claim's difference with its interval."""
        from zoo.report.study import plots

        return plots.effect_plot(self.result, ax)

    def learning_curves(self, ax: Axes | None = None) -> Axes:
        """Draw recall against epochs, with bands over seeds."""
        from zoo.report.study import plots

        return plots.learning_curves(self.result, ax=ax)

    def interaction_matrix(self, ax: Axes | None = None) -> Axes:
        """Draw all two-way interactions of a factorial design."""
        from zoo.report.study import plots

        return plots.interaction_matrix(self.result, ax)

    def recall_against(self, cost: Literal["seconds", "parameters", "flops"], ax: Axes | None = None) -> Axes:
        """Draw recall against a cost, with the Pareto front."""
        from zoo.report.study import plots

        return plots.recall_against(self.result, cost, ax)
