"""The MLP-Mixer."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import MLP

_TOKENS_RATIO, _CHANNELS_RATIO = 0.5, 4


class MixerBlock(nn.Module):
    """Dense layers over the patches, then over the channels, each beside a shortcut."""

    def __init__(self, tokens: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.over_patches = _mlp(tokens, max(1, int(_TOKENS_RATIO * width)), dropout)
        self.norm2 = nn.LayerNorm(width)
        self.over_channels = _mlp(width, _CHANNELS_RATIO * width, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, patches, channels) to the same shape."""
        x = x + self.over_patches(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = x + self.over_channels(self.norm2(x))
        return mixed


class MlpMixer(nn.Module):
    """Patches as tokens, blocks that mix them, and a dense layer after the mean over all patches."""

    def __init__(
        self, input_shape: tuple[int, int, int], classes: int, patch: int, depth: int, width: int, dropout: float
    ) -> None:
        channels, height, side = input_shape
        if height % patch or side % patch:
            raise ValueError(f"patch = {patch} does not divide images of {height}x{side}")
        super().__init__()
        tokens = (height // patch) * (side // patch)
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.blocks = nn.Sequential(*(MixerBlock(tokens, width, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to logits (batch, classes)."""
        x = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
        logits: Tensor = self.fc(self.norm(x).mean(1))
        return logits


def _mlp(size: int, hidden: int, dropout: float) -> nn.Module:
    mlp: nn.Module = MLP(size, [hidden, size], activation_layer=nn.GELU, inplace=None, dropout=dropout)
    return mlp
