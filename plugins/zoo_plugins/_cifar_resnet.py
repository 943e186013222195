"""The residual networks for CIFAR-10, of torchvision's basic blocks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

_STAGES = 3


class EverySecond(nn.Module):
    """Every second row and column, with channels of zeros before and after: a shortcut without parameters."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.before = (filters - channels) // 2
        self.after = filters - channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, filters, height / 2, width / 2), rounded up."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class CifarResNet(nn.Module):
    """A convolution, three stages of blocks, and a dense layer after the mean over all places."""

    def __init__(self, channels: int, classes: int, depth: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        blocks = (depth - 2) // (2 * _STAGES)
        widths = [width, *(width * 2**stage for stage in range(_STAGES))]
        self.stages = nn.Sequential(
            *(_stage(widths[stage], widths[stage + 1], blocks, first=stage == 0) for stage in range(_STAGES))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to logits (batch, classes)."""
        x = self.stages(self.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(self.pool(x).flatten(1))
        return logits


def _stage(channels: int, filters: int, blocks: int, *, first: bool) -> nn.Sequential:
    begin = BasicBlock(channels, filters) if first else BasicBlock(channels, filters, 2, EverySecond(channels, filters))
    return nn.Sequential(begin, *(BasicBlock(filters, filters) for _ in range(blocks - 1)))
