"""Wide residual networks, normalized before each filter."""

from __future__ import annotations

from torch import Tensor, nn

_STAGES = (16, 32, 64)


class WideBlock(nn.Module):
    """Two rounds of normalization, activation and 3x3 filter beside a shortcut, with dropout between them."""

    def __init__(self, channels: int, filters: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.act2 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        same = channels == filters and stride == 1
        self.shortcut = None if same else nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, filters, height / stride, width / stride), rounded up."""
        begun = self.act1(self.bn1(x))
        added: Tensor = self.conv2(self.dropout(self.act2(self.bn2(self.conv1(begun)))))
        return added + (x if self.shortcut is None else self.shortcut(begun))


class WideResNet(nn.Module):
    """A convolution, three stages of blocks, and a dense layer after the mean over all places."""

    def __init__(self, channels: int, classes: int, depth: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, _STAGES[0], 3, padding=1, bias=False)
        blocks = []
        before = _STAGES[0]
        for stage, filters in enumerate(base * width for base in _STAGES):
            for index in range((depth - 4) // 6):
                blocks.append(WideBlock(before, filters, 2 if stage and not index else 1, dropout))
                before = filters
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(before)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to logits (batch, classes)."""
        x = self.act(self.bn(self.blocks(self.conv(x))))
        logits: Tensor = self.fc(self.pool(x).flatten(1))
        return logits
