"""What the ledger's runs say of images that are not at hand."""

from __future__ import annotations

import attrs

from zoo.data import why_missing
from zoo.data.names import digests_of
from zoo.errors import DataError, option
from zoo.lab.networks import form
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.spec import Spec, paths
from zoo.study.definition import VALIDATION, Study
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


def as_trained(study: Study, ledger: Ledger, registry: Registry) -> Study:
    """Return a study as it was read while its images were at hand.

    It holds out a share of the training images, unless the images have a validation part of their own. Of images that
    are not at hand, the ledger's runs tell.
    """
    base = study.base
    if study.design.select != "validation" or base.data.validation != VALIDATION:
        return study
    if why_missing(base.data.dataset, registry) is None:
        return study
    own = paths.apply(base, {"data.validation": 0.0}, registry)

    def evaluated(spec: Spec) -> bool:
        runs = [run for run in ledger.runs(names=ledger.names(identity=spec.identity)) if run.epochs]
        digests = digests_of(base.data.dataset, [(run.key.dataset, run.dataset) for run in runs])
        return any(
            run.key.spec == spec.identity and run.key.dataset in digests and "validation" in run.epochs[-1].evaluations
            for run in runs
        )

    return attrs.evolve(study, base=own) if evaluated(own) and not evaluated(base) else study
