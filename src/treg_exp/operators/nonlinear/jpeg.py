"""JPEG compression (ITU-T T.81, baseline): what remains of an image after quantising its block transform.

Entropy coding loses nothing and is left out. Colours are those of JFIF (BT.601, full range), the tables those of
annex K, scaled by quality as in libjpeg. Samples are whole numbers when coded; decoded values are not rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError
from treg_exp.numerics.cosine import cosine_transform
from treg_exp.operators.base import Operator
from treg_exp.operators.checks import check_image_shape, is_count

BLOCK = 8
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))

Rounding = Literal["straight_through", "exact"]


class JPEG(Operator):
    """y is the decoded image, (3, H, W) in [-1, 1].

    Attributes:
        quality: 1 ... 100, as in libjpeg.
        rounding: ``straight_through`` rounds, and takes the gradient of the identity for that of rounding, which is
            zero nearly everywhere; ``exact`` has no gradient. A is the same.
        subsample_chroma: halve the resolution of the colour differences (4:2:0, the usual setting), else 4:4:4.
    """

    def __init__(
        self,
        quality: int,
        signal_shape: Sequence[int],
        rounding: Rounding = "straight_through",
        subsample_chroma: bool = True,
    ) -> None:
        """Takes the fields and the image shape (3, H, W)."""
        if not is_count(quality) or quality > 100:
            raise FieldError("quality", quality, "must be an integer in 1 ... 100")
        if rounding not in get_args(Rounding):
            raise FieldError("rounding", rounding, f"must be one of {', '.join(get_args(Rounding))}")
        super().__init__(signal_shape, check_image_shape(signal_shape))
        self.quality, self.rounding = int(quality), rounding
        self.subsample_chroma = bool(subsample_chroma)
        self.differentiable = rounding == "straight_through"
        self._steps = torch.stack([quantisation_steps(quality, t) for t in (LUMINANCE, CHROMINANCE)])
        self._to_ycbcr = torch.tensor(TO_YCBCR)
        self._to_rgb = torch.linalg.inv(self._to_ycbcr.double()).float()
        self._dct = cosine_transform(BLOCK)

    def _A(self, x: Tensor) -> Tensor:
        _, height, width = self.signal_shape
        shrink = 2 if self.subsample_chroma else 1
        tile = BLOCK * shrink
        grey_levels = F.pad((x + 1) * 127.5, (0, -width % tile, 0, -height % tile), mode="replicate")
        ycbcr = self._round(torch.einsum("ij,bjhw->bihw", self._to_ycbcr, grey_levels.clamp(0, 255)))
        luma = self._coded(ycbcr[:, :1] - 128, self._steps[0]) + 128
        chroma = self._coded(F.avg_pool2d(ycbcr[:, 1:], shrink), self._steps[1])
        chroma = F.interpolate(chroma, luma.shape[-2:], mode="bilinear")  # libjpeg's triangle filter
        rgb = torch.einsum("ij,bjhw->bihw", self._to_rgb, torch.cat([luma, chroma], 1))
        y: Tensor = rgb[..., :height, :width].clamp(0, 255) / 127.5 - 1
        return y

    def _coded(self, planes: Tensor, steps: Tensor) -> Tensor:
        """Quantised and decoded blocks of (B, C, h, w)."""
        batch, channels, height, width = planes.shape
        blocks = planes.reshape(batch, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(-2, -3)
        levels = self._dct @ blocks @ self._dct.mT / steps
        decoded = self._dct.mT @ (self._round(levels) * steps) @ self._dct
        return decoded.transpose(-2, -3).reshape(planes.shape)

    def _round(self, values: Tensor) -> Tensor:
        whole = values.round()
        return values + (whole - values).detach() if self.rounding == "straight_through" else whole


def quantisation_steps(quality: int, table: Sequence[Sequence[int]]) -> Tensor:
    """(8, 8) steps in grey levels: a table of annex K scaled by libjpeg's rule."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table) * scale + 50) // 100).clamp(1, 255).to(torch.float32)
