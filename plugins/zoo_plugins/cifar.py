"""Specs for CIFAR-10 with the recipes and the figures of the publications."""

from __future__ import annotations

from typing import Any

from zoo import RegisterSpec, hookimpl

_HE = "He, Zhang, Ren and Sun, 2016, Deep residual learning for image recognition (arXiv:1512.03385), table 6"
_ZAGORUYKO = "Zagoruyko and Komodakis, 2016, Wide residual networks (arXiv:1605.07146), table 5"
_ACCURACY = "accuracy, which is recall here, for all classes have as many test images"
_ERRORS = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97}
"""Percent of the test images, by the layers of the residual network."""
_WIDE_ERRORS = {(40, 4): 4.53, (16, 8): 4.27, (28, 10): 4.00}
"""Percent of the test images, the median of five runs, by depth and widening, without dropout."""


@hookimpl
def zoo_register_specs(register: RegisterSpec) -> None:
    """Register the family."""
    for depth, error in _ERRORS.items():
        register(f"cifar/resnet{depth}", _resnet(depth, error))
    for (depth, widening), error in _WIDE_ERRORS.items():
        register(f"cifar/wide_resnet{depth}_{widening}", _wide_resnet(depth, widening, error))


def _resnet(depth: int, error: float) -> dict[str, Any]:
    """64,000 steps of 128 images, in which the learning rate falls after 32,000 and 48,000: of section 4.2."""
    return {
        "description": f"the residual network of {depth} layers for CIFAR-10, trained as its authors did",
        "network": {"architecture": {"name": "cifar_resnet", "depth": depth}},
        "training": {
            "epochs": 164,
            "batch_size": 128,
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0001},
            "schedule": {"name": "step", "at": [0.5, 0.75], "factor": 0.1},
            "augmentation": ["horizontal_flip", {"name": "translate", "pixels": 4, "padding": "zeros"}],
        },
        "data": {"dataset": "cifar10", "mean": "train", "std": 1.0},
        "reference": {
            "source": _HE,
            "test_recall": round(1 - error / 100, 4),
            "note": f"{_ACCURACY}; the mean of each pixel was subtracted, not that of each channel",
        },
    }


def _wide_resnet(depth: int, widening: int, error: float) -> dict[str, Any]:
    """200 epochs of 128 images, in which the learning rate falls after 60, 120 and 160.

    The padding is by reflection, as in the authors' code (github.com/szagoruyko/wide-residual-networks).
    """
    return {
        "description": f"the wide residual network {depth}-{widening} for CIFAR-10, trained as its authors did",
        "network": {"architecture": {"name": "wide_resnet", "depth": depth, "widening": widening}},
        "training": {
            "epochs": 200,
            "batch_size": 128,
            "optimizer": {
                "name": "sgd",
                "learning_rate": 0.1,
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 0.0005,
            },
            "schedule": {"name": "step", "at": [0.3, 0.6, 0.8], "factor": 0.2},
            "augmentation": ["horizontal_flip", {"name": "translate", "pixels": 4, "padding": "reflect"}],
        },
        "data": {"dataset": "cifar10", "mean": "train", "std": "train"},
        "reference": {
            "source": _ZAGORUYKO,
            "test_recall": round(1 - error / 100, 4),
            "note": f"{_ACCURACY}; the median of five runs",
        },
    }
