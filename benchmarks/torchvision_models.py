"""Every classification model of torchvision: is it as large as published, and which layers can be replaced?

For each model it is counted how many parameters and operations zoo's network has, at the size of image that the
published weights were evaluated at, beside what torchvision publishes (`weights.meta`). Then variants are put in place
of the layers of each kind, one kind at a time, and all tensors outside their places are compared, bit for bit, with
those of the network without replacement. Images are as small as the model takes for that, which changes no place.

`--start` asks something else: the model is written to a file with random weights, and a network of a hundred classes
starts from it with an activation put in place of its own; all tensors but those of the replaced places and of the
output layer are compared with the file's.

    python benchmarks/torchvision_models.py --json models.json
    python benchmarks/torchvision_models.py --start --json starting.json
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch
import torchvision
from _harness import describe, environment, guarded, write_json
from safetensors.torch import save_file
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torchvision import models

from zoo.errors import BuildError
from zoo.network.architecture import try_out
from zoo.network.builder import construct
from zoo.network.layers import Built, alike, trainable
from zoo.registry import Registry, default_registry
from zoo.report import layout
from zoo.spec import structure

VARIANTS = {
    "activation": "mish",
    "normalization": "batch",
    "dropout": "dropout",
    "filter": "conv",
    "pooling": "average",
}
SIDES = (32, 64, 96, 112, 224)
"""Sides of images, of which the first that a model takes is used."""
CLASSES = 1000
OTHER_CLASSES = 100
ROUNDING = 1.1e6
"""Operations: those published have three decimals, in thousands of millions of multiply-adds."""


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--count-only", is_flag=True, help="Only count parameters and operations: seconds for each model.")
@click.option("--start", is_flag=True, help="Start each model from a file, and compare with that.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Where the figures go.")
def main(names: tuple[str, ...], count_only: bool, start: bool, json_path: Path | None) -> None:
    """Count and compare the models that are named, or all of torchvision's, small ones first."""
    registry, rows = default_registry(), []
    surroundings = environment("cpu") | {"torchvision": torchvision.__version__}
    for name in names or _all():
        begun = time.monotonic()
        if start:
            rows.append({"model": name, **started(name, registry)})
            click.echo(f"{name}: {time.monotonic() - begun:.0f} s", err=True)
            write_json(json_path, surroundings, {"activation": VARIANTS["activation"], "models": rows})
            continue
        replacing = {"kinds": {}} if count_only else replaced(name, registry)
        rows.append({"model": name, **counted(name, registry), **replacing})
        click.echo(f"{name}: {time.monotonic() - begun:.0f} s", err=True)
        write_json(json_path, surroundings, {"variants": VARIANTS, "models": rows})
    click.echo(f"{describe(surroundings)}, torchvision {torchvision.__version__}\n")
    click.echo(starting_table(rows) if start else table(rows))


def _all() -> list[str]:
    names = models.list_models(module=models)
    return sorted(names, key=lambda name: next(iter(models.get_model_weights(name))).meta["num_params"])


def counted(name: str, registry: Registry) -> dict[str, Any]:
    """Return parameters and operations, zoo's and those published; the passes compute shapes only."""
    first = next(iter(models.get_model_weights(name)))  # the images of later ones may be larger
    side = first.transforms().crop_size[0]
    variant = registry.variant("architecture", name)

    def network() -> nn.Module:
        return variant.make({"stem": "own"}, input_shape=(3, side, side), classes=CLASSES, load=None)

    try:
        with FakeTensorMode():
            made = network()
            layers = try_out(made, (3, side, side), CLASSES)
    except DataDependentOutputException:  # RegNet computes its widths with tensors
        made = network().to("meta")
        with torch.device("meta"):
            layers = try_out(made, (3, side, side), CLASSES)
    return {
        "side": side,
        "parameters": trainable(made),
        "published_parameters": first.meta["num_params"],
        "flops": sum(layer.flops for layer in layers),
        # A multiply-add is one operation there.
        "published_flops": 2e9 * first.meta["_ops"],
    }


def replaced(name: str, registry: Registry) -> dict[str, Any]:
    """Return for each kind what was replaced, or why not, and whether all else starts equal."""
    side, own = next(built(name, registry))
    state = own.network.state_dict()
    kinds: dict[str, Any] = {}
    for kind, variant in VARIANTS.items():
        try:
            made = construct(
                _spec(name, {kind: variant}, registry), (3, side, side), CLASSES, seed=0, registry=registry
            )
        except BuildError as error:
            kinds[kind] = {"refused": str(error).partition(f"{kind}: {variant}")[2].lstrip(": ")}
            continue
        places = tuple(f"{place}." for done in made.replaced for place in (done.path, done.origin) if place)
        now = made.network.state_dict()
        kinds[kind] = {
            "places": dict(Counter(done.what for done in made.replaced)),
            "functions": sum(done.what[0].islower() for done in made.replaced),
            "shared": sum(bool(done.origin) for done in made.replaced),
            "kept": sum(not key.startswith(places) for key in now),
            "equal": {key for key in now if not key.startswith(places)}
            == {key for key in state if not key.startswith(places)}
            and all(alike(state[key], tensor) for key, tensor in now.items() if not key.startswith(places)),
        }
    return {"replaced_at": side, "kinds": kinds}


