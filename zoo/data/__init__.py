"""A data set by name: decoded once, kept memory-mapped in a cache, moved to the device once as uint8."""

from zoo.data.cache import Holding, cache_dir, data_dir, discard, holdings, named, scratch, size_on_disk
from zoo.data.dataset import Dataset, Split, load
from zoo.data.prepare import resized
from zoo.data.sources import Arrays, Described, Source, files_fingerprint, source, takes_path, why_missing

__all__ = [
    "Arrays",
    "Dataset",
    "Described",
    "Holding",
    "Source",
    "Split",
    "cache_dir",
    "data_dir",
    "discard",
    "files_fingerprint",
    "holdings",
    "load",
    "named",
    "resized",
    "scratch",
    "size_on_disk",
    "source",
    "takes_path",
    "why_missing",
]
