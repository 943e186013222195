"""`zoo export`: a network of the ledger as a file that other programs can load, with a model card."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from zoo.cli.common import Epochs, ledger_option, say
from zoo.cli.completion import complete_dataset, complete_spec
from zoo.cli.main import Plugins
from zoo.report.text import counted, rough_duration

if TYPE_CHECKING:
    from zoo.lab.lab import Lab
    from zoo.train.run import Run

FORMATS = ("safetensors", "onnx", "torch-export")
"""Those of `zoo.export.formats`, which imports torch."""


class Which(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A seed, or "best"."""

    name = "which"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the seed, or "best"."""
        if value == "best":
            return "best"
        if not str(value).isdecimal():
            self.fail(f"expected best, or the seed of a run, got {value!r}", param, ctx)
        return int(value)


@click.command()
@click.argument("spec", shell_complete=complete_spec)
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="FILE|FOLDER",
    type=click.Path(path_type=Path),
    help="The file to write, or a folder for it and its model card.",
)
@click.option(
    "--from-ledger",
    "which",
    default="best",
    show_default=True,
    type=Which(),
    metavar="best|SEED",
    help="Which run: that of highest recall on the validation part (on test, where there is none), or one seed's.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="[default: by the ending of --output, else safetensors]",
)
@click.option("--data", metavar="DATASET", shell_complete=complete_dataset, help="Only runs on this data set.")
@click.option("--epochs", type=Epochs(), help="Only runs of so many epochs.")
@click.option("--precision", metavar="PRECISION", help="Only runs in this precision, such as bf16 or fp32+fast.")
@click.option("--identity", metavar="DIGEST", help="Only runs whose spec's identity begins so.")
@ledger_option
@click.pass_obj
def export_command(
    plugins: Plugins,
    spec: str,
    output: Path,
    which: Literal["best"] | int,
    format_: str | None,
    data: str | None,
    epochs: float | None,
    precision: str | None,
    identity: str | None,
    ledger_path: Path | None,
) -> None:
    """Write a network of the ledger to a file, with a model card.

    SPEC is the name of a spec as `zoo results` shows it. The ledger holds no weights: the run is trained again, and
    must come out as it did. What is written takes uint8 images; it is tried on the test images.

    \b
    Examples:
      zoo export starter/default -o digits
      zoo export 'starter/default[activation=mish]' --from-ledger 3 -o mish.onnx
    """
    lab: Lab = plugins.lab(ledger=ledger_path)
    bars = ExitStack()

    def begin(run: Run) -> Callable[[], None]:
        about = rough_duration(run.seconds_training + run.seconds_evaluation)
        label = f"Training {run.name} seed {run.key.seed} again: {counted(len(run.epochs), 'epoch')}, about {about}"
        bar = bars.enter_context(click.progressbar(length=len(run.epochs), label=label, file=sys.stderr))
        return lambda: bar.update(1)

    with bars:
        exported = lab.export(
            spec,
            output,
            which=which,
            format_=format_,
            data=data,
            epochs=epochs,
            precision=precision,
            identity=identity,
            begin=begin,
        )
    click.echo(str(exported))
    if exported.remark:
        say(f"Note: {exported.remark}")
