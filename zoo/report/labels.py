"""Names by which rows of one table can be told apart, although their specs have one name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

_MOST_DIFFERENCES = 3
_DIGEST_LENGTH = 7
Path = tuple[str, ...]

IN_COLUMNS: tuple[Path, ...] = (("training", "epochs"), ("evaluation", "measure"))
"""What differs in a spec and has a column of its own in the table of results."""
_IN_HEADING = ("data", "dataset")
"""All rows are of one data set, which may be spelled in several ways."""


def distinct(
    names: Sequence[str],
    specs: Sequence[Mapping[str, Any]],
    digests: Sequence[str],
    *,
    in_columns: Sequence[Path] = IN_COLUMNS,
) -> list[str]:
    """Return the names, those that occur more than once followed by what sets them apart.

    That is what the specs of that name do not share, "starter/default (learning_rate=0.02)", or the beginning of the
    digest where that is too much to say or does not tell all of them apart.

    Args:
        names: of the specs.
        specs: the resolved specs as plain data.
        digests: of all in which rows of one name may differ, besides what has columns.
        in_columns: paths of what has columns of its own.
    """
    rows_by_name: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows_by_name[name].append(row)
    labels = list(names)
    for name, rows in rows_by_name.items():
        found = differences([specs[row] for row in rows], in_columns)
        if all(found):
            for row, difference in zip(rows, found, strict=True):
                labels[row] = f"{name} ({difference})"
    seen = [
        (label, *(spec[section][field] for section, field in in_columns))
        for label, spec in zip(labels, specs, strict=True)
    ]
    count = Counter(seen)
    return [
        f"{label} #{digest[:_DIGEST_LENGTH]}" if count[row] > 1 else label
        for label, row, digest in zip(labels, seen, digests, strict=True)
    ]


def differences(specs: Sequence[Mapping[str, Any]], in_columns: Sequence[Path]) -> list[str]:
    """Return for each spec the values that not all of them share; nothing where those are too many to read."""
    flat = [dict(_leaves(spec, ())) for spec in specs]
    paths = dict.fromkeys(path for leaves in flat for path in leaves)
    missing = object()
    differing = [
        path
        for path in paths
        if path not in (*in_columns, _IN_HEADING) and len({repr(leaves.get(path, missing)) for leaves in flat}) > 1
    ]
    texts = [
        list(dict.fromkeys(f"{_last_word(path)}={leaves[path]}" for path in differing if path in leaves))
        for leaves in flat
    ]
    return [", ".join(text) if len(text) <= _MOST_DIFFERENCES else "" for text in texts]


def _leaves(node: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(node, Mapping):
        children = [(str(key), child) for key, child in node.items()]
    elif isinstance(node, list | tuple):
        children = [(str(index), child) for index, child in enumerate(node)]
    else:
        return [(path, node)]
    return [leaf for key, child in children for leaf in _leaves(child, (*path, key))]


def _last_word(path: tuple[str, ...]) -> str:
    """Return the word of a path that a reader knows the value by: that of the slot, not of a choice's name."""
    words = [step for step in path if not step.isdigit()]
    return words[-2] if words[-1] == "name" and len(words) > 1 else words[-1]
