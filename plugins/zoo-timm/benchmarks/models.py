"""Which of timm's models can be built as architectures of zoo, and in which families activations can be replaced?

Models are built on torch's meta device, which knows shapes only, for images of their own size, and make logits of one:
all of them, or `--each` of each family (a file of timm's). Then the smallest of each family is built on the CPU, twice:
as it is, and with Mish in place of its activations. All tensors outside the replaced places are compared, bit for bit.
Images are 64x64 there where the model takes such, and of the model's own size elsewhere.

    python benchmarks/models.py --json models.json
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import timm
import torch
from torch import Tensor, nn
from zoo_timm.models import PREFIX, models

import zoo
from zoo.network.builder import construct
from zoo.network.layers import alike
from zoo.registry import Registry, default_registry
from zoo.spec import structure

VARIANT = "mish"
CLASSES = 10
SIDE = 64
REASON = 300
"""Characters of a reason that are kept."""


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--each", type=int, default=0, help="So many models of each family; 0 for all.")
@click.option("--largest", type=float, default=120e6, help="Parameters of a model that is built on the CPU.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(names: tuple[str, ...], each: int, largest: float, json_path: Path) -> None:
    """Build the models that are named, or timm's, and replace in the smallest of each family."""
    warnings.simplefilter("ignore")  # of names that timm has renamed
    registry = default_registry()
    about = {"timm": timm.__version__, "torch": torch.__version__, "zoo": zoo.__version__, "date": time.strftime("%F")}
    built: dict[str, Any] = {}
    replaced: dict[str, Any] = {}

    def write() -> None:
        json_path.write_text(json.dumps({**about, "built": built, "replaced": replaced}, indent=1) + "\n")

    for number, name in enumerate(names or sample(each)):
        built[name] = on_meta(name, registry)
        if number % 50 == 0:
            write()
            click.echo(f"{number} {name}", err=True)
    write()
    for one, name in smallest(built, largest):
        replaced[one] = {"model": name, **on_cpu(name, registry)}
        write()
        click.echo(f"{one}: {replaced[one]}", err=True)
    click.echo(summary(built, replaced))


def sample(each: int) -> list[str]:
    """Return so many models of each family, spread over their names; all where it is 0."""
    families: dict[str, list[str]] = {}
    for name in models():
        families.setdefault(family(name), []).append(name)
    if not each:
        return [name for found in families.values() for name in found]
    steps = {one: max(1, (len(found) - 1) // max(1, each - 1)) for one, found in families.items()}
    return [name for one, found in families.items() for name in sorted(found)[:: steps[one]][:each]]


def family(name: str) -> str:
    """Return the name of timm's file that a model is in."""
    return timm.model_entrypoint(name).__module__.rpartition(".")[2]


def shape(name: str) -> tuple[int, int, int]:
    """Return the shape of the images that a model is made for."""
    return timm.get_pretrained_cfg(name).input_size


def on_meta(name: str, registry: Registry) -> dict[str, Any]:
    """Build a model by its shapes, and let it evaluate an image."""
    found: dict[str, Any] = {"family": family(name)}
    try:
        with torch.device("meta"), torch.no_grad():
            network = made(name, registry).eval()
            logits = network(torch.empty(1, *shape(name)))
    except Exception as error:  # of whatever kind
        return found | {"refused": f"{type(error).__name__}: {error}"[:REASON]}
    found["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, CLASSES):
        what = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        return found | {"refused": f"it makes {what} of an image"}
    return found


def made(name: str, registry: Registry) -> nn.Module:
    """Call the architecture's factory."""
    variant = registry.variant("architecture", PREFIX + name)
    options = attrs.asdict(variant.options(), recurse=False)
    network: nn.Module = variant.make(options, input_shape=shape(name), classes=CLASSES, load=None)
    return network


def smallest(built: dict[str, Any], largest: float) -> Iterator[tuple[str, str]]:
    """Yield the smallest model of each family that can be built."""
    families = dict.fromkeys(found["family"] for found in built.values())
    for one in families:
        sizes = {n: f["parameters"] for n, f in built.items() if f["family"] == one and "refused" not in f}
        if sizes and min(sizes.values()) <= largest:
            yield one, min(sizes, key=lambda name: sizes[name])


def on_cpu(name: str, registry: Registry) -> dict[str, Any]:
    """Build a model as it is and with other activations, and compare."""
    begun = time.monotonic()
    images = (3, SIDE, SIDE)
    try:
        try:
            own = construct(spec(name, {}, registry), images, CLASSES, seed=0, registry=registry)
        except zoo.ZooError:
            images = shape(name)
            own = construct(spec(name, {}, registry), images, CLASSES, seed=0, registry=registry)
        replace = {"activation": VARIANT}
        changed = construct(spec(name, replace, registry), images, CLASSES, seed=0, registry=registry)
    except zoo.ZooError as error:
        return {"refused": str(error).partition(f"{PREFIX}{name}: ")[2][:REASON] or str(error)[:REASON]}
    before, after = own.network.state_dict(), changed.network.state_dict()
    places = tuple(f"{place}." for done in changed.replaced for place in (done.path, done.origin) if place)
    kept = [key for key in after if not key.startswith(places)]
    return {
        "side": images[1],
        "places": dict(Counter(done.what for done in changed.replaced)),
        "functions": sum(done.what[0].islower() for done in changed.replaced),
        "shared": sum(bool(done.origin) for done in changed.replaced),
        "kept": len(kept),
        "equal": all(key in before and alike(before[key], after[key]) for key in kept),
        "seconds": round(time.monotonic() - begun, 1),
    }


def spec(name: str, replace: dict[str, str], registry: Registry) -> zoo.Spec:
    """Return a spec with the model."""
    network = {"architecture": PREFIX + name, "replace": replace}
    return structure({"network": network, "training": {"epochs": 1}, "data": {"dataset": "digits"}}, name, registry)


def summary(built: dict[str, Any], replaced: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    good = sum("refused" not in found for found in built.values())
    done = {one: found for one, found in replaced.items() if "refused" not in found}
    lines = [
        f"{good} of {len(built)} models are built and make logits. Activations were replaced in {len(done)} of "
        f"{len(replaced)} families; {sum(found['kept'] for found in done.values()):,} tensors elsewhere, equal in "
        f"{sum(found['equal'] for found in done.values())} of {len(done)} families.",
        "",
        "| family | model | activations | by torch.fx |",
        "|---|---|---|---|",
    ]
    for one, found in replaced.items():
        what = ", ".join(f"{count} {name}" for name, count in found.get("places", {}).items()) or "refused"
        by_fx = ", ".join(f"{found[how]} {how}" for how in ("functions", "shared") if found.get(how))
        lines.append(f"| {one} | {found['model']} | {what} | {by_fx} |")
    lines += ["", "Refused:", ""]
    reasons = {name: found["refused"] for name, found in built.items() if "refused" in found}
    reasons |= {f"{found['model']}, activation": found["refused"] for found in replaced.values() if "refused" in found}
    return "\n".join([*lines, *(f"- {name}: {reason}" for name, reason in reasons.items())])


if __name__ == "__main__":
    sys.exit(main())
