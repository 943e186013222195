"""Activations: elementwise ones, and gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from zoo import Float, NonNegativeFloat, PositiveFloat, Register, changes_channels, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from zoo import Shape


@hookimpl
def zoo_register_activations(register: Register) -> None:
    """Register the activations."""
    register("relu", relu)
    register("leaky_relu", leaky_relu)
    register("prelu", prelu)
    register("rrelu", rrelu)
    register("relu6", relu6)
    register("thresholded_relu", thresholded_relu)
    register("squared_relu", squared_relu)
    register("elu", elu)
    register("celu", celu)
    register("selu", selu)
    register("gelu", gelu)
    register("silu", silu)
    register("mish", mish)
    register("hardswish", hardswish)
    register("softplus", softplus)
    register("sigmoid", sigmoid)
    register("hardsigmoid", hardsigmoid)
    register("log_sigmoid", log_sigmoid)
    register("tanh", tanh)
    register("hardtanh", hardtanh)
    register("tanhshrink", tanhshrink)
    register("softsign", softsign)
    register("softshrink", softshrink)
    register("hardshrink", hardshrink)
    register("glu", glu)
    register("none", identity)


def relu() -> nn.Module:
    """Rectified linear unit: max(0, x).

    Paper: Nair and Hinton, 2010, Rectified linear units improve restricted Boltzmann machines.
    """
    from torch import nn

    return nn.ReLU()


def leaky_relu(*, slope: NonNegativeFloat = 0.01) -> nn.Module:
    """Leaky ReLU: x where x > 0, slope * x elsewhere.

    Paper: Maas, Hannun and Ng, 2013, Rectifier nonlinearities improve neural network acoustic models.
    """
    from torch import nn

    return nn.LeakyReLU(slope)


def prelu(shape: Shape, *, initial: Float = 0.25, per_channel: bool = False) -> nn.Module:
    """Parametric ReLU: x where x > 0, slope * x elsewhere, with a learned slope.

    The slope starts at `initial`; one is learned for the whole layer, or one for each channel (each unit in the
    classifier).

    Paper: He, Zhang, Ren and Sun, 2015, Delving deep into rectifiers (arXiv:1502.01852).
    """
    from torch import nn

    return nn.PReLU(shape[0] if per_channel else 1, init=initial)


def rrelu(*, lower: NonNegativeFloat = 0.125, upper: NonNegativeFloat = 1 / 3) -> nn.Module:
    """Randomized leaky ReLU: x where x > 0, slope * x elsewhere, with a slope drawn for each element.

    The slope is uniform from `lower` to `upper` in training and their mean in evaluation.

    Raises:
        ValueError: `lower` is not below `upper`.

    Paper: Xu et al., 2015, Empirical evaluation of rectified activations in convolutional network (arXiv:1505.00853).
    """
    from zoo_plugins._activations import RReLU

    if lower >= upper:
        raise ValueError(f"lower = {lower} must be below upper = {upper}")
    return RReLU(lower, upper)


def relu6() -> nn.Module:
    """ReLU that saturates at 6: min(max(0, x), 6).

    Paper: Howard et al., 2017, MobileNets (arXiv:1704.04861).
    """
    from torch import nn

    return nn.ReLU6()


def thresholded_relu(*, theta: NonNegativeFloat = 1.0) -> nn.Module:
    """ReLU with a threshold: x where x > theta, 0 elsewhere.

    Paper: Konda et al., 2014, Zero-bias autoencoders and the benefits of co-adapting features (arXiv:1402.3337).
    """
    from torch import nn

    return nn.Threshold(theta, 0.0)


def squared_relu() -> nn.Module:
    """Squared ReLU: max(0, x) squared.

    Paper: So et al., 2021, Primer: searching for efficient transformers for language modeling (arXiv:2109.08668).
    """
    from zoo_plugins._activations import SquaredReLU

    return SquaredReLU()


def elu(*, alpha: PositiveFloat = 1.0) -> nn.Module:
    """Exponential linear unit: x where x > 0, alpha * (exp(x) - 1) elsewhere.

    Paper: Clevert et al., 2016, Fast and accurate deep network learning by exponential linear units (arXiv:1511.07289).
    """
    from torch import nn

    return nn.ELU(alpha)


def celu(*, alpha: PositiveFloat = 1.0) -> nn.Module:
    """Continuously differentiable ELU: x where x > 0, alpha * (exp(x / alpha) - 1) elsewhere.

    Paper: Barron, 2017, Continuously differentiable exponential linear units (arXiv:1704.07483).
    """
    from torch import nn

    return nn.CELU(alpha)


def selu() -> nn.Module:
    """Scaled ELU, whose scale and alpha keep mean 0 and variance 1 from layer to layer.

    Paper: Klambauer, Unterthiner, Mayr and Hochreiter, 2017, Self-normalizing neural networks (arXiv:1706.02515).
    """
    from torch import nn

    return nn.SELU()


def gelu(*, approximate: Literal["none", "tanh"] = "none") -> nn.Module:
    """Gaussian error linear unit: x times the standard normal distribution function of x, or its tanh approximation.

    Paper: Hendrycks and Gimpel, 2016, Gaussian error linear units (arXiv:1606.08415).
    """
    from torch import nn

    return nn.GELU(approximate)


def silu() -> nn.Module:
    """Sigmoid linear unit, also called swish: x * sigmoid(x).

    Paper: Elfwing, Uchibe and Doya, 2018, Sigmoid-weighted linear units (arXiv:1702.03118).
    """
    from torch import nn

    return nn.SiLU()


def mish() -> nn.Module:
    """Mish: x * tanh(softplus(x)).

    Paper: Misra, 2019, Mish: a self regularized non-monotonic activation function (arXiv:1908.08681).
    """
    from torch import nn

    return nn.Mish()


def hardswish() -> nn.Module:
    """Piecewise version of SiLU: x * relu6(x + 3) / 6.

    Paper: Howard et al., 2019, Searching for MobileNetV3 (arXiv:1905.02244).
    """
    from torch import nn

    return nn.Hardswish()


def softplus(*, beta: PositiveFloat = 1.0, threshold: PositiveFloat = 20.0) -> nn.Module:
    """Smooth ReLU: log(1 + exp(beta * x)) / beta.

    Where beta * x > threshold it is x, which keeps the exponential finite.

    Paper: Dugas et al., 2001, Incorporating second-order functional knowledge for better option pricing.
    """
    from torch import nn

    return nn.Softplus(beta, threshold)


def sigmoid() -> nn.Module:
    """Logistic function: 1 / (1 + exp(-x))."""
    from torch import nn

    return nn.Sigmoid()


def hardsigmoid() -> nn.Module:
    """Piecewise linear sigmoid: relu6(x + 3) / 6.

    Paper: Howard et al., 2019, Searching for MobileNetV3 (arXiv:1905.02244).
    """
    from torch import nn

    return nn.Hardsigmoid()


def log_sigmoid() -> nn.Module:
    """Logarithm of the sigmoid: -log(1 + exp(-x))."""
    from torch import nn

    return nn.LogSigmoid()


def tanh() -> nn.Module:
    """Hyperbolic tangent."""
    from torch import nn

    return nn.Tanh()


def hardtanh(*, minimum: Float = -1.0, maximum: Float = 1.0) -> nn.Module:
    """Clipped identity: min(max(minimum, x), maximum).

    Raises:
        ValueError: `minimum` is not below `maximum`.
    """
    from torch import nn

    if minimum >= maximum:
        raise ValueError(f"minimum = {minimum} must be below maximum = {maximum}")
    return nn.Hardtanh(minimum, maximum)


def tanhshrink() -> nn.Module:
    """What the hyperbolic tangent leaves: x - tanh(x)."""
    from torch import nn

    return nn.Tanhshrink()


def softsign() -> nn.Module:
    """Sigmoid-shaped function with slow saturation: x / (1 + abs(x))."""
    from torch import nn

    return nn.Softsign()


def softshrink(*, strength: NonNegativeFloat = 0.5) -> nn.Module:
    """Soft thresholding: x moved towards 0 by `strength`, and 0 where it is nearer.

    Paper: Donoho and Johnstone, 1994, Ideal spatial adaptation by wavelet shrinkage.
    """
    from torch import nn

    return nn.Softshrink(strength)


def hardshrink(*, strength: NonNegativeFloat = 0.5) -> nn.Module:
    """Hard thresholding: x where abs(x) > strength, 0 elsewhere.

    Paper: Donoho and Johnstone, 1994, Ideal spatial adaptation by wavelet shrinkage.
    """
    from torch import nn

    return nn.Hardshrink(strength)


@changes_channels
def glu(shape: Shape) -> nn.Module:
    """Gated linear unit: the first half of the channels times the sigmoid of the second; it halves their number.

    In the classifier these are units.

    Raises:
        ValueError: the number of channels is odd.

    Paper: Dauphin, Fan, Auli and Grangier, 2017, Language modeling with gated convolutional networks
    (arXiv:1612.08083).
    """
    from torch import nn

    if shape[0] % 2:
        what = "channels" if len(shape) == 3 else "units"
        raise ValueError(f"a gated linear unit needs an even number of {what}, of which one half gates the other")
    return nn.GLU(1)


def identity() -> nn.Module:
    """No activation: x itself."""
    from torch import nn

    return nn.Identity()
