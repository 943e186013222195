"""Activations as functions of one number, with their derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo import torch_settings
from zoo.errors import is_interruption
from zoo.registry import Variant
from zoo.report import plots
from zoo.report.drawing import Plot, file_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_REACH = 4.0
_POINTS = 401


def plot(variant: Variant) -> Plot | None:
    """Return the plot of an activation and its derivative, as they are in evaluation; None where it is no function."""
    from torch.random import fork_rng

    try:
        with torch_settings.kept(), fork_rng(devices=[]):
            found = _values(variant)
    except BaseException as error:  # it is a plugin's code
        if is_interruption(error):
            raise
        return None
    if found is None:
        return None
    x, y, slope = found

    def draw(ax: Axes) -> Axes:
        ax = plots.given_or_new(ax, 2.6)
        for (color, line, _), values in zip(plots.STYLES, (y, slope), strict=False):
            ax.plot(x, values, color=color, linestyle=line)
        ends = zip(plots.STYLES, ("function", "derivative"), (y, slope), strict=False)
        plots.label_right(ax, [(float(x[-1]), float(values[-1]), name, style[0]) for style, name, values in ends])
        ax.axhline(0, color=plots.GREY, linewidth=0.5)
        ax.axvline(0, color=plots.GREY, linewidth=0.5)
        ax.set_xlabel("input")
        return ax

    return Plot(
        file_name(f"function-{variant.name}"),
        draw,
        2.6,
        f"{variant.name} with its default options, in evaluation.",
        f"The function is {y[0]:.3g} at {-_REACH:g}, {y[_POINTS // 2]:.3g} at 0 and {y[-1]:.3g} at {_REACH:g}.",
    )


def _values(variant: Variant) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Return inputs, outputs and slopes; None where an output depends on the other inputs, or is not finite."""
    import torch

    torch.manual_seed(0)
    options = variant.options()
    named = {field.name: getattr(options, field.name) for field in attrs.fields(variant.options)}
    module = variant.make(named, shape=(1,), index=0, count=1).eval()
    x = torch.linspace(-_REACH, _REACH, _POINTS)[:, None].requires_grad_()
    y = module(x)
    if y.shape != x.shape or not torch.allclose(module(x.flip(0)).flip(0), y):
        return None
    (slope,) = torch.autograd.grad(y.sum(), x)
    if not (y.isfinite().all() and slope.isfinite().all()):
        return None
    first, second, third = (values.detach()[:, 0].double().numpy() for values in (x, y, slope))
    return first, second, third
