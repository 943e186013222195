"""The gallery's studies: each variant of the most used kinds against the kind's usual one, many seeds each."""

from __future__ import annotations

from typing import Any

from zoo import RegisterSpec, RegisterStudy, hookimpl

Sets = dict[str, Any]

_RATES = {
    "adafactor": 0.01,
    "adahessian": 0.1,
    "adam": 0.001,
    "adamw": 0.001,
    "adan": 0.001,
    "lamb": 0.001,
    "lion": 0.0001,
    "muon": 0.02,
    "rmsprop": 0.01,
    "sam": 0.01,
    "schedule_free_adamw": 0.0025,
    "schedule_free_sgd": 0.1,
    "sgd": 0.01,
}
"""The learning rate that each optimizer has unless a spec states one."""
_FACTORS = {"a third": 1 / 3, "default": 1.0, "three times": 3.0, "ten times": 10.0}
"""What it is multiplied by, the same for all, so that none is tuned more than others."""


@hookimpl
def zoo_register_specs(register: RegisterSpec) -> None:
    """Register the two networks for photographs: without normalization, and with it."""
    register(
        "gallery/plain",
        {
            "description": "three convolutions for photographs of 16x16, without normalization",
            "network": {
                "features": [{"filters": filters} for filters in (12, 24, 48)],
                "classifier": [{"units": 64}],
                "defaults": {
                    "filter": {"name": "conv", "size": 3, "padding": "same"},
                    "pooling": {"name": "max", "size": 2},
                },
            },
            "training": {
                "epochs": 10,
                "batch_size": 64,
                "optimizer": {"name": "sgd", "learning_rate": 0.03, "momentum": 0.9},
                "schedule": "cosine",
            },
            "data": {"dataset": "cifar10", "limit": 4000, "resize": 16, "mean": "train", "std": "train"},
            "evaluation": {"every": 5},
        },
    )
    register(
        "gallery/normalized",
        {
            "base": "gallery/plain",
            "description": "three convolutions for photographs of 16x16, with batch normalization",
            "set": {"network.features.*.normalization": "batch"},
        },
    )


@hookimpl
def zoo_register_studies(register: RegisterStudy) -> None:
    """Register them."""
    activation = {"activation": {"every": "activation"}}
    normalization = {"normalization": {"every": "normalization", "path": "network.features.*.normalization"}}
    whitening = {"first filter": {"levels": {"whitening": {"network.features.0.filter": "whitening"}}}}
    for name, what, base, seeds, changes in (
        ("activations", "every activation", "starter/4e", 20, activation),
        ("normalizations", "every normalization", "starter/default", 20, normalization),
        ("dropouts", "every dropout", "starter/4e", 20, _dropouts()),
        ("poolings", "every pooling", "starter/4e", 20, _poolings()),
        ("filters", "every filter that takes maps of any size", "starter/4e", 20, _filters()),
        ("optimizers", "every optimizer at four learning rates", "starter/4e", 20, _optimizers()),
        ("activations-photographs", "every activation", "gallery/normalized", 5, activation),
        ("normalizations-photographs", "every normalization", "gallery/plain", 5, normalization),
        ("filters-photographs", "every filter", "gallery/normalized", 5, {**_filters(), **whitening}),
    ):
        register(
            f"gallery/{name}",
            {
                "description": f"{what} in place of that of {base}: what the gallery shows",
                "base": base,
                "seeds": seeds,
                "changes": changes,
            },
        )


def _dropouts() -> dict[str, Sets]:
    """Dropouts of maps after the first block, whose maps are the largest, and of values before the last layer."""
    return {
        "dropout": {"every": "dropout", "path": "network.features.0.dropout"},
        "dense dropout": {
            "levels": {name: {"network.classifier.0.dropout": name} for name in ("dropout", "alpha")},
        },
    }


def _poolings() -> dict[str, Sets]:
    """What can stand at each block, and what would leave too much or too little anywhere but at the last."""
    everywhere = ("average", "blur", "concat", "lp", "strided_convolution")
    return {
        "pooling": {"levels": {name: {"network.features.*.pooling": name} for name in everywhere}},
        "last pooling": {
            "levels": {name: {"network.features.2.pooling": name} for name in ("global_average", "none")},
        },
    }


def _filters() -> dict[str, Sets]:
    """Filters at each block, of its own size."""
    names = ("asymmetric", "depthwise_separable", "weight_standardized")
    return {"filter": {"levels": {name: {"network.features.*.filter": name} for name in names}}}


def _optimizers() -> dict[str, Sets]:
    """Each optimizer at the same multiples of its own learning rate; SGD with the momentum that it has in the base."""
    return {
        name: {
            "levels": {
                words: {
                    "training.optimizer": {
                        "name": name,
                        "learning_rate": float(f"{rate * factor:.2g}"),
                        **({"momentum": 0.9} if name == "sgd" else {}),
                    }
                }
                for words, factor in _FACTORS.items()
            }
        }
        for name, rate in _RATES.items()
    }
