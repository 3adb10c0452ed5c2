"""DISTS: structure and texture of two images by features of VGG-16 (Ding et al., arXiv 2004.07728).

The trained weights of its channels are those that torchmetrics ships. torchmetrics' class is not used, as it
downloads VGG-16; the tests compare the two.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.metrics.networks.vgg import VGG16, WIDTHS
from treg_exp.metrics.networks.weights import file_of_torchmetrics, fill, read_torch
from treg_exp.stamps import Stamp, stamps_of

CHANNELS = "dists_models/weights.pt"  # of torchmetrics
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for images in [0, 1]
SMALL = 1e-6  # keeps the ratios of flat channels finite
TAPS = (0.25, 0.5, 0.25)  # of the Hanning window that pools


class DISTS(nn.Module):
    """1 minus weighted similarities of the means and covariances of the image and five stages of features."""

    mean: Tensor
    std: Tensor
    taps: Tensor
    alpha: Tensor
    beta: Tensor

    def __init__(self, vgg: VGG16, alpha: Tensor, beta: Tensor) -> None:
        super().__init__()
        self.vgg = vgg
        total = alpha.sum() + beta.sum()
        for name, value in {
            "mean": torch.tensor(MEAN).view(3, 1, 1),
            "std": torch.tensor(STD).view(3, 1, 1),
            "taps": torch.outer(torch.tensor(TAPS), torch.tensor(TAPS))[None, None],
            "alpha": (alpha / total).flatten(),
            "beta": (beta / total).flatten(),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of each image of ``x`` to that of ``y``, (B,): 0 for equal ones, seldom above 1.

        Args:
            x: (B, 3, H, W) in [0, 1], at least 16 pixels per side; not resized.
            y: likewise.
        """
        similarity, start = x.new_zeros(len(x)), 0
        for left, right in zip(self.maps(x), self.maps(y), strict=True):
            channels = slice(start, start := start + left.shape[1])
            mx, my = left.mean(dim=(2, 3)), right.mean(dim=(2, 3))
            vx, vy = left.var(dim=(2, 3), correction=0), right.var(dim=(2, 3), correction=0)
            covariance = (left * right).mean(dim=(2, 3)) - mx * my
            texture = (2 * mx * my + SMALL) / (mx**2 + my**2 + SMALL)
            structure = (2 * covariance + SMALL) / (vx + vy + SMALL)
            similarity = similarity + texture @ self.alpha[channels] + structure @ self.beta[channels]
        return 1 - similarity

    def maps(self, x: Tensor) -> list[Tensor]:
        """The image and the features of the five stages."""
        return [x, *self.vgg((x - self.mean) / self.std, self.pool)]

    def pool(self, x: Tensor) -> Tensor:
        """Roots of blurred squares at every second place."""
        taps = self.taps.expand(x.shape[1], 1, 3, 3)
        return (F.conv2d(x.square(), taps, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def load_dists(weights: Path) -> DISTS:
    """The network, frozen; one per process.

    Args:
        weights: of VGG-16, a file that was checked.
    """
    return _loaded(weights, stamps_of([weights]))


@lru_cache(maxsize=1)
def _loaded(weights: Path, stamps: tuple[Stamp, ...]) -> DISTS:
    vgg, channels = VGG16(), read_torch(file_of_torchmetrics(CHANNELS))
    fill(vgg, weights)
    assert channels["alpha"].numel() == channels["beta"].numel() == 3 + sum(WIDTHS)
    return DISTS(vgg, channels["alpha"].detach(), channels["beta"].detach()).eval().requires_grad_(False)
