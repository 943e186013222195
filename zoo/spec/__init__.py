"""What a spec says: its fields, how it is read, paths into it, and how a name becomes a resolved spec."""

from zoo.spec.fields import (
    SECTIONS,
    Block,
    DataSpec,
    Dense,
    DensePart,
    EvaluationSpec,
    NetworkSpec,
    Part,
    Reference,
    Spec,
    TrainingSpec,
    canonical_json,
    chosen,
    unstructure,
)
from zoo.spec.reading import check_keys, describe_type, merge, read_as, read_toml, split_path, structure

__all__ = [
    "SECTIONS",
    "Block",
    "DataSpec",
    "Dense",
    "DensePart",
    "EvaluationSpec",
    "NetworkSpec",
    "Part",
    "Reference",
    "Spec",
    "TrainingSpec",
    "canonical_json",
    "check_keys",
    "chosen",
    "describe_type",
    "merge",
    "read_as",
    "read_toml",
    "split_path",
    "structure",
    "unstructure",
]
