"""Measurements of colour: one grey value per pixel, or one of three colours per pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.checks import check_image_shape
from treg_exp.operators.linear.tight import TightOperator

WEIGHTS = {
    "mean": (1 / 3, 1 / 3, 1 / 3),  # DDRM and DDNM
    "luma": (0.299, 0.587, 0.114),  # ITU-R BT.601, as JPEG and most grey images
}


class Greyscale(TightOperator):
    """A weighted mean of the channels: colourisation.

    Attributes:
        weights: ``mean`` (1/3 each) or ``luma`` (0.299, 0.587, 0.114 of red, green, blue). Both sum to 1, so grey
            images keep their values.
    """

    elementwise = True

    def __init__(self, weights: str, signal_shape: Sequence[int]) -> None:
        """Takes the name of the weights and the image shape (3, H, W)."""
        _, height, width = check_image_shape(signal_shape)
        if weights not in WEIGHTS:
            raise FieldError("weights", weights, f"must be one of {', '.join(WEIGHTS)}")
        super().__init__(signal_shape, (1, height, width), sum(w**2 for w in WEIGHTS[weights]))
        self.weights = weights
        self._weights = torch.tensor(WEIGHTS[weights]).view(1, 3, 1, 1)

    def _A(self, x: Tensor) -> Tensor:
        return (self._weights * x).sum(1, keepdim=True)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._weights * y


class BayerMosaic(TightOperator):
    """One colour per pixel behind an RGGB filter (Bayer, US patent 3971065): demosaicing.

    Red at even rows and even columns, blue at odd rows and odd columns, green elsewhere. y is (1, H, W).
    """

    elementwise = True

    def __init__(self, signal_shape: Sequence[int]) -> None:
        """Takes the image shape (3, H, W); odd sides end with half a tile."""
        _, height, width = check_image_shape(signal_shape)
        super().__init__(signal_shape, (1, height, width))
        channel = torch.tensor([[0, 1], [1, 2]]).repeat(-(-height // 2), -(-width // 2))[:height, :width]
        self._filter = (channel == torch.arange(3).view(1, 3, 1, 1)).to(torch.float32)

    def _A(self, x: Tensor) -> Tensor:
        return (self._filter * x).sum(1, keepdim=True)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._filter * y
