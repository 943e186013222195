"""Classes of torch and torchvision, and names of torch's functions, by kind."""

from __future__ import annotations

from torch import nn
from torchvision.ops import FrozenBatchNorm2d

_ACTIVATIONS: tuple[str, ...] = (
    "relu",
    "relu_",
    "relu6",
    "leaky_relu",
    "leaky_relu_",
    "elu",
    "elu_",
    "celu",
    "celu_",
    "selu",
    "selu_",
    "prelu",
    "gelu",
    "silu",
)
_ACTIVATIONS += (
    "mish",
    "hardswish",
    "softplus",
    "tanh",
    "tanh_",
    "hardtanh",
    "hardtanh_",
    "rrelu",
    "rrelu_",
    "softsign",
)
_ACTIVATIONS += ("hardshrink", "softshrink", "tanhshrink", "threshold", "threshold_", "_threshold")

KINDS: dict[str, tuple[type | str, ...]] = {
    "activation": (
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
        nn.Hardswish, nn.Softplus, nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink,
        nn.Threshold, *_ACTIVATIONS,
    ),
    "normalization": (
        nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.InstanceNorm1d,
        nn.InstanceNorm2d,
        nn.LocalResponseNorm, FrozenBatchNorm2d,
        "batch_norm", "group_norm", "layer_norm", "rms_norm", "instance_norm", "local_response_norm",
    ),
    "dropout": (
        nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout,
        "dropout", "dropout_", "dropout1d", "dropout2d", "alpha_dropout", "feature_alpha_dropout",
    ),
    "filter": (nn.Conv2d, "conv2d"),
    "pooling": (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, "max_pool2d", "avg_pool2d", "lp_pool2d"),
}  # fmt: skip
