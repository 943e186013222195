"""torchvision's models as architectures: their names, and what is zoo's own about them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models

from zoo.network.architecture import try_out
from zoo.registry import Registry
from zoo_plugins._torchvision_models import build, first_convolution
from zoo_plugins.torchvision_models import models

NAMES = torchvision_models.list_models(module=torchvision_models)
FEW = ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "swin_t"]
"""One of each way to begin, of those that are small."""
each = pytest.mark.parametrize("name", NAMES if "ZOO_SLOW" in os.environ else FEW)


def test_all_are_registered_and_none_besides(registry: Registry) -> None:
    assert sorted(name for name, _ in models()) == NAMES
    assert set(NAMES) <= set(registry.variants("architecture"))


def test_most_name_their_paper(registry: Registry) -> None:
    variant = registry.variant("architecture", "resnet18")
    assert variant.description == "torchvision's resnet18."
    assert variant.paper == "Deep Residual Learning for Image Recognition (arXiv:1512.03385)."
    without = [name for name in NAMES if not registry.variant("architecture", name).paper]
    assert without == ["squeezenet1_0", "squeezenet1_1"], "theirs holds a <"


def test_listing_them_imports_no_torch() -> None:
    program = (
        "import sys\nfrom zoo.registry import Registry\n"
        "assert len(Registry().variants('architecture')) > 80\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)


@each
def test_a_small_stem_sees_the_image_at_full_size(name: str) -> None:
    side = 96 if name == "inception_v3" else 224 if name == "maxvit_t" else 64
    own = build(name, (3, side, side), 4, "own")
    before = first_convolution(own)[1]
    assert try_out(own, (3, side, side), 4)
    if before.stride[0] == 1 or before.kernel_size[0] == 14:
        with pytest.raises(ValueError, match=r"leave out stem|cannot be quartered"):
            build(name, (3, side, side), 4, "small")
        return
    size = side // 4 if name.startswith("maxvit") or before.kernel_size[0] == before.stride[0] > 4 else side
    torch.manual_seed(0)
    small = build(name, (3, size, size), 4, "small")
    after = first_convolution(small)[1]
    assert after.stride[0] in (1, before.stride[0] // 4)
    assert after.kernel_size[0] <= max(3, before.kernel_size[0] // 4)
    try_out(small, (3, size, size), 4)


def test_a_grey_image_is_seen_as_one_of_three_equal_colours() -> None:
    networks = []
    for channels in (1, 3):
        torch.manual_seed(0)
        networks.append(build("resnet18", (channels, 32, 32), 4, "small").eval())
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(networks[0](x), networks[1](x.expand(-1, 3, -1, -1)))


def test_a_small_stem_keeps_the_variance() -> None:
    torch.manual_seed(0)
    before = first_convolution(build("resnet18", (3, 32, 32), 4, "own"))[1]
    torch.manual_seed(0)
    network = build("resnet18", (3, 32, 32), 4, "small")
    after = first_convolution(network)[1]
    assert torch.equal(after.weight, before.weight[:, :, 2:5, 2:5] * (7 / 3))
    assert isinstance(network.maxpool, nn.Identity)


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("resnet18", (2, 32, 32), "it takes images of 1 or 3 channels"),
        ("vit_b_16", (3, 30, 30), "its patches of 16x16 do not divide images of 30x30"),
        ("vgg11", (3, 32, 32), 'its first convolution has stride 1 already: leave out stem = "small"'),
    ],
)
def test_images_that_a_model_cannot_take_are_refused(name: str, shape: tuple[int, int, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        build(name, shape, 4, "small" if name == "vgg11" else "own")
