"""The EQ2425 study: ten configurations of a small CNN, its conclusion, and the last network of its notebook.

`eq2425/` repeats what was run, mistakes included; `eq2425-corrected/` gives logits to the loss, turns dropout off in
evaluation and measures recall after the last epoch.

Paper: Liu and Hao, 2021, EQ2425 Analysis and Search of Visual Data, Project 3 (KTH).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo import RegisterSpec, hookimpl

Sets = dict[str, Any]

DESCRIPTIONS = {
    "4a1": "filters 64, 128, 256",
    "4a2": "one more dense layer, of 128 units",
    "4b": "filters of 7x7 and 5x5 in the first two convolutions",
    "4c": "leaky ReLU for every ReLU",
    "4d": "dropout 0.3 between the dense layers",
    "4e": "batch normalization after each convolution, before the activation",
    "5a": "batch size 256",
    "5b": "learning rate 0.1",
    "5c": "images shuffled in each epoch",
    "conclusion": "what the report concludes: 4a1, 4c, 4d, 4e and 5c together",
}

# Recall on the training images, on the test images (which the report calls validation recall), runtime.
REFERENCES: dict[str, tuple[float, float, str | None]] = {
    "4a1": (0.6635, 0.5713, None),
    "4a2": (0.5599, 0.4956, None),
    "4b": (0.5900, 0.5126, None),
    "4c": (0.6310, 0.5329, None),
    "4d": (0.6105, 0.5379, None),
    "4e": (0.8574, 0.6633, None),
    "5a": (0.3700, 0.3606, "1h47min"),
    "5b": (0.1007, 0.1011, "2h1min"),
    "5c": (0.6588, 0.5434, "3h31min"),
}


def changes(*, always_on: bool) -> dict[str, Sets]:
    """Return the study's changes by their codes.

    Args:
        always_on: dropout stays active in evaluation, as in the study's notebook.
    """
    single: dict[str, Sets] = {
        "4a1": {f"network.features.{i}.filters": filters for i, filters in enumerate((64, 128, 256))},
        "4a2": {"network.classifier.+": {"units": 128}},
        "4b": {"network.features.0.filter.size": 7, "network.features.1.filter.size": 5},
        "4c": {"activation": "leaky_relu"},
        "4d": {"network.classifier.0.dropout": {"name": "dropout", "rate": 0.3, "always_on": always_on}},
        "4e": {"network.features.*.normalization": "batch"},
        "5a": {"training.batch_size": 256},
        "5b": {"training.optimizer.learning_rate": 0.1},
        "5c": {"training.shuffle": True},
    }
    together = {path: value for code in ("4a1", "4c", "4d", "4e", "5c") for path, value in single[code].items()}
    return {**single, "conclusion": together}


@hookimpl
def zoo_register_specs(register: RegisterSpec) -> None:
    """Register the study's two families."""
    corrected = {"training.loss": "cross_entropy", "evaluation.measure": "final"}

    register("eq2425/default", Path(__file__).with_name("eq2425.toml"))
    register_changes(register, "eq2425", changes(always_on=True), REFERENCES)
    register(
        "eq2425/notebook",
        {
            "base": "eq2425/conclusion",
            "description": "the last network of the study's notebook: the conclusion with batch size 256",
            "set": {"training.batch_size": 256},
            "reference": {
                "source": "EQ2425 notebook",
                "note": "training loss 2.280 and 2.219, test recall 0.257 and 0.317 after epochs 1 and 2",
            },
        },
    )
    register(
        "eq2425-corrected/default",
        {
            "base": "eq2425/default",
            "description": "the study's default, corrected: logits to the loss, macro recall after the last epoch",
            "set": corrected,
        },
    )
    register_changes(register, "eq2425-corrected", changes(always_on=False))


def register_changes(
    register: RegisterSpec,
    family: str,
    sets: dict[str, Sets],
    references: dict[str, tuple[float, float, str | None]] | None = None,
) -> None:
    """Register one spec for each change, derived from the family's default."""
    for code, change in sets.items():
        spec: dict[str, Any] = {"base": f"{family}/default", "description": DESCRIPTIONS[code], "set": change}
        if references and code in references:
            train, test, runtime = references[code]
            spec["reference"] = {
                "source": "EQ2425 project report, 2021",
                "train_recall": train,
                "test_recall": test,
                **({"runtime": runtime} if runtime else {}),
            }
        register(f"{family}/{code}", spec)
