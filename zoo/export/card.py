"""The model card of an exported network, in the form that Hugging Face's hub reads (Mitchell et al., 2019)."""

from __future__ import annotations

import json
import math
from importlib.metadata import PackageNotFoundError, version

from zoo.data import Dataset
from zoo.export.choice import Chosen, final_recall
from zoo.export.formats import INPUT, OUTPUT
from zoo.registry import SINGLE_FILE, Registry
from zoo.registry.source import plugins_used
from zoo.report.markup import code, markdown
from zoo.report.text import counted, quantity, seed_span, with_interval
from zoo.spec import DataSpec, Spec
from zoo.spec.length import ends_early, in_words
from zoo.statistics.intervals import mean_interval
from zoo.study.comparable import BY_TIME
from zoo.study.measure import kept_epoch
from zoo.train.metrics import measure_of
from zoo.train.run import Run

_PARTS = ("validation", "test")
RESIZING = (
    'images = torch.nn.functional.interpolate(images, size=({side}, {side}), mode="bilinear", antialias=True, '
    "align_corners=False)"
)
"""The line of code that does what `zoo.data.resized` does."""


def model_card(chosen: Chosen, data: Dataset, *, format_: str, file: str, registry: Registry) -> str:
    """Return a network's model card as Markdown.

    Args:
        chosen: the run that it came from, and its siblings.
        data: that it was trained on.
        format_: that it is written in.
        file: name of its file.
        registry: where its variants are looked up.
    """
    sections = {
        f"# {markdown(chosen.run.name)}": _about(chosen, data, file),
        "## Use": _use(chosen.spec, data, format_, file, registry),
        "## Recall": _recall(chosen),
        "## Data": _data(chosen.run, data),
        "## Training": _training(chosen, registry),
        "## Licence": _LICENCE,
        "## Spec": f"```json\n{json.dumps(chosen.run.spec, indent=2)}\n```",
    }
    front = "---\nlibrary_name: zoo\npipeline_tag: image-classification\n---"
    return "\n\n".join([front, *(f"{title}\n\n{text}" for title, text in sections.items())]) + "\n"


_LICENCE = (
    "zoo is under the MIT licence, which says nothing about these weights. The licence of the images may restrict what "
    "is done with a network that learned from them: read it, and state a licence here, before you pass the file on."
)


def _about(chosen: Chosen, data: Dataset, file: str) -> str:
    description = chosen.run.spec["description"]
    about = f"{code(file)} classifies images into {counted(len(data.classes), 'class').replace('classs', 'classes')}."
    return "\n\n".join([text for text in (description and f"{markdown(description)}.", about) if text])


def _use(spec: Spec, data: Dataset, format_: str, file: str, registry: Registry) -> str:
    shape = ", ".join(map(str, data.shape))
    resized = f"\n\n{_resizing(spec.data)}" if spec.data.resize else ""
    plugins, quoted = _registry(spec, registry), _quoted(file)
    lines = {
        "safetensors": (
            f"network = zoo.load_exported({quoted}{plugins})\nwith torch.no_grad():\n    logits = network(images)",
            ("import pathlib\n\n" if plugins else "") + "import torch\nimport zoo",
            "",
        ),
        "torch-export": (
            f"network = torch.export.load({quoted}).module()\nwith torch.no_grad():\n    logits = network(images)",
            "import torch",
            " `torch.export.load` reads pickled data: load such a file only from those whom you trust.",
        ),
        "onnx": (
            f"session = onnxruntime.InferenceSession({quoted})\n"
            f'(logits,) = session.run(["{OUTPUT}"], {{"{INPUT}": images.numpy()}})',
            "import onnxruntime\nimport torch",
            "",
        ),
    }
    code_lines, imports, warning = lines[format_]
    return (
        f"It takes images as uint8, with pixels from 0 to 255, in the shape (batch, {shape}), and returns logits in "
        f"float32, in the shape (batch, {len(data.classes)}). Normalization is inside.{warning}\n\n"
        f"```python\n{imports}\n\nimages = torch.zeros(1, {shape}, dtype=torch.uint8)\n{code_lines}\n```\n\n"
        f"The classes, in the order of the logits: {', '.join(map(markdown, data.classes))}.{resized}"
    )


def _quoted(file: str) -> str:
    """Return the name of a file as it stands in Python."""
    return json.dumps(file, ensure_ascii=False)


def _resizing(data: DataSpec) -> str:
    """Say how images of another size become those of the network, with the line that does the same (`resized`)."""
    side = data.resize
    if data.fit != "stretch":
        shape = {"pad": "centred between black bars", "crop": "cut to the largest square in the middle"}[data.fit]
        return (
            f"Images of another size were brought to {side}x{side} pixels, {shape}, by bilinear interpolation with "
            f'antialiasing, on uint8, rounded: `zoo.data.resized(images, {side}, "{data.fit}")` for NumPy arrays of '
            "the shape (batch, channels, height, width). `zoo predict` does the same."
        )
    return (
        f"Images of another size were brought to {side}x{side} pixels, whatever their shape, by bilinear interpolation "
        "with antialiasing, on uint8, rounded. Do the same, for other ways give other pixels and other predictions:\n\n"
        f"```python\nimport torch\n\n{RESIZING.format(side=side)}\n```\n\n"
        "`images` has the shape (batch, channels, height, width) before and after. `zoo predict` does the same."
    )


