"""Change proof of whole networks: which came in whose place, or at which places another layer stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import nn

from zoo.errors import SpecError
from zoo.network.architecture import weights
from zoo.network.compared import BATCH, equal, outcome, seen
from zoo.network.layers import Built, Replaced, Shape, alike
from zoo.spec import Spec
from zoo.spec.fields import NO_WEIGHTS, OWN
from zoo.train import streams


def exchanged(base: Spec, changed: Spec, whole: Sequence[Built]) -> str:
    """Say which network came in whose place, and what it is in numbers: two networks have no layers in common."""
    names = [str(spec.network.architecture or "blocks") for spec in (base, changed)]
    layers, parameters, flops = (
        f"{old:,} -> {new:,}" for old, new in zip(*((len(b.layers), b.parameters, b.flops) for b in whole), strict=True)
    )
    return f"~ network: {names[0]} -> {names[1]} (layers {layers}; parameters {parameters}; FLOPs {flops})"


def is_same(old: nn.Module, new: nn.Module, input_shape: Shape, seed: int) -> bool:
    """Tell whether two networks are made alike, start alike and compute the same."""
    x = torch.randn(BATCH, *input_shape, generator=streams.generator("cpu", seed, "proof"), dtype=torch.float32)
    layers = [seen(network, None) for network in (old, new)]
    return (
        layers[0].types == layers[1].types
        and repr(layers[0].settings) == repr(layers[1].settings)
        and layers[0].numbers == layers[1].numbers
        and equal(layers[0].tensors, layers[1].tensors)
        and all(
            alike(*(outcome(network.train(training), x, seed, "network") for network in (old, new)))
            for training in (True, False)
        )
    )


def replaced(base: Spec, changed: Spec, whole: Sequence[Built]) -> Iterator[str]:
    """Say at which places another layer stands, after it was seen that all others start equal.

    Raises:
        SpecError: other layers start otherwise.
    """
    if base.network.weights != changed.network.weights:
        kept = _from_files(whole)
    else:
        kept = _starting_values(base, changed, whole)
    before, after = ({done.path: done for done in built.replaced} for built in whole)
    parted = {done.origin for done in (*before.values(), *after.values())} - {""}
    places = {path: (before.get(path), after.get(path)) for path in {**after, **before} if path not in parted}
    for kind in dict.fromkeys(done.kind for done in (*before.values(), *after.values())):
        own = {path: sides for path, sides in places.items() if any(done and done.kind == kind for done in sides)}
        totals = _uses(before.values(), kind) | _uses(after.values(), kind)
        groups: dict[tuple[str, ...], list[str]] = {}
        for path, sides in own.items():
            variants = tuple(done.variant if done else OWN for done in sides)
            if variants[0] != variants[1]:
                groups.setdefault(variants, []).append(path)
        for variants, altered in groups.items():
            counts = Counter(next(done.what for done in own[path] if done) for path in altered)
            at = ", ".join(f"{count} of {totals[what]} {what}" for what, count in counts.items())
            yield f"~ {kind}: {variants[0]} -> {variants[1]} at {at}"
            for path in altered:
                old, new = own[path]
                texts = [old.new if old else new.old if new else "", new.new if new else old.old if old else ""]
                yield f"~ {path}: {texts[0]} -> {texts[1]}"
    yield from kept


def _uses(side: Iterable[Replaced], kind: str) -> Counter[str]:
    """Return at how many places each class or function of a kind stands; none where the side replaces none of it."""
    uses: Counter[str] = Counter()
    for done in side:
        if done.kind == kind:
            uses[done.what] += done.uses
    return uses


def _from_files(whole: Sequence[Built]) -> list[str]:
    """Say what two networks start from, of which one starts from other weights."""
    names = [NO_WEIGHTS if built.starting is None else str(built.starting.weights) for built in whole]
    line = f"~ starting weights: {names[0]} -> {names[1]}"
    if names[0] == names[1]:
        digests = [str(built.starting.weights.digest)[:12] for built in whole if built.starting]
        line += f" (its content: {digests[0]} -> {digests[1]})"
    sides = zip(("before", "now"), whole, strict=True)
    return [line, *(f"  {when} {built.starting}" for when, built in sides if built.starting)]


def _starting_values(base: Spec, changed: Spec, whole: Sequence[Built]) -> list[str]:
    """Say that all layers that were not replaced start equal, and what was not compared for that.

    Raises:
        SpecError: they start otherwise.
    """
    states = [built.network.state_dict() for built in whole]
    put = [done for built in whole for done in built.replaced if done.variant != OWN]
    places = tuple(f"{done.path}." for done in put)
    # A layer that became several is there no more where all of them were replaced.
    gone = tuple(f"{done.origin}." for done in put if done.origin)
    names = {name for state in states for name in state if not name.startswith(places)}
    names -= {name for name in names if name.startswith(gone) and not all(name in state for state in states)}
    lines = []
    if base.network.initializer != changed.network.initializer:
        filled = names & {name for built in whole for name, _ in weights(built.network)}
        names -= filled
        lines.append(
            f"~ initializer: {base.network.initializer} -> {changed.network.initializer}: other starting values in "
            f"{len(filled)} tensors, which are not compared"
        )
    altered = sorted(
        name for name in names if not all(name in s for s in states) or not alike(states[0][name], states[1][name])
    )
    if altered:
        raise SpecError(
            f"{changed.name}: replacing layers of {base.name} also altered the starting values of others: "
            f"{', '.join(altered[:5])}{' and more' if len(altered) > 5 else ''}"
        )
    return [*lines, f"  and {len(names)} tensors elsewhere start equal"] if put else lines
