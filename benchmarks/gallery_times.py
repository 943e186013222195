"""How long steps of each variant of the gallery take, beside the usual one of its kind.

    python benchmarks/gallery_times.py results/gallery

For each table of the gallery of the ledgers in a folder, `zoo time` compares the specs of its runs, ten at a time and
the usual one among them, and writes what `zoo time --json` prints to `times/` in that folder, which `zoo gallery build
--times` takes. The machine should do nothing else; a data set that is not at hand is said and left out.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import click

import zoo
from zoo.gallery.build import compared, stored
from zoo.gallery.effects import Arm
from zoo.report.drawing import file_name
from zoo.report.times import render

AT_ONCE = 10


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--rounds", default=100, show_default=True, help="Of each comparison.")
@click.option("--data", help="Where the images of photographs are: folder:PATH.")
def main(folder: Path, rounds: int, data: str | None) -> None:
    """Measure, and write."""
    lab = zoo.Lab(project=None)
    (folder / "times").mkdir(exist_ok=True)
    for ledger in sorted(folder.glob("*.sqlite")):
        for field in compared(lab.registry, stored([ledger])):
            for start in range(0, len(field.arms), AT_ONCE):
                arms = field.arms[start : start + AT_ONCE]
                try:
                    timings = lab.time(*(spec_of(arm, data) for arm in (field.base, *arms)), rounds=rounds)
                except zoo.DataError as error:
                    print(f"{ledger.stem}: {error}")
                    break
                print(timings, end="\n\n", flush=True)
                name = f"{ledger.stem}-{file_name(field.kind)}-{start // AT_ONCE}.json"
                (folder / "times" / name).write_text(render(timings, format_="json") + "\n", encoding="utf-8")


def spec_of(arm: Arm, data: str | None) -> zoo.Spec:
    """Return an arm's spec, on images where they are now: that does not decide its identity."""
    tree = {key: value for key, value in arm.runs[0].spec.items() if key != "name"}
    if data is not None and str(tree["data"]["dataset"]).startswith("folder:"):
        tree["data"] = {**tree["data"], "dataset": data}
    return attrs.evolve(zoo.resolve(tree), name=arm.label)


if __name__ == "__main__":
    main()
