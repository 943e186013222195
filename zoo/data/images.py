"""From image files to pixels: the one way in which files are read, to train on them and to predict from them."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo.data import room
from zoo.data.resizing import Fit, resized
from zoo.errors import DataError, setting

if TYPE_CHECKING:
    from PIL import Image

_DEEP_MODES = ("I", "F")
_AT_ONCE = 512
"""Files that are held encoded while they are decoded."""

# What may be found in an image file and is handled, as it is said in the notes.
GREY = "grey images made colour"
_FRAMES = "images with several frames, of which the first was taken"
_TRANSPARENT = "images with transparent parts laid on black"
_PALETTE = "palette images made colour"
_OTHER_COLOURS = "images in another colour space made RGB"
_TURNED = "images turned as their camera's orientation tag says"
_SIXTEEN_BITS = "images of 16 bits for each colour, of which the upper 8 were taken"
_ORIENTATION = 0x0112
_NOWHERE = logging.NullHandler()


class ImageFile(NamedTuple):
    """An image's name for people, and its file: a path, or what a file holds."""

    name: str
    content: str | bytes


@attrs.frozen(eq=False)
class Decoded:
    """What files were decoded to.

    Attributes:
        images: (images, channels, height, width), uint8; grey where all files are, else RGB.
        kept: (files,), whether a file is among the images; only damaged ones are not.
        damaged: of each file that is left out, why.
        notes: what was found and handled, for people.
    """

    images: NDArray[np.uint8]
    kept: NDArray[np.bool_]
    damaged: tuple[str, ...]
    notes: tuple[str, ...]


class _DamagedError(DataError):
    """A file cannot be read as an image."""


@cache
def image_extensions() -> frozenset[str]:
    """Return the endings of the names of files that can be read, such as ".jpg"."""
    from PIL import Image

    Image.init()
    return frozenset(extension for extension, kind in Image.EXTENSION.items() if kind in Image.OPEN)


def decode_files(
    files: Iterable[ImageFile],
    count: int,
    *,
    resize: int | tuple[int, int] | None = None,
    fit: Fit = "stretch",
    skip_damaged: bool = False,
) -> Decoded:
    """Decode files to images of one size.

    Args:
        files: of which few are held at once.
        count: how many there are.
        resize: the side, or height and width, in pixels that each image is brought to.
        fit: how, see `resized`.
        skip_damaged: leave out files that cannot be read, rather than raise.

    Raises:
        DataError: a file cannot be read, or has more than 8 bits for a grey pixel, or images differ in size and
            `resize` is not given, or all are damaged; names the file.
    """
    so_far = room.Decoding.of(count)

    # Not in the threads, which do not know whether a command or Python is answered.
    remedy = setting("data.resize", 32)
    leaving_out = setting("data.skip_damaged", True)

    def decode(index: int, file: ImageFile) -> set[str]:
        try:
            pixels, found, _ = decode_file(file, resize, fit)
        except _DamagedError as error:
            if not skip_damaged:
                raise DataError(f"{error}. `{leaving_out}` leaves such files out") from error
            so_far.damaged[index] = str(error)
            return set()
        assert so_far.images is not None
        if pixels.shape != so_far.images.shape[1:]:
            raise DataError(
                f"images differ in size: {so_far.first} is {_size(so_far.images)} pixels, {file.name} is "
                f"{_size(pixels)}; `{remedy}` brings all to 32x32"
            )
        so_far.images[index] = pixels
        return found

    try:
        with quiet(), ThreadPoolExecutor() as pool:
            for start, batch in _batches(files):
                if start < so_far.done:
                    continue
                if so_far.images is None:
                    shape, first = _first_shape(batch, resize, fit, skip_damaged)
                    if shape is not None:
                        so_far.begin(shape, first)
                indices = range(start, start + len(batch))
                if so_far.images is None:  # none of the batch can be read
                    so_far.damaged |= zip(indices, map(_why_damaged, batch), strict=True)
                else:
                    facts = Counter(fact for found in pool.map(decode, indices, batch) for fact in found)
                    so_far.facts += facts
                so_far.advance(start + len(batch))
    except BaseException as error:
        if not isinstance(error, Exception):  # the process is stopped
            so_far.save()
        raise
    return _decoded(so_far)


