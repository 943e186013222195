"""What `zoo data show` says of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.report import layout

if TYPE_CHECKING:
    from zoo.data.duplicates import Twins
    from zoo.data.prepare import Prepared

_PARTS = ("train", "validation", "test")
_MOST_PAIRS = 10


def record(name: str, data: Prepared, same: Sequence[Twins], similar: Sequence[Twins]) -> dict[str, Any]:
    """Return it as plain data.

    Args:
        name: of the data set.
        data: its images.
        same: images that are training images, pixel for pixel.
        similar: others that look like a training image.
    """
    counts = {
        part: [int((data.parts[part][1] == label).sum()) for label in range(len(data.classes))]
        for part in _PARTS
        if part in data.parts
    }
    channels, height, width = data.parts["train"][0].shape[1:]
    return {
        "dataset": name,
        "digest": data.digest,
        "channels": channels,
        "height": height,
        "width": width,
        "images": {part: sum(of_part) for part, of_part in counts.items()},
        "classes": [
            {"name": one, **{part: of_part[label] for part, of_part in counts.items()}}
            for label, one in enumerate(data.classes)
        ],
        "notes": list(data.notes),
        "duplicates": [_pair(twins, data) for twins in same],
        "alike": [_pair(twins, data) for twins in similar],
    }


def _pair(twins: Twins, data: Prepared) -> dict[str, Any]:
    return {
        "part": twins.part,
        "image": _called(twins.part, twins.index, data),
        "training_image": _called("train", twins.train, data),
        "same_class": twins.same_label,
    }


def _called(part: str, index: int, data: Prepared) -> str:
    """Return the name of an image's file, or else its place."""
    if part in data.names:
        return data.names[part][index]
    return f"{part} image {index} ({data.classes[data.parts[part][1][index]]})"


def text(shown: Mapping[str, Any]) -> str:
    """Return for people what `record` returns."""
    from zoo.data.duplicates import NEAR

    parts = list(shown["images"])
    rows = [[one["name"], *(f"{one[part]:,}" for part in parts)] for one in shown["classes"]]
    rows.append(["in all", *(f"{shown['images'][part]:,}" for part in parts)])
    form = f"{shown['channels']}x{shown['height']}x{shown['width']}"
    blocks = [
        f"{shown['dataset']}: images of {form} (channels, height, width), {len(shown['classes'])} classes",
        layout.table(rows, headers=["class", *parts], align=["left", *["right"] * len(parts)], wrap=0),
    ]
    if shown["notes"]:
        blocks.append("\n".join(f"Note: {note}." for note in shown["notes"]))
    if len(parts) > 1:
        blocks.append(_pairs("are training images, too, pixel for pixel", shown["duplicates"]))
        blocks.append(
            _pairs(f"look like a training image (hashes of 64 bits that differ in at most {NEAR})", shown["alike"])
        )
    return "\n\n".join(blocks)


def _pairs(what: str, pairs: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"Images of other parts that {what}: {len(pairs):,}"]
    for pair in pairs[:_MOST_PAIRS]:
        other = "" if pair["same_class"] else " (of another class)"
        lines.append(f"  {pair['image']} = {pair['training_image']}{other}")
    if len(pairs) > _MOST_PAIRS:
        lines.append(f"  and {len(pairs) - _MOST_PAIRS:,} more: --json has all")
    return "\n".join(lines)
