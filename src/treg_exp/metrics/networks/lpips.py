"""LPIPS: how different two images look, by features of AlexNet or VGG-16 (arXiv 1801.03924, version 0.1)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.errors import FileError
from treg_exp.metrics.networks.vgg import VGG16, WIDTHS
from treg_exp.metrics.networks.weights import file_of_torchmetrics, fill, read_torch
from treg_exp.priors.weights_fit import load_into
from treg_exp.stamps import Stamp, stamps_of

FOLDER = Path(__file__).parents[2] / "assets" / "lpips"
WEIGHTS = "alexnet.safetensors"
SMALLEST = 31  # pixels per side: below, the last two poolings have nothing left
#: Output channels, kernel size, stride, padding and whether the input is max-pooled first, per layer of AlexNet.
LAYERS = (
    (64, 11, 4, 2, False),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, True),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, False),
)
VGG_HEADS = "lpips_models/vgg.pth"  # of torchmetrics
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet, for images in [-1, 1]


class Distance(nn.Module):
    """Weighted squared distances between unit feature vectors, averaged over places, summed over five layers."""

    shift: Tensor
    scale: Tensor
    heads: Iterable[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of each image of ``x`` to that of ``y``, (B,), 0 for equal ones, seldom above 1.

        Args:
            x: (B, 3, H, W) in [-1, 1], large enough for the network; not resized.
            y: likewise.
        """
        distance = x.new_zeros(len(x))
        for left, right, head in zip(self.features(x), self.features(y), self.heads, strict=True):
            squared = (F.normalize(left, dim=1) - F.normalize(right, dim=1)).square()
            distance = distance + torch.einsum("bchw,c->bhw", squared, head).mean(dim=(1, 2))
        return distance

    def features(self, x: Tensor) -> list[Tensor]:
        """Five layers of features, [(B, C, H', W')]."""
        raise NotImplementedError


class LPIPS(Distance):
    """By AlexNet; at least 31 pixels per side."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *(layer[0] for layer in LAYERS)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, width, size, stride, padding)
            for before, (width, size, stride, padding, _) in zip(widths, LAYERS, strict=False)
        )
        self.heads = nn.ParameterList(torch.zeros(layer[0]) for layer in LAYERS)

    def features(self, x: Tensor) -> list[Tensor]:
        """Rectified outputs of the five convolutions, [(B, C, H', W')]."""
        x, found = (x - self.shift) / self.scale, []
        for convolution, layer in zip(self.convolutions, LAYERS, strict=True):
            x = F.relu(convolution(F.max_pool2d(x, 3, 2) if layer[-1] else x))
            found.append(x)
        return found


class LPIPSVGG(Distance):
    """By VGG-16; at least 16 pixels per side.

    Args:
        vgg: with the weights of torchvision.
        heads: weights of the channels of its five stages.
    """

    def __init__(self, vgg: VGG16, heads: Iterable[Tensor]) -> None:
        super().__init__()
        self.vgg, self.heads = vgg, nn.ParameterList(heads)

    def features(self, x: Tensor) -> list[Tensor]:
        """Rectified outputs of the five stages, [(B, C, H', W')]."""
        found: list[Tensor] = self.vgg((x - self.shift) / self.scale, lambda maps: F.max_pool2d(maps, 2))
        return found


def load_lpips_vgg(weights: Path) -> LPIPSVGG:
    """The network with VGG-16 from a file that was checked, frozen; one per process."""
    return _vgg(weights, stamps_of([weights]))


@lru_cache(maxsize=1)
def _vgg(weights: Path, stamps: tuple[Stamp, ...]) -> LPIPSVGG:
    vgg, stored = VGG16(), read_torch(file_of_torchmetrics(VGG_HEADS))
    fill(vgg, weights)
    heads = [stored[f"lin{layer}.model.1.weight"].flatten() for layer in range(len(WIDTHS))]
    return LPIPSVGG(vgg, heads).eval().requires_grad_(False)


@cache
def load_lpips() -> LPIPS:
    """The network with the weights that ship, frozen; one per process.

    Raises:
        FileError: the file is missing or broken.
    """
    file = FOLDER / WEIGHTS
    if not file.is_file():
        raise FileError(f"{file} is missing: restore it (git checkout, or install the package again)")
    network = LPIPS()
    load_into(network, file)
    return network.eval().requires_grad_(False)