def _decoded(so_far: room.Decoding) -> Decoded:
    """Return what all files were decoded to, without those that are damaged, in grey if all are."""
    images, damaged, facts = so_far.images, so_far.damaged, so_far.facts
    if images is None:
        raise DataError(f"none of the {so_far.count} images can be read: {damaged[0] if damaged else 'there is none'}")
    kept = np.ones(so_far.count, bool)
    kept[list(damaged)] = False
    number = int(kept.sum())
    # All three channels of a grey image are equal.
    grey = facts[GREY] == number
    notes = tuple(f"{fact}: {many}" for fact, many in sorted(facts.items()) if fact != GREY or not grey)
    why = tuple(damaged[index] for index in sorted(damaged))
    return Decoded(room.taken(images, np.flatnonzero(kept), channels=1 if grey else None), kept, why, notes)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what Pillow says of damaged metadata from people: that an image cannot be read is an error of its own.

    Not for each file, as warnings are a setting of the whole process.
    """
    # Python prints what is logged where nobody has said what becomes of it.
    logging.getLogger("PIL").addHandler(_NOWHERE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _batches(files: Iterable[ImageFile]) -> Iterator[tuple[int, list[ImageFile]]]:
    rest, start = iter(files), 0
    while batch := list(islice(rest, _AT_ONCE)):
        yield start, batch
        start += len(batch)


def _first_shape(
    batch: list[ImageFile], resize: int | tuple[int, int] | None, fit: Fit, skip_damaged: bool
) -> tuple[tuple[int, ...] | None, str]:
    """Return the shape and the name of the first file that can be read."""
    for file in batch:
        try:
            return decode_file(file, resize, fit)[0].shape, file.name
        except _DamagedError as error:
            if not skip_damaged:
                leaving_out = setting("data.skip_damaged", True)
                raise DataError(f"{error}. `{leaving_out}` leaves such files out") from error
    return None, ""


def _why_damaged(file: ImageFile) -> str:
    try:
        decode_file(file, None, "stretch")
    except DataError as error:
        return str(error)
    return f"{file.name} cannot be read as an image"


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[-1]}x{pixels.shape[-2]}"


def decode_file(
    file: ImageFile, resize: int | tuple[int, int] | None, fit: Fit
) -> tuple[NDArray[np.uint8], set[str], tuple[int, int]]:
    """Decode one file to RGB, (3, height, width), with what was found in it, and the height and width that it had.

    Raises:
        DataError: it cannot be read, or has more than 8 bits for a grey pixel.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file.content if isinstance(file.content, str) else io.BytesIO(file.content)) as image:
            if image.mode.partition(";")[0] in _DEEP_MODES:
                raise DataError(
                    f"{file.name} has more than 8 bits for each pixel (Pillow's mode {image.mode}): convert it"
                )
            found = _facts(image)
            turned = ImageOps.exif_transpose(image) if _TURNED in found else image
            opaque = _on_black(turned) if _TRANSPARENT in found else turned
            pixels = np.asarray(opaque.convert("RGB")).transpose(2, 0, 1)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        # Pillow calls what is no file by its address in memory.
        why = str(error) if isinstance(file.content, str) else str(error).partition(" <_io.BytesIO")[0]
        if isinstance(file.content, str) and is_dead_link(file.content):
            raise _DamagedError(dead_link(file.content)) from None
        if isinstance(error, FileNotFoundError):
            raise _DamagedError(f"{file.name}: there is no such file") from None
        raise _DamagedError(f"{file.name} cannot be read as an image: {why}") from error
    size = (pixels.shape[1], pixels.shape[2])
    return (pixels if resize is None else resized(pixels[np.newaxis], resize, fit)[0]), found, size


def _on_black(image: Image.Image) -> Image.Image:
    from PIL import Image

    return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))


def _facts(image: Image.Image) -> set[str]:
    facts = {
        GREY: image.mode in ("1", "L", "LA", "La"),
        _PALETTE: image.mode in ("P", "PA"),
        _TRANSPARENT: image.getbands()[-1] in ("A", "a") or "transparency" in image.info,
        _OTHER_COLOURS: image.mode in ("CMYK", "YCbCr", "LAB", "HSV"),
        # Pillow reads them to 8 bits without a word; only the name of the raw mode tells.
        _SIXTEEN_BITS: any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())),
        _FRAMES: getattr(image, "is_animated", False),
        _TURNED: image.getexif().get(_ORIENTATION, 1) not in (0, 1),
    }
    return {fact for fact, holds in facts.items() if holds}


def is_dead_link(path: str) -> bool:
    """Tell whether a path is a link to what is not there."""
    return os.path.islink(path) and not os.path.exists(path)


def dead_link(path: str) -> str:
    """Say of a link that it leads nowhere, and what to do."""
    return f"{path} is a link to {os.readlink(path)}, which is not there; bring that back, or remove the link"


def is_image(path: str) -> bool:
    """Tell by its name whether a file is an image that can be read; hidden ones are an editor's or a system's."""
    name = os.path.basename(path)
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in image_extensions()
