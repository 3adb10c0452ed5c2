"""Compressed sensing by a randomised transform: few numbers, each of which looks at the whole image.

Dense Gaussian matrices do not fit into memory for images. Random signs followed by a random choice of rows of an
orthonormal transform (structurally random matrices: Do, Gan, Nguyen and Tran, IEEE Trans. Signal Process. 2012)
behave alike, need two small matrix products, and have orthonormal rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.noise import generator
from treg_exp.numerics.cosine import cosine_transform
from treg_exp.operators.checks import check_image_shape, check_sample_ids
from treg_exp.operators.linear.tight import TightOperator


class CompressedSensing(TightOperator):
    """y = P C S x per channel: signs S, orthonormal 2-D cosine transform C, P keeps m coefficients; y is (3, m).

    Signs and coefficients are drawn once per sample and shared by its channels. A A^T = 1.

    Attributes:
        fraction: m / (H W), in (0, 1].
        signs: (B, 1, H, W) of -1 and 1.
        kept: (B, m) int64 indices into the H W coefficients.
    """

    per_sample = ("signs", "kept")

    def __init__(self, fraction: float, signal_shape: Sequence[int], sample_ids: Sequence[str], seed: int = 0) -> None:
        """Draws signs and coefficients of each sample from the stream (seed, sample_id)."""
        _, height, width = check_image_shape(signal_shape)
        check_sample_ids(sample_ids)
        if not 0 < fraction <= 1:
            raise FieldError("fraction", fraction, "must be in (0, 1]")
        pixels = height * width
        count = max(1, round(fraction * pixels))
        super().__init__(signal_shape, (3, count))
        self.fraction = float(fraction)
        signs, kept = [], []
        for sample_id in sample_ids:
            stream = generator(seed, sample_id, "compressed sensing")
            signs.append(2 * torch.randint(2, (1, height, width), generator=stream) - 1)
            kept.append(torch.randperm(pixels, generator=stream)[:count].sort().values)
        self.signs, self.kept = torch.stack(signs).to(torch.float32), torch.stack(kept)
        self._C_h, self._C_w = cosine_transform(height), cosine_transform(width)

    def _places(self, batch: int) -> Tensor:
        return self.kept[:, None].expand(batch, 3, -1)

    def _A(self, x: Tensor) -> Tensor:
        coefficients = self._C_h @ (self.signs * x) @ self._C_w.mT
        return coefficients.flatten(2).gather(2, self._places(len(x)))

    def _adjoint(self, y: Tensor) -> Tensor:
        coefficients = y.new_zeros(len(y), 3, self.signs.shape[-2] * self.signs.shape[-1])
        coefficients = coefficients.scatter(2, self._places(len(y)), y).view(len(y), *self.signal_shape)
        return self.signs * (self._C_h.mT @ coefficients @ self._C_w)
