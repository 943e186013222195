"""The effects of a real factorial study, judged by seed and, as zoo once did, with one residual variance.

    python benchmarks/by_seed.py starter/default --change leaky:activation=leaky_relu --change mix:training.shuffle=true

What a change does varies from seed to seed, by more than runs scatter around a model of effects. A model of all runs
that has one variance for both takes the runs of a seed for independent. Both analyses are of the same runs.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pandas as pd
from _harness import describe, environment, guarded, options, write_json
from statsmodels.formula.api import ols
from tabulate import tabulate

from zoo.lab.lab import Lab
from zoo.report.text import probability
from zoo.spec.paths import parse_set
from zoo.statistics.results import Comparison, Effect
from zoo.statistics.verdicts import LEVEL, Estimate, judge
from zoo.study.measure import learned_recall
from zoo.study.result import StudyResult


@click.command()
@click.argument("base", metavar="SPEC")
@click.option("--change", "changes", metavar="NAME:PATH=VALUE", multiple=True, required=True, help="A change of SPEC.")
@click.option("--ledger", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="Keep the runs there, and train only what it lacks.  [default: nowhere]")  # fmt: skip
@options(epochs=10, seeds=12)
def main(
    base: str,
    changes: tuple[str, ...],
    ledger: Path | None,
    epochs: int,
    seeds: int,
    data: str,
    images: int | None,
    device: str,
    json_path: Path | None,
) -> None:
    """Judge all effects of the changes in all combinations, in both ways."""
    tree = {"base": base, "design": "factorial", "changes": dict(map(_read, changes))}
    sets = {"data.limit": images} if images else {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-by-seed-")))
        lab = Lab(ledger or folder / "zoo.sqlite", device=device, say=lambda line: None)
        surroundings = environment(lab.device)
        result = lab.study(tree, seeds=seeds, epochs=epochs, data=data, sets=sets).result
    estimates = _of_one_variance(result)
    before = judge(estimates, margin=result.study.design.margin, level=LEVEL)
    rows = [_row(*each) for each in zip(result.effects, estimates, before, strict=True)]
    click.echo(describe(surroundings))
    click.echo(f"{base}, {data}, {epochs} epochs, {seeds} seeds, {len(result.arms)} combinations\n")
    click.echo(tabulate([_texts(row) for row in rows], headers="keys", tablefmt="github", disable_numparse=True))
    write_json(json_path, surroundings, {"changes": tree["changes"], "rows": rows})


def _read(change: str) -> tuple[str, dict[str, Any]]:
    """Read NAME:PATH=VALUE."""
    name, colon, text = change.partition(":")
    if not colon:
        raise click.BadParameter(f"expected NAME:PATH=VALUE, got {change!r}", param_hint="--change")
    return name, dict([parse_set(text)])


def _of_one_variance(result: StudyResult) -> list[Estimate]:
    """Return the effects by a linear model of all runs with a mean for each seed, in the order of the study's."""
    part = result.study.design.select
    names = [factor.name for factor in result.study.factors]
    columns = {name: f"x{position}" for position, name in enumerate(names)}
    table = pd.DataFrame.from_records(
        [
            {"seed": run.key.seed, "recall": learned_recall(run, part)}
            | {columns[name]: 0.5 if name in arm.changes else -0.5 for name in names}
            for arm in result.arms
            for run in arm.runs
        ]
    ).dropna()
    fitted = ols(f"recall ~ C(seed) + ({' + '.join(columns.values())})**2", table).fit()
    terms = [":".join(columns[name] for name in effect.levels) for effect in result.effects]
    return [
        Estimate(
            seeds=len(result.seeds),
            difference=float(fitted.params[term]),
            error=float(fitted.bse[term]),
            freedom=int(fitted.df_resid),
        )
        for term in terms
    ]


def _row(effect: Effect, estimated: Estimate, before: Comparison) -> dict[str, Any]:
    by_seed = effect.comparison
    size = by_seed.effect_size
    return {
        "effect": effect.name,
        "difference": by_seed.difference,
        "error_one_variance": estimated.error,
        "freedom_one_variance": estimated.freedom,
        "p_one_variance": before.p_of_all,
        "verdict_one_variance": before.verdict,
        "error_by_seed": by_seed.difference / size / by_seed.n**0.5 if size else None,
        "freedom_by_seed": by_seed.n - 1,
        "p_by_seed": by_seed.p_of_all,
        "verdict_by_seed": by_seed.verdict,
    }


def _texts(row: dict[str, Any]) -> dict[str, str]:
    return {
        "effect": row["effect"],
        "difference": f"{row['difference']:+.4f}",
        "one variance: error": f"{row['error_one_variance']:.4f}",
        "p": probability(row["p_one_variance"]),
        "verdict": row["verdict_one_variance"],
        "by seed: error": "" if row["error_by_seed"] is None else f"{row['error_by_seed']:.4f}",
        "p ": probability(row["p_by_seed"]),
        "verdict ": row["verdict_by_seed"],
    }


if __name__ == "__main__":
    guarded(main)
