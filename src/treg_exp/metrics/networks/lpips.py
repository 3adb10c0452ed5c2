"""LPIPS: how different two images look, by features of AlexNet (Zhang et al., arXiv 1801.03924, version 0.1)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.errors import FileError
from treg_exp.priors.weights_fit import load_into

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
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet, for images in [-1, 1]


class LPIPS(nn.Module):
    """Weighted squared distances between unit feature vectors, averaged over places, summed over five layers."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *(layer[0] for layer in LAYERS)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, width, size, stride, padding)
            for before, (width, size, stride, padding, _) in zip(widths, LAYERS, strict=False)
        )
        self.heads = nn.ParameterList(torch.zeros(layer[0]) for layer in LAYERS)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of each image of ``x`` to that of ``y``, (B,), 0 for equal ones, seldom above 1.

        Args:
            x: (B, 3, H, W) in [-1, 1], at least 31 pixels per side; not resized.
            y: likewise.
        """
        distance = x.new_zeros(len(x))
        for left, right, head in zip(self.features(x), self.features(y), self.heads, strict=True):
            squared = (F.normalize(left, dim=1) - F.normalize(right, dim=1)).square()
            distance = distance + torch.einsum("bchw,c->bhw", squared, head).mean(dim=(1, 2))
        return distance

    def features(self, x: Tensor) -> list[Tensor]:
        """Rectified outputs of the five convolutions, [(B, C, H', W')]."""
        x, found = (x - self.shift) / self.scale, []
        for convolution, layer in zip(self.convolutions, LAYERS, strict=True):
            x = F.relu(convolution(F.max_pool2d(x, 3, 2) if layer[-1] else x))
            found.append(x)
        return found


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
