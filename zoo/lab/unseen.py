"""What the ledger's runs say of images that are not at hand."""

from __future__ import annotations

from zoo.data.names import digests_of
from zoo.errors import DataError, option
from zoo.lab.networks import form
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.study.images import Unseen


def unseen(base: Spec, reason: str, ledger: Ledger, registry: Registry) -> Unseen | None:
    """Return what the runs of a spec say of its images, which are not at hand; None where there is no such run.

    Raises:
        DataError: they are of several data sets of that name.
    """
    name = base.data.dataset
    names = ledger.names(identity=base.identity)
    runs = [run for run in ledger.runs(names=names) if run.key.spec == base.identity and run.epochs]
    digests = digests_of(name, [(run.key.dataset, run.dataset) for run in runs])
    if len(digests) > 1:
        raise DataError(
            f"{name} is not at hand ({reason}), and {ledger.path} holds runs of {base.name} on {len(digests)} data "
            f"sets of that name: bring back the images that are meant, or name them otherwise by {option('data')}"
        )
    own = [run for run in runs if run.key.dataset in digests]
    if not own:
        return None
    (first, *_) = (list(epoch.evaluations.values()) for epoch in own[0].epochs)
    counted = len(first[0].confusion) if first else 0
    known = form(base, registry)
    classes = known.classes or tuple(map(str, range(counted)))
    return Unseen(name=name, reason=reason, shape=known.shape, classes=classes, digest=own[0].key.dataset)
