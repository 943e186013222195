"""Loss scaling: gradients of float16 are computed of a loss that is so large that few of them become 0."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer


class LossScaling:
    """What the loss of a training in fp16 is multiplied by, and the steps that are left out for it.

    It is torch's `GradScaler`: a step whose gradients are not finite is left out and halves the scale, and 2,000 steps
    in a row that are made double it. A step that is left out changes neither a parameter nor the optimizer's state.

    Attributes:
        tensors: what is saved with a run, by name: the scale, and how many steps in a row were made.
    """

    def __init__(self, device: torch.device) -> None:
        # Stated, for they decide figures, and torch's defaults may change.
        self._scaler = torch.amp.GradScaler(
            device.type, init_scale=2.0**16, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000
        )
        self._tensors = {"scale": torch.zeros(()), "steps": torch.zeros((), dtype=torch.int64)}

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """What is saved with a run, by name; always the same tensors."""
        state = self._scaler.state_dict()
        self._tensors["scale"].fill_(state["scale"])
        self._tensors["steps"].fill_(state["_growth_tracker"])
        return self._tensors

    def restored(self) -> None:
        """Go on from what the tensors were brought to."""
        scale, steps = self._tensors["scale"].item(), int(self._tensors["steps"].item())
        self._scaler.load_state_dict({**self._scaler.state_dict(), "scale": scale, "_growth_tracker": steps})

    def scaled(self, loss: Tensor) -> Tensor:
        """Return a loss to compute gradients of."""
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def unscale(self, optimizer: Optimizer) -> None:
        """Make the gradients those of the loss itself."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Make the step that unscaled gradients are for, or leave it out where one of them was not finite."""
        # A fused optimizer would be called all the same, to leave its step out on the device: by then its state is
        # made, and SGD's momentum of whatever was in that memory.
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        self._scaler.step(optimizer)
        self._scaler.update()