def _registry(spec: Spec, registry: Registry) -> str:
    """Return the argument that loads the single-file plugins of a spec; nothing where it needs none."""
    plugins = plugins_used(spec, registry)
    files = sorted(f"{plugin.name}.py" for plugin in plugins if plugin.distribution == SINGLE_FILE)
    listed = ", ".join(f"pathlib.Path({_quoted(file)})" for file in files)
    return f", registry=zoo.Registry(files=[{listed}])" if files else ""


def _recall(chosen: Chosen) -> str:
    run, siblings = chosen.run, chosen.siblings
    rows = ["| part | this network | mean over seeds |", "| --- | --- | --- |"]
    for part in _PARTS:
        own = final_recall(run, part)
        if not math.isnan(own):
            mean, interval = mean_interval([final_recall(sibling, part) for sibling in siblings])
            rows.append(f"| {part} | {own:.4f} | {with_interval(mean, interval)} |")
    seeds = [sibling.key.seed for sibling in siblings]
    how = {
        None: f"the run with seed {run.key.seed}",
        "validation": f"the one of highest recall on the validation part, seed {run.key.seed}",
        "test": f"the one of highest recall on the test images, seed {run.key.seed}",
    }[chosen.selected_on]
    notes = [
        f"Macro recall after {_KEPT[measure_of(run.spec) == 'best']}; ± is half a 95% interval (Student's t) over "
        f"{counted(len(seeds), 'seed')} "
        f"({seed_span(seeds)}). It is about the seed, not about other images. This network is {how}."
    ]
    notes += [chosen.remark] if chosen.remark else []
    return "\n".join(rows) + "\n\n" + "\n\n".join(map(markdown, notes))


_KEPT = {False: "the last epoch", True: "the epoch that was best on the validation part"}


def _length(run: Run) -> str:
    length = in_words(run.spec["training"])
    return f"{counted(len(run.epochs), 'epoch')} (the spec says {length} at most)" if ends_early(run.spec) else length


def _data(run: Run, data: Dataset) -> str:
    parts = {"training": data.train, "validation": data.validation, "test": data.test}
    counts = ", ".join(f"{len(split)} {name}" for name, split in parts.items() if split is not None)
    notes = f" Noted: {'; '.join(map(markdown, data.notes))}." if data.notes else ""
    about = f"{markdown(data.title)} ({code(run.dataset)}): {counts} images."
    return f"{about} SHA-256 of the data as trained on: `{data.digest}`.{notes}"


def _training(chosen: Chosen, registry: Registry) -> str:
    run, provenance, kept = chosen.run, chosen.run.provenance, kept_epoch(chosen.run)
    facts = {
        "seed": run.key.seed,
        "trained for": _length(run),
        "epoch that was kept": "the last" if kept is None or kept is run.epochs[-1] else kept.epoch,
        "precision": run.key.precision,
        "parameters": f"{run.parameters:,}",
        "FLOPs of one image's forward pass": quantity(run.flops),
        "identity of the spec": f"`{run.key.spec}`",
        "SHA-256 of the variants' source": f"`{run.key.source}`",
        "needs": needs(chosen.spec, registry),
        **{
            name: provenance[key]
            for name, key in (
                ("zoo", "zoo"),
                ("torch", "torch"),
                ("Python", "python"),
                ("platform", "platform"),
                ("device", "device_name"),
                ("engine", "engine"),
                ("started", "started"),
                ("starting weights", "starting_weights"),
            )
            if key in provenance
        },
    }
    rows = "\n".join(f"| {name} | {markdown(str(value))} |" for name, value in facts.items())
    by_time = f"{BY_TIME}\n\n" if run.spec["training"].get("minutes") is not None else ""
    return (
        f"| | |\n| --- | --- |\n{rows}\n\n"
        f"{by_time}"
        "The weights of runs are not stored: for this file the run was trained again, and its confusion matrices after "
        "the last epoch are those that were stored."
    )


def needs(spec: Spec, registry: Registry) -> str:
    """Say which distributions, and which single files, the variants of a spec come from."""
    found: dict[str, None] = {}
    for plugin in plugins_used(spec, registry):
        if plugin.distribution == SINGLE_FILE:
            found[f"the single file {plugin.name}.py"] = None
            continue
        try:
            found[f"{plugin.distribution} {version(plugin.distribution)}"] = None
        except PackageNotFoundError:  # a plugin that is on the path without being installed
            found[plugin.distribution] = None
    return ", ".join(found)
