"""A data set by name: decoded once, kept memory-mapped in a cache, moved to the device once as uint8."""

from zoo.data.cache import Holding, data_dir, discard, holdings, named, size_on_disk
from zoo.data.dataset import Dataset, Split, load, read
from zoo.data.folders import cache_dir, scratch
from zoo.data.images import ImageFile, dead_link, decode_files, is_dead_link, is_image
from zoo.data.names import one_spelling, spelling_notes
from zoo.data.options import Options
from zoo.data.resizing import resized
from zoo.data.resplit import as_trained_on
from zoo.data.room import decoding_told
from zoo.data.sources import (
    Arrays,
    Described,
    OwnFiles,
    Parted,
    Source,
    files_fingerprint,
    has_validation,
    source,
    takes_path,
    why_missing,
)
from zoo.data.splits import split

__all__ = [
    "Arrays",
    "Dataset",
    "Described",
    "Holding",
    "ImageFile",
    "Options",
    "OwnFiles",
    "Parted",
    "Source",
    "Split",
    "as_trained_on",
    "cache_dir",
    "data_dir",
    "dead_link",
    "decode_files",
    "decoding_told",
    "discard",
    "files_fingerprint",
    "has_validation",
    "holdings",
    "is_dead_link",
    "is_image",
    "load",
    "named",
    "one_spelling",
    "read",
    "resized",
    "scratch",
    "size_on_disk",
    "source",
    "spelling_notes",
    "split",
    "takes_path",
    "why_missing",
]