def started(name: str, registry: Registry) -> dict[str, Any]:
    """Return how many tensors of a network that starts from a file are the file's, and how many should be."""
    side, _ = next(built(name, registry))
    with TemporaryDirectory() as folder:
        file = str(Path(folder, "weights.safetensors"))
        generator = torch.Generator().manual_seed(1)
        auxiliary = {"aux_logits": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
        made = models.get_model(name, weights=None, num_classes=CLASSES, **_sized(name, side), **auxiliary)
        stored = {key: tensor.detach().clone() for key, tensor in made.state_dict().items()}
        for tensor in stored.values():
            if tensor.is_floating_point():
                tensor.uniform_(generator=generator)
        save_file(stored, file)
        spec = _spec(name, {"activation": VARIANTS["activation"]}, registry, weights=f"file:{file}")
        found = construct(spec, (3, side, side), OTHER_CLASSES, seed=0, registry=registry)
    assert found.starting is not None
    places = tuple(f"{place}." for done in found.replaced for place in (done.path, done.origin) if place)
    others = (*places, *(f"{left.rpartition('.')[0]}." for left in found.starting.left))
    expected = [key for key in found.network.state_dict() if not key.startswith(others)]
    equal = [key for key in expected if alike(found.network.state_dict()[key], stored[key])]
    return {
        "side": side,
        "replaced": len(found.replaced),
        "tensors": len(expected),
        "equal": len(equal),
        "not_loaded": list(found.starting.left),
    }


def _sized(name: str, side: int) -> dict[str, Any]:
    """Return what a model must be told of the size of its images."""
    if name.startswith("vit_"):
        return {"image_size": side}
    return {"input_size": (side, side)} if name.startswith("maxvit") else {}


def starting_table(rows: list[dict[str, Any]]) -> str:
    """Return what started from files as text."""
    lines = [[r["model"], r["replaced"], r["tensors"], r["equal"], ", ".join(r["not_loaded"])] for r in rows]
    headers = ["model", "replaced", "tensors elsewhere", "equal to the file's", "not loaded"]
    return layout.table([list(map(str, line)) for line in lines], headers=headers)


def built(name: str, registry: Registry) -> Iterator[tuple[int, Built]]:
    """Yield the network for the smallest of the images that it takes, and their side."""
    for side in SIDES:
        try:
            yield side, construct(_spec(name, {}, registry), (3, side, side), CLASSES, seed=0, registry=registry)
        except BuildError:
            if side == SIDES[-1]:
                raise


def _spec(name: str, replace: dict[str, str], registry: Registry, weights: str = "none") -> Any:
    network = {"architecture": name, "replace": replace, "weights": weights}
    tree = {"network": network, "training": {"epochs": 1}, "data": {"dataset": "cifar10"}}
    return structure(tree, name, registry)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as text."""
    lines = [
        [
            row["model"],
            f"{row['parameters']:,}",
            _difference(row["parameters"], row["published_parameters"]),
            f"{row['flops'] / 1e9:.3f}",
            _difference(row["flops"], row["published_flops"], ROUNDING),
            *(_cell(row["kinds"].get(kind)) for kind in VARIANTS),
        ]
        for row in rows
    ]
    headers = ["model", "parameters", "published", "GFLOPs", "published", *VARIANTS]
    notes = [
        f"{row['model']}, {kind}: {found['refused']}"
        for row in rows
        for kind, found in row["kinds"].items()
        if "refused" in found and not found["refused"].endswith(f"has no {kind}")
    ]
    return "\n".join([layout.table(lines, headers=headers), "", *notes])


def _difference(found: float, published: float, rounding: float = 0.0) -> str:
    """Return how far off it is."""
    return "equal" if abs(found - published) <= rounding else f"{found / published - 1:+.2%}"


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    if "refused" in found:
        return "none" if " has no " in found["refused"] else "refused"
    total = sum(found["places"].values())
    by_fx = [f"{found[how]} {how}" for how in ("functions", "shared") if found[how]]
    return f"{total}" + (f" ({', '.join(by_fx)})" if by_fx else "") + ("" if found["equal"] else " NOT EQUAL")


if __name__ == "__main__":
    guarded(main)
