"""What is registered: `zoo list`, `zoo show`, `zoo plugins`."""

from __future__ import annotations

import json
from typing import Any

import attrs
import click
from tabulate import tabulate

from zoo.cli.common import complete_kind, complete_shown
from zoo.cli.main import Plugins
from zoo.errors import DataError, UnknownNameError, near_misses
from zoo.hookspecs import KINDS
from zoo.paths import apply, parse_set
from zoo.registry import Registry, Variant
from zoo.resolve import resolve
from zoo.spec import Spec, unstructure


@click.command()
@click.option("--kind", shell_complete=complete_kind, help="What to list: spec, or a kind of variant.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_command(plugins: Plugins, kind: str | None, as_json: bool) -> None:
    """List specs and variants.

    \b
    Examples:
      zoo list --kind spec
      zoo list --kind activation
      zoo list --json
    """
    registry = plugins.registry()
    known = ("spec", *KINDS)
    if kind is not None and kind not in known:
        raise UnknownNameError(
            f"no kind is called {kind!r}{near_misses(kind, known)} The kinds are {', '.join(known)}."
        )
    records = [record for name in ([kind] if kind else known) for record in _records(registry, name)]
    if as_json:
        click.echo(json.dumps(records, indent=2))
        return
    for name in [kind] if kind else known:
        rows = [_list_row(record) for record in records if record["kind"] == name]
        click.echo(f"{name}: {KINDS[name].purpose}" if name in KINDS else "spec: a network and its training")
        click.echo(_indent(tabulate(rows, tablefmt="plain")) + "\n")


def _records(registry: Registry, kind: str) -> list[dict[str, Any]]:
    if kind == "spec":
        specs = [(resolve(name, registry=registry), entry.plugin) for name, entry in registry.specs.items()]
        return [
            {
                "kind": "spec",
                "name": spec.name,
                "description": spec.description,
                "dataset": spec.data.dataset,
                "identity": spec.identity,
                "plugin": plugin.name,
            }
            for spec, plugin in specs
        ]
    return [_variant_record(variant) for variant in registry.variants(kind).values()]


def _variant_record(variant: Variant) -> dict[str, Any]:
    options = {f.name: unstructure(f.default) for f in attrs.fields(variant.options)}
    return {
        "kind": variant.kind,
        "name": variant.name,
        "description": variant.description,
        "paper": variant.paper,
        "options": options,
        "plugin": variant.plugin.name,
        "distribution": variant.plugin.distribution,
        "file": variant.plugin.file,
    }


def _list_row(record: dict[str, Any]) -> list[str]:
    options = record.get("options") or {}
    if record["kind"] == "spec":
        return [record["name"], record["dataset"], record["description"]]
    return [record["name"] + (f"({', '.join(options)})" if options else ""), record["description"]]


@click.command()
@click.argument("name", shell_complete=complete_shown)
@click.option("--data", metavar="DATASET", help="Show it on this data set's images.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change the spec first.")
@click.option("--spec", "as_spec", is_flag=True, help="Print the resolved spec, every default written out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show_command(
    plugins: Plugins, name: str, data: str | None, sets: tuple[str, ...], as_spec: bool, as_json: bool
) -> None:
    """Show a spec's layers, or one variant's options.

    NAME is a spec, a TOML file, or KIND:VARIANT.

    \b
    Examples:
      zoo show eq2425/4c
      zoo show starter/default --set network.features.0.filters=64
      zoo show filter:conv
    """
    registry = plugins.registry()
    kind, colon, variant = name.partition(":")
    if colon:
        record = _variant_record(registry.variant(kind, variant))
        click.echo(json.dumps(record, indent=2) if as_json else _variant_text(registry.variant(kind, variant)))
        return
    spec = resolve(name, registry=registry)
    overrides = {"data.dataset": data} if data and data != spec.data.dataset else {}
    spec = apply(spec, {**overrides, **dict(parse_set(text) for text in sets)}, registry)
    if as_spec:
        tree = unstructure(spec)
        click.echo(json.dumps({**tree, "identity": spec.identity}, indent=2))
        return
    _show_layers(spec, registry, as_json)


def _variant_text(variant: Variant) -> str:
    lines = [f"{variant.kind} {variant.name}: {variant.description}"]
    lines += [f"Paper: {variant.paper}"] if variant.paper else []
    lines += [f"From {variant.plugin}", ""]
    rows = [[f.name, _type_text(f.type), json.dumps(unstructure(f.default))] for f in attrs.fields(variant.options)]
    return "\n".join(lines) + (
        tabulate(rows, headers=["option", "expects", "default"]) if rows else "It has no options."
    )


def _type_text(type_: Any) -> str:
    from zoo.spec import describe_type

    return describe_type(type_)


def _show_layers(spec: Spec, registry: Registry, as_json: bool) -> None:
    from zoo.builder import construct
    from zoo.report.table import quantity

    shape, classes = _input(spec, registry)
    built = construct(spec, shape, classes, seed=0, registry=registry)
    if as_json:
        layers = [attrs.asdict(layer) for layer in built.layers]
        record = {"spec": spec.name, "input_shape": shape, "classes": classes, "parameters": built.parameters}
        click.echo(json.dumps({**record, "flops": built.flops, "layers": layers}, indent=2))
        return
    rows = [
        [layer.path, layer.description, _sizes(layer.output_shape), quantity(layer.parameters), quantity(layer.flops)]
        for layer in built.layers
    ]
    rows.append(["total", "", "", quantity(built.parameters), quantity(built.flops)])
    click.echo(f"{spec.name}: {spec.description}")
    click.echo(f"input {_sizes(shape)}, {classes} classes ({spec.data.dataset}); FLOPs of one image's forward pass\n")
    click.echo(
        tabulate(
            rows,
            headers=["layer", "variant", "output", "parameters", "FLOPs"],
            colalign=("left", "left", "left", "right", "right"),
            disable_numparse=True,
        )
    )
    click.echo("\n" + _training_text(spec))


def _input(spec: Spec, registry: Registry) -> tuple[tuple[int, int, int], int]:
    from zoo.train.execute import dataset

    try:
        data = dataset(spec, registry, "cpu")
    except DataError:
        pass
    else:
        return data.shape, len(data.classes)
    return (3, 32, 32), 10


def _training_text(spec: Spec) -> str:
    t = spec.training
    order = "shuffled" if t.shuffle else "in file order"
    augmentation = ", ".join(map(str, t.augmentation)) or "none"
    return (
        f"{t.epochs} epochs, batches of {t.batch_size} {order}; {t.optimizer}; schedule {t.schedule}, "
        f"warm-up {t.warmup:g}; loss {t.loss}; augmentation {augmentation}; initializer {spec.network.initializer}"
    )


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def plugins_command(plugins: Plugins, name: str | None, as_json: bool) -> None:
    """List plugins, what each registered, and why one failed. With NAME: that one, with the trace of its failure."""
    registry: Registry = plugins.load()
    records = _plugin_records(registry)
    if name is not None:
        chosen = [record for record in records if name in (record["name"], record["name"].rpartition(".")[2])]
        if not chosen:
            raise UnknownNameError(f"no plugin is called {name!r}{near_misses(name, [r['name'] for r in records])}")
        records = chosen
    if as_json:
        click.echo(json.dumps(records, indent=2))
    elif name is not None:
        for record in records:
            for key, value in record.items():
                click.echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    else:
        rows = [[r["name"], r["distribution"], r["failure"] or f"{len(r['registered'])} registered"] for r in records]
        click.echo(tabulate(rows, headers=["plugin", "distribution", ""]))
    registry.require_sound()


def _plugin_records(registry: Registry) -> list[dict[str, Any]]:
    registered: dict[str, list[str]] = {name: [] for name in registry.plugins}
    for kind in KINDS:
        for variant in registry.variants(kind).values():
            registered[variant.plugin.name].append(f"{kind} {variant.name}")
    for name, spec in registry.specs.items():
        registered[spec.plugin.name].append(f"spec {name}")
    records = [
        {**attrs.asdict(plugin), "registered": registered[name], "failure": "", "trace": ""}
        for name, plugin in registry.plugins.items()
    ]
    records += [
        {**attrs.asdict(f.plugin), "registered": [], "failure": f.reason, "trace": f.trace} for f in registry.failures
    ]
    return records


def _indent(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
