"""A contact sheet: some images of each class, to see what a data set holds."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from zoo.data.prepare import Prepared
from zoo.data.resizing import resized

_LARGEST, _SMALLEST = 128, 32
_GAP = 4
_LETTER = 7
"""Width of a letter of Pillow's own font, in pixels, about."""


def contact_sheet(prepared: Prepared, *, per_class: int = 10, classes: int = 100) -> bytes:
    """Return a PNG with a row for each class: its name, and training images from all over the data set.

    Args:
        prepared: the data set.
        per_class: how many images of each class.
        classes: how many classes, the first ones.
    """
    from PIL import Image, ImageDraw

    images, labels = prepared.parts["train"]
    names = [name.encode("latin-1", "replace").decode("latin-1") for name in prepared.classes[:classes]]
    margin = max(map(len, names)) * _LETTER + 2 * _GAP
    cell = _cell(images[:1]).shape[:2]
    width = margin + per_class * (cell[1] + _GAP)
    sheet = Image.new("RGB", (width, len(names) * (cell[0] + _GAP) + _GAP), "white")
    drawn = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        top = _GAP + row * (cell[0] + _GAP)
        drawn.text((_GAP, top), name, fill="black")
        places = np.flatnonzero(labels == row)
        chosen = places[np.unique(np.linspace(0, len(places) - 1, min(per_class, len(places))).round().astype(int))]
        for column, index in enumerate(chosen):
            shown = Image.fromarray(_cell(images[index : index + 1]))
            sheet.paste(shown, (margin + column * (cell[1] + _GAP), top))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _cell(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return one image as (height, width, 3), large enough to be seen and small enough for many."""
    height, width = images.shape[2:]
    side = max(height, width)
    if side > _LARGEST:
        shape = (max(1, height * _LARGEST // side), max(1, width * _LARGEST // side))
        images = resized(images, shape)
    elif side < _SMALLEST:
        times = -(-_SMALLEST // side)
        images = images.repeat(times, axis=2).repeat(times, axis=3)
    return np.ascontiguousarray(np.broadcast_to(images[0], (3, *images.shape[2:])).transpose(1, 2, 0))
