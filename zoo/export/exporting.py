"""Exporting, as one step: the run is chosen, trained again, written and tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import attrs

from zoo.errors import UnknownNameError, near_misses, option
from zoo.export.card import model_card
from zoo.export.choice import choose, final_recall, of_current_source, on_these_images, stored_runs
from zoo.export.destination import destination
from zoo.export.formats import FORMATS, check_packages, write
from zoo.export.network import check_repeatable, describe
from zoo.export.reproduce import device_of, train_again
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.train.execute import dataset
from zoo.train.run import Run


@attrs.frozen(kw_only=True)
class Exported:
    """What was written, and of which run."""

    network: Path
    card: Path
    run: Run
    remark: str

    def __str__(self) -> str:
        recall = final_recall(self.run, "test")
        what = f"{self.run.name} seed {self.run.key.seed}, test recall {recall:.4f}"
        return f"{self.network}: {what}; model card: {self.card}"


def export(
    spec: str,
    output: Path,
    *,
    path: Path,
    registry: Registry,
    which: Literal["best"] | int = "best",
    format_: str | None = None,
    data: str | None = None,
    epochs: float | None = None,
    precision: str | None = None,
    identity: str | None = None,
    begin: Callable[[Run], Callable[[], None]] = lambda run: lambda: None,
) -> Exported:
    """Write a network of a ledger to a file, with a model card.

    Args:
        spec: the name of its spec, as the table shows it.
        output: the file, or a folder for it and its card.
        path: of the ledger.
        registry: where variants are looked up.
        which: the seed of a run, or "best".
        format_: of `FORMATS`; by the ending of `output` when left out.
        data: only runs on this data set.
        epochs: only runs of so many epochs.
        precision: only runs in this precision.
        identity: only runs whose spec's identity begins so.
        begin: is told which run is trained again, and returns what is called after each of its epochs.

    Raises:
        ZooError: there is no such run, its variants were edited since, or it comes out otherwise.
    """
    format_ = format_ or next((name for name, kind in FORMATS.items() if output.suffix == kind.ending), "safetensors")
    if format_ not in FORMATS:
        raise UnknownNameError(
            f"{option('format', format_)}: there is no such format{near_misses(str(format_), FORMATS)} "
            f"They are {', '.join(FORMATS)}."
        )
    check_packages(format_)
    files = destination(output, FORMATS[format_].ending)
    with Ledger(path, create=False) as ledger:
        runs = stored_runs(spec, ledger, registry, dataset=data, epochs=epochs, identity=identity, precision=precision)
    resolved, runs = of_current_source(runs, registry)
    digest = dataset(resolved, registry, "cpu").digest
    chosen = choose(on_these_images(runs, digest), which, resolved)
    run = chosen.run
    device = device_of(run)
    images = dataset(resolved, registry, device)
    check_repeatable(resolved, images.shape, len(images.classes), registry)
    training = train_again(run, resolved, images, device=device, registry=registry, watch=begin(run))
    classifier, description = describe(training, run)
    content = write(format_, classifier, description, images.test.images.cpu(), registry)
    # As it was trained on: the parts may be the seed's own.
    card = model_card(chosen, training.dataset, format_=format_, file=files.network.name, registry=registry)
    files.write(content, card)
    return Exported(network=files.network, card=files.card, run=run, remark=chosen.remark)
