"""Simulated studies whose truth is known: how often what zoo says of them is false.

    python benchmarks/verdicts.py --tables 2000 --json verdicts.json

Recalls are made up; what is said of them is said by the code that judges real runs. "Otherwise" is what simpler
methods, which zoo had before, say of the same recalls.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import attrs
import click
import numpy as np
import scipy
from _harness import guarded, processor, write_json
from _made_up import Row
from _made_up_places import in_general, shared_seeds
from _made_up_splits import splits
from _made_up_studies import confirmations, halving, sampling, sampling_gp, tuning, widening
from _made_up_tables import advice, agreement, choices, effects, losses, rank_intervals, skewed
from tabulate import tabulate

import zoo.statistics.verdicts

SIMULATIONS: dict[str, Callable[[int, np.random.Generator], Iterator[Row]]] = {
    "effects": effects,
    "agreement": agreement,
    "choices": choices,
    "ranks": rank_intervals,
    "confirmations": confirmations,
    "advice": advice,
    "losses": losses,
    "skewed": skewed,
    "general": in_general,
    "tuning": tuning,
    "widening": widening,
    "halving": halving,
    "sampling": sampling,
    "sampling-gp": sampling_gp,
    "shared": shared_seeds,
    "splits": splits,
}


@click.command()
@click.option("--tables", default=2000, show_default=True, type=click.IntRange(min=1), help="Simulated for each row.")
@click.option("--only", type=click.Choice(list(SIMULATIONS)), multiple=True, help="Carry out these only.")
@click.option(
    "--processes",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many simulations are carried out at once; the figures do not depend on it.",
)
@click.option("--json", "json_path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the figures and the versions to FILE.")  # fmt: skip
def main(tables: int, only: tuple[str, ...], processes: int, json_path: Path | None) -> None:
    """Count how often what zoo says of simulated studies is false."""
    surroundings = {
        "zoo": zoo.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "tables": tables,
    }
    asked = [name for name in SIMULATIONS if not only or name in only]
    with ExitStack() as stack:
        carry_out = map
        if processes > 1:
            pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
            carry_out = stack.enter_context(pool).map
        rows = [row for found in carry_out(_rows, asked, [tables] * len(asked)) for row in found]
    click.echo(", ".join(f"{name} {value}" for name, value in surroundings.items()) + "\n")
    click.echo(tabulate([_texts(row) for row in rows], headers="keys", tablefmt="github", disable_numparse=True))
    write_json(json_path, surroundings, {"rows": [attrs.asdict(row) for row in rows]})


def _rows(name: str, tables: int) -> list[Row]:
    """Carry out a simulation, with random numbers of its own."""
    return list(SIMULATIONS[name](tables, np.random.default_rng(list(name.encode()))))


def _texts(row: Row) -> dict[str, str]:
    return {
        "simulated": row.about,
        "figure": row.figure,
        "wanted": row.wanted,
        "otherwise": "" if row.otherwise is None else f"{row.otherwise:.4g}",
        "zoo": f"{row.zoo:.4g}",
    }


if __name__ == "__main__":
    guarded(main)
