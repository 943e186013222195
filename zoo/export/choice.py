"""Which run of the ledger is exported."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Literal

import attrs

from zoo.data import why_missing
from zoo.data.names import digests_of, shown_names
from zoo.errors import DataError, LedgerError, UnknownNameError, near_misses, option, variations_of
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.registry.source import source_digest
from zoo.report.labels import differences
from zoo.report.text import counted, seed_span
from zoo.spec import Spec, structure
from zoo.spec.length import in_words
from zoo.spec.resolve import resolve
from zoo.study.measure import epoch_recall, kept_epoch
from zoo.train.run import Run

Kind = tuple[str, str, str]
"""Identity of the spec, the name that the data set is shown by, precision: runs that differ in one are no seeds of one
thing."""
_DIGEST = 7
"""Characters of an identity that people are shown."""


@attrs.frozen(kw_only=True)
class Chosen:
    """The run to export, and those that it was chosen from.

    Attributes:
        run: the chosen one.
        spec: its spec.
        siblings: all finished runs of the same spec, images, source and precision, by seed; the chosen one included.
        selected_on: the part of the data by whose recall it was chosen, "validation" or "test"; None where it was
            named by its seed, or where there was no other.
    """

    run: Run
    spec: Spec
    siblings: tuple[Run, ...]
    selected_on: Literal["validation", "test"] | None

    @property
    def remark(self) -> str:
        """What is to be said of the choice; empty where it makes no figure look better."""
        if self.selected_on != "test":
            return ""
        return (
            f"Chosen among {len(self.siblings)} seeds by recall on the test images, for no validation part was held "
            "out: its test recall is better than that of new images will be. The mean over the seeds is not."
        )


def final_recall(run: Run, part: str) -> float:
    """Return macro recall of the network that came out of a run, NaN where the part was not evaluated."""
    kept = kept_epoch(run)
    return math.nan if kept is None else epoch_recall(kept, part)


def stored_runs(
    name: str,
    ledger: Ledger,
    registry: Registry,
    *,
    dataset: str | None = None,
    epochs: float | None = None,
    identity: str | None = None,
    precision: str | None = None,
) -> list[Run]:
    """Return the finished runs of one spec on one data set in one precision.

    Args:
        name: of the spec, as the ledger has it, or a TOML file.
        ledger: that holds them.
        registry: names the specs that could have been meant.
        dataset: only those on the data set that is shown by this name or, if there is none, was given it.
        epochs: only those of so many epochs.
        identity: only those whose spec's identity begins so.
        precision: only those in this precision.

    Raises:
        UnknownNameError: there is neither a run nor a spec of that name.
        LedgerError: there is no run, or there are several kinds of run; names what tells them apart.
    """
    name = Path(name).stem if name.endswith(".toml") else name
    known = ledger.names()
    if name not in known:
        if name not in registry.specs:
            raise UnknownNameError(
                f"no spec is called {name!r}, and {ledger.path} holds no run of that name"
                f"{near_misses(name, {*known, *registry.specs})}"
            )
        aliases = ledger.names(identity=resolve(name, registry=registry).identity)
        if not aliases:
            meant = near_misses(name, known) if variations_of(name, known) else ":"
            raise LedgerError(
                f"there is no run of {name} in {ledger.path}{meant} `zoo benchmark {quote(name)}` trains it"
            )
        identity = identity or resolve(name, registry=registry).identity
        known = aliases
    every = ledger.runs(names=[name] if name in known else known)
    runs = [run for run in every if run.status == "finished"]
    if not runs:
        raise LedgerError(
            f"no run of {name} in {ledger.path} has finished: `zoo results --failed {quote(name)}` says why"
        )
    kinds: dict[Kind, list[Run]] = {}
    given_names = [(run.key.dataset, run.dataset) for run in runs]
    names = shown_names(given_names)
    for run in runs:
        kinds.setdefault((run.key.spec, names[run.key.dataset], run.key.precision), []).append(run)
    if dataset is not None and dataset not in names.values():
        dataset = next((names[digest] for digest in sorted(digests_of(dataset, given_names))), dataset)
    fitting = {
        kind: group
        for kind, group in kinds.items()
        if kind[0].startswith(identity or "")
        and dataset in (None, kind[1])
        and epochs in (None, _epochs(group))
        and precision in (None, kind[2])
    }
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    listed = "".join(f"\n  {line}" for line in _told_apart(fitting or kinds))
    if not fitting:
        raise LedgerError(f"none of the runs of {name} in {ledger.path} is such a one. There are:{listed}")
    raise LedgerError(
        f"{ledger.path} holds runs of {name} that are not of one kind. Say which, by what differs:{listed}"
    )


def choose(runs: Sequence[Run], which: Literal["best"] | int, spec: Spec) -> Chosen:
    """Return the run with a seed, or the best: that with the highest recall on the validation part, else on test.

    Raises:
        LedgerError: none has that seed.
    """
    siblings = tuple(sorted(runs, key=lambda run: run.key.seed))
    seeds = [run.key.seed for run in siblings]
    if which == "best":
        held_out = not any(math.isnan(final_recall(run, "validation")) for run in siblings)
        part: Literal["validation", "test"] = "validation" if held_out else "test"
        run = max(siblings, key=lambda run: final_recall(run, part))
        return Chosen(run=run, spec=spec, siblings=siblings, selected_on=part if len(siblings) > 1 else None)
    if which not in seeds:
        raise LedgerError(
            f"no run of {spec.name} with seed {which} has finished; there {'is' if len(seeds) == 1 else 'are'} "
            f"{counted(len(seeds), 'seed').partition(' ')[2]} {seed_span(seeds)}"
        )
    return Chosen(run=siblings[seeds.index(which)], spec=spec, siblings=siblings, selected_on=None)


def of_current_source(runs: Sequence[Run], registry: Registry) -> tuple[Spec, list[Run]]:
    """Return the spec of runs of one kind, and those of them whose variants have not been edited since.

    Raises:
        SpecError: a variant is not registered any more.
        LedgerError: all were trained with another source of the variants.
    """
    # The same images may have been moved since.
    at_hand = (run for run in reversed(runs) if why_missing(run.dataset, registry) is None)
    first = next(at_hand, runs[-1])
    spec = structure(first.spec, first.name, registry)
    digest = source_digest(spec, registry)
    current = [run for run in runs if run.key.source == digest]
    if not current:
        raise LedgerError(
            f"the source of a variant of {spec.name} is not what it was when its runs were trained, so they cannot be "
            f"trained again: `zoo benchmark` trains them with the source of now"
        )
    return spec, current


def on_these_images(runs: Sequence[Run], digest: str) -> list[Run]:
    """Return those of the runs that were trained on the images of a digest.

    Raises:
        DataError: none was.
    """
    same = [run for run in runs if run.key.dataset == digest]
    if not same:
        raise DataError(
            f"the images of {runs[0].dataset} are not those that {runs[0].name} was trained on: bring those back, or "
            "train on these with `zoo benchmark`"
        )
    return same


def _epochs(runs: Sequence[Run]) -> float | None:
    epochs: float | None = runs[0].spec["training"]["epochs"]
    return epochs


def _told_apart(kinds: Mapping[Kind, Sequence[Run]]) -> list[str]:
    """Say in a line for each kind of run with which options it is named, and what it is.

    The digest of a spec is named only where nothing that people know tells two kinds apart.
    """
    stated = {kind: {"data": kind[1], "epochs": _epochs(runs), "precision": kind[2]} for kind, runs in kinds.items()}
    names = ("data", "epochs", "precision")
    differing = [name for name in names if len({about[name] for about in stated.values()}) > 1]
    if len(kinds) == 1:
        differing = list(names)
    count = Counter(tuple(about[name] for name in differing) for about in stated.values())
    words = _words([runs[0] for runs in kinds.values()])
    lines = []
    for (kind, runs), further in zip(kinds.items(), words, strict=True):
        about = stated[kind]
        options = [option(name, about[name]) for name in differing]
        if count[tuple(about[name] for name in differing)] > 1:
            options.append(option("identity", kind[0][:_DIGEST]))
        what = ", ".join([kind[1], in_words(runs[0].spec["training"]), *([further] if further else []), kind[2]])
        seeds = sorted(run.key.seed for run in runs)
        lines.append(f"{' '.join(options)}: {what}; seed{'s' if len(seeds) > 1 else ''} {seed_span(seeds)}")
    return lines


def _words(firsts: Sequence[Run]) -> list[str]:
    """Return in words what the specs of some runs do not share, besides data set and epochs."""
    held_out = [run.spec["data"]["validation"] for run in firsts]
    shared = {"data": ("dataset", "validation"), "training": ("epochs",)}
    specs = [
        {
            section: {key: value for key, value in fields.items() if key not in shared.get(section, ())}
            for section, fields in run.spec.items()
            if isinstance(fields, Mapping)
        }
        for run in firsts
    ]
    return [
        ", ".join(filter(None, [f"{share:.0%} of training held out" if share else "", different]))
        for share, different in zip(held_out, differences(specs, ()), strict=True)
    ]
