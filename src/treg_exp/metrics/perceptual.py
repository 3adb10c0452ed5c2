"""Closeness to the target as an eye sees it, per image: LPIPS and DISTS."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from treg_exp.metrics.base import TargetMetric
from treg_exp.metrics.column import Column
from treg_exp.metrics.networks.dists import CHANNELS, load_dists
from treg_exp.metrics.networks.lpips import FOLDER, SMALLEST, VGG_HEADS, WEIGHTS, load_lpips, load_lpips_vgg
from treg_exp.metrics.networks.vgg import HOW, VGG16
from treg_exp.metrics.networks.vgg import SMALLEST as SMALLEST_VGG
from treg_exp.metrics.networks.weights import check_weights, file_of_torchmetrics
from treg_exp.signals.ranges import check_range, to_unit


class NetworkDistance(TargetMetric):
    """A distance by a network that takes images as they are, of at least so many pixels a side.

    Attributes:
        smallest: pixels a side; smaller images get None.
    """

    smallest: int

    @abstractmethod
    def network(self) -> nn.Module:
        """Takes two batches of images in [-1, 1] and gives (B,)."""

    def compare(self, signal: Tensor, target: Tensor) -> Tensor | None:
        """See ``TargetMetric``."""
        check_range(signal, "signal")
        check_range(target, "target")
        if min(signal.shape[-2:]) < self.smallest:
            return None
        with torch.no_grad():
            distances: Tensor = self.network().to(signal.device)(signal.float(), target.float())
        return distances


class LPIPS(NetworkDistance):
    """By AlexNet, whose weights ship, see ``networks/lpips.py``; None for images of fewer than 31 pixels a side."""

    columns: Mapping[str, Column] = {"lpips": Column("LPIPS", higher_is_better=False, uses_target=True)}
    smallest = SMALLEST

    def network(self) -> nn.Module:
        """See ``NetworkDistance``."""
        return load_lpips()

    def weight_files(self) -> Sequence[Path]:
        """See ``Measure``."""
        return [FOLDER / WEIGHTS]


class OfVGG(NetworkDistance):
    """By VGG-16; None for images of fewer than 16 pixels a side.

    Args:
        weights: of torchvision's VGG-16, trained on ImageNet: ``model.safetensors`` of ``timm/vgg16.tv_in1k``, or
            ``vgg16-397923af.pth``. They do not ship.

    Raises:
        FieldError: there is no such file.
        FileError: it is broken or holds something else.
    """

    smallest = SMALLEST_VGG

    def __init__(self, weights: str | Path) -> None:
        with torch.device("meta"):
            self.file = check_weights(weights, VGG16(), "VGG-16", HOW)


class LPIPSVGG(OfVGG):
    """LPIPS with VGG-16, version 0.1. Its values are not those of the usual LPIPS with AlexNet: it has its column."""

    columns: Mapping[str, Column] = {"lpips_vgg": Column("LPIPS\nVGG", higher_is_better=False, uses_target=True)}

    def __init__(self, weights: str | Path) -> None:
        super().__init__(weights)
        self.heads = file_of_torchmetrics(VGG_HEADS)

    def network(self) -> nn.Module:
        """See ``NetworkDistance``."""
        return load_lpips_vgg(self.file)

    def weight_files(self) -> Sequence[Path]:
        """See ``Measure``."""
        return [self.file, self.heads]


class DISTS(OfVGG):
    """See ``networks/dists.py``. Images are not resized: the authors' 256 pixels are a choice of the data."""

    columns: Mapping[str, Column] = {"dists": Column("DISTS", higher_is_better=False, uses_target=True)}

    def __init__(self, weights: str | Path) -> None:
        super().__init__(weights)
        self.channels = file_of_torchmetrics(CHANNELS)

    def network(self) -> nn.Module:
        """See ``NetworkDistance``."""
        dists = load_dists(self.file)
        return _OnUnit(dists)

    def weight_files(self) -> Sequence[Path]:
        """See ``Measure``."""
        return [self.file, self.channels]


class _OnUnit(nn.Module):
    """A network for images in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Of images in [-1, 1]."""
        distances: Tensor = self.network(to_unit(x), to_unit(y))
        return distances
