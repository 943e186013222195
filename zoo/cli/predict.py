"""`zoo predict`: classes of image files by an exported network, or its recall on a data set."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.common import say
from zoo.cli.completion import complete_dataset
from zoo.cli.main import Plugins
from zoo.report import layout

if TYPE_CHECKING:
    from zoo.export.predict import Evaluated, Prediction


@click.command()
@click.argument("network", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--evaluate",
    "dataset",
    metavar="DATASET",
    shell_complete=complete_dataset,
    help="Print recall on a data set instead, with a 95% interval over images.",
)
@click.option(
    "--part",
    type=click.Choice(["test", "validation", "train", "all"]),
    help="Of --evaluate: which images.  [default: test, or all where there is no such part]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: file, class, probability, and that of each class.")
@click.pass_obj
def predict_command(
    plugins: Plugins,
    network: Path,
    images: tuple[Path, ...],
    dataset: str | None,
    part: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Say which classes image files are of, by an exported network.

    NETWORK is a file that `zoo export` wrote, or the folder of one. IMAGES are files of any size, or folders. They are
    read and resized as those that the network was measured on. --evaluate says instead how good it is on a data set.

    \b
    Examples:
      zoo predict digits photo.jpg
      zoo predict digits photos --csv
      zoo predict digits --evaluate folder:images
    """
    if (dataset is None) is not bool(images):
        raise click.UsageError("give either image files or --evaluate DATASET")
    if as_json and as_csv:
        raise click.UsageError("give either --json or --csv")
    if part and dataset is None:
        raise click.UsageError("--part is of --evaluate")
    if as_csv and dataset is not None:
        raise click.UsageError("--csv is of image files; --evaluate takes --json")
    registry = plugins.registry()

    # From here on torch is needed.
    from zoo.export.predict import Predictor

    predictor = Predictor(network, registry)
    if dataset is not None:
        evaluated = predictor.evaluate(dataset, part)
        for note in evaluated.notes:
            say(f"Note: {note}.")
        click.echo(_evaluated_json(evaluated) if as_json else _evaluated_text(evaluated))
        return
    predictions = predictor.predict(images)
    for note in predictor.notes:
        say(f"Note: {note}.")
    if as_json:
        records = [
            {"file": one.file, "class": one.label, "probabilities": dict(one.probabilities)} for one in predictions
        ]
        click.echo(json.dumps(records, indent=2))
    elif as_csv:
        click.echo(_csv(predictions), nl=False)
    else:
        rows = [[one.file, one.label, f"{one.probability:.4f}"] for one in predictions]
        click.echo(layout.table(rows, headers=["image", "class", "probability"], align=["left", "left", "right"]))


def _csv(predictions: Sequence[Prediction]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = list(predictions[0].probabilities)
    writer.writerow(["file", "class", "probability", *(f"p({name})" for name in classes)])
    for one in predictions:
        writer.writerow([one.file, one.label, one.probability, *(one.probabilities[name] for name in classes)])
    return text.getvalue()


def _evaluated_text(evaluated: Evaluated) -> str:
    from zoo.export.predict import described

    sizes = evaluated.confusion.sum(1).tolist()
    rows = [
        [name, f"{size:,}", f"{row[index] / size:.4f}" if size else ""]
        for index, (name, size, row) in enumerate(
            zip(evaluated.classes, sizes, evaluated.confusion.tolist(), strict=True)
        )
    ]
    table = layout.table(rows, headers=["class", "images", "recall"], align=["left", "right", "right"])
    return f"{described(evaluated)}\n\n{table}"


def _evaluated_json(evaluated: Evaluated) -> str:
    record = {
        "dataset": evaluated.dataset,
        "part": evaluated.part,
        "trained_on": evaluated.is_own,
        "recall": evaluated.recall,
        "interval": list(evaluated.interval),
        "classes": list(evaluated.classes),
        "confusion": evaluated.confusion.tolist(),
    }
    return json.dumps(record, indent=2)
