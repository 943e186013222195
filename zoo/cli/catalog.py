"""What is registered: `zoo list`, `zoo show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import click

from zoo.cli.changes import read_sets, sets_option
from zoo.cli.completion import complete_dataset, complete_kind, complete_shown
from zoo.cli.main import Plugins
from zoo.errors import UnknownNameError, ZooError, near_misses
from zoo.registry import Registry, Variant
from zoo.registry.hookspecs import KINDS
from zoo.registry.options import LATER, Choice, is_later_default
from zoo.report import layout
from zoo.spec import Spec, describe_type, unstructure
from zoo.spec.length import in_words
from zoo.spec.resolve import resolve

if TYPE_CHECKING:
    from zoo.lab.lab import Lab
    from zoo.lab.shown import ShownNetwork


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
        click.echo(layout.table(rows, indent=2) + "\n")


def _records(registry: Registry, kind: str) -> list[dict[str, Any]]:
    if kind == "spec":
        return [_spec_record(name, registry) for name in registry.specs]
    return [_variant_record(variant) for variant in registry.variants(kind).values()]


def _spec_record(name: str, registry: Registry) -> dict[str, Any]:
    record = {"kind": "spec", "name": name, "plugin": registry.specs[name].plugin.name}
    try:
        spec = resolve(name, registry=registry)
    except ZooError as error:  # it may need a plugin that failed or was left out
        return {**record, "description": f"not valid: {error}", "dataset": "", "identity": ""}
    return {**record, "description": spec.description, "dataset": spec.data.dataset, "identity": spec.identity}


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
@click.option("--data", metavar="DATASET", shell_complete=complete_dataset, help="Show it on this data set's images.")
@sets_option("Change the spec first.")
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
    lab: Lab = plugins.lab()
    registry = lab.registry
    kind, colon, variant = name.partition(":")
    if colon:
        record = _variant_record(registry.variant(kind, variant))
        click.echo(json.dumps(record, indent=2) if as_json else _variant_text(registry.variant(kind, variant)))
        return
    kinds = [kind for kind in KINDS if name in registry.variants(kind)]
    if kinds and name not in registry.specs:
        raise UnknownNameError(
            f"{name} is no spec but {' and '.join(f'{_a(kind)} {kind}' for kind in kinds)}: "
            + " or ".join(f"`zoo show {kind}:{name}`" for kind in kinds)
        )
    spec = lab.resolve(name, data=data, sets=read_sets(sets))
    if as_spec:
        tree = unstructure(spec)
        click.echo(json.dumps({**tree, "identity": spec.identity}, indent=2))
        return
    _show_layers(spec, lab.show(spec), as_json)


def _a(kind: str) -> str:
    return "an" if kind[0] in "aeiou" else "a"


def _variant_text(variant: Variant) -> str:
    lines = [": ".join(filter(None, [f"{variant.kind} {variant.name}", variant.description]))]
    lines += [f"Paper: {variant.paper}"] if variant.paper else []
    lines = [layout.paragraph(line) for line in lines] + [f"From {variant.plugin}", ""]
    rows = [[f.name, describe_type(f.type), json.dumps(unstructure(f.default))] for f in attrs.fields(variant.options)]
    options = layout.table(rows, headers=["option", "expects", "default"], wrap=1) if rows else "It has no options."
    return "\n".join([*lines, options])


def _show_layers(spec: Spec, built: ShownNetwork, as_json: bool) -> None:
    from zoo.report.network import ALIGN, HEADERS, rows, sizes

    shape, classes = built.input_shape, built.classes
    if as_json:
        layers = [attrs.asdict(layer) for layer in built.layers]
        record = {"spec": spec.name, "input_shape": shape, "classes": classes, "parameters": built.parameters}
        starting = {"starting_weights": str(built.starting)} if built.starting else {}
        click.echo(json.dumps({**record, "flops": built.flops, **starting, "layers": layers}, indent=2))
        return
    click.echo(layout.paragraph(": ".join(filter(None, [spec.name, spec.description]))))
    click.echo(f"input {sizes(shape)}, {classes} classes ({spec.data.dataset}); FLOPs of one image's forward pass\n")
    click.echo(layout.table(rows(built), headers=HEADERS, align=ALIGN, wrap=1))
    if built.starting:
        click.echo("\n" + layout.paragraph(f"starts from {built.starting}"))
    click.echo("\n" + layout.paragraph(_training_text(spec)))


def _training_text(spec: Spec) -> str:
    t = spec.training
    order = "shuffled" if t.shuffle else "in file order"
    augmentation = ", ".join(map(str, t.augmentation)) or "none"
    return (
        f"{in_words(attrs.asdict(t))}, batches of {t.batch_size} {order}; {t.optimizer}; schedule {t.schedule}, "
        f"warm-up {t.warmup:g}; loss {t.loss}; augmentation {augmentation}; initializer {spec.network.initializer}"
        + "".join(f"; {text}" for text in _unusual(spec))
    )


def _unusual(spec: Spec) -> list[str]:
    """Return what a spec states of training and evaluation beyond what most leave as it is: "clip_norm 0.1"."""
    length = ("epochs", "steps")  # which is said already
    stated = [
        (field, getattr(section, field.name))
        for section in (spec.training, spec.evaluation)
        for field in attrs.fields(type(section))
        if field.name not in length and field.metadata.get(LATER)
    ]
    return [f"{field.name} {_said(value)}" for field, value in stated if not is_later_default(field, value)]


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_said, value))
    return str(value) if isinstance(value, Choice) else json.dumps(unstructure(value))
