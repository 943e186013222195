"""Specs of whole architectures that learn the embedded digits in seconds, on a CPU."""

from __future__ import annotations

from typing import Any

from zoo import RegisterSpec, hookimpl

_ADAM = {"name": "adamw", "learning_rate": 0.002}
_SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0005}
SMALL: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "resnet": ("a residual network of 8 layers", {"name": "cifar_resnet", "depth": 8}, _SGD),
    "wide_resnet": ("a wide residual network of 10 layers", {"name": "wide_resnet", "depth": 10, "widening": 1}, _SGD),
    "vgg": ("VGG-11 with an eighth of its filters", {"name": "vgg", "width": 8}, _SGD),
    "vit": (
        "a vision transformer over patches of 2x2",
        {"name": "vit", "patch": 2, "depth": 3, "width": 48, "heads": 3},
        _ADAM,
    ),
    "convnext": (
        "ConvNeXt with two stages of two blocks",
        {"name": "convnext", "patch": 1, "depths": [2, 2], "width": 24},
        _ADAM,
    ),
    "mixer": (
        "an MLP-Mixer over patches of 2x2",
        {"name": "mlp_mixer", "patch": 2, "depth": 3, "width": 48},
        _ADAM,
    ),
}


@hookimpl
def zoo_register_specs(register: RegisterSpec) -> None:
    """Register the family."""
    for name, (what, architecture, optimizer) in SMALL.items():
        register(
            f"small/{name}",
            {
                "description": f"{what}, for the 8x8 digits",
                "network": {"architecture": architecture},
                "training": {
                    # Attention learns the digits more slowly.
                    "epochs": 30 if name == "vit" else 10,
                    "optimizer": optimizer,
                    "schedule": "cosine",
                    "warmup": 0.1,
                },
                "data": {"dataset": "digits", "mean": "train", "std": "train"},
            },
        )
